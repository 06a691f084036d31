//! Peers that mean harm, or are many.

use crate::client::{Answer, PATIENCE, Running, head};
use crate::fake::Fake;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use web::Config;

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

fn short() -> Config {
    Config { request_timeout: SHORT, body_idle_timeout: SHORT, ..Config::default() }
}

async fn server(config: Config) -> Running {
    Running::start(Arc::new(Fake::with_images(&["base.ndz"])), config).await
}

/// Reads to the end, which must come in time.
async fn end(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Reset or closed, both are an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    bytes
}

#[tokio::test]
async fn half_open_connections_are_closed() {
    let server = server(short()).await;
    let starts: [&[u8]; 5] = [
        b"",
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"PRI * HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for start in starts {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start).await.unwrap();
        end(stream).await;
    }
    assert_eq!(server.get("/api/v1/host").await.status, 200);
}

#[tokio::test]
async fn headers_that_trickle_in_do_not_keep_a_connection() {
    let server = server(short()).await;
    for start in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let trickle = async {
            while stream.write_all(b"X").await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, trickle).await.expect("the server closes although bytes come");
    }
}

#[tokio::test]
async fn a_connection_kept_alive_for_nothing_is_closed() {
    let server = server(short()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /api/v1/host HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = end(stream).await;
    assert_eq!(Answer::parse(&answer).status, 200);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let server = server(short()).await;
    let token = ("Authorization", "Bearer open-sesame");
    let put = head("PUT", "/api/v1/images/slow.ndz", &[token], 1000);
    let post = head("POST", "/api/v1/sessions", &[], 1000);
    for request in [put, post] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(b"{").await.unwrap();
        let answer = Answer::parse(&end(stream).await);
        assert_eq!((answer.status, answer.problem().as_str()), (408, "broken_off"));
    }
}

#[tokio::test]
async fn garbage_and_tls_on_a_plain_port_do_no_harm() {
    let server = server(short()).await;
    let hello = [
        0x16, 0x03, 0x01, 0x00, 0x2f, 0x01, 0x00, 0x00, 0x2b, 0x03, 0x03, 0, 1, 2, 3, 4, 5, 6, 7,
        8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        31, 0, 0, 4, 0x13, 1, 0x13, 2, 1, 0,
    ];
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let cases: [&[u8]; 8] = [
        &hello,
        &[0xff; 4096],
        b"\r\n\r\n\r\n",
        b"V01\0\0\0\0\x01",
        b"SSH-2.0-scanner\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // It may be closed already.
        let _ = stream.write_all(case).await;
        let answer = end(stream).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", &answer[..20]);
    }
    assert_eq!(server.get("/api/v1/host").await.status, 200);
}

#[tokio::test]
async fn http2_without_tls_is_understood() {
    let server = server(Config::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The preface and an empty SETTINGS frame.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut frame)).await.expect("settings in time").unwrap();
    assert_eq!(frame[3], 4, "the answer to a preface is SETTINGS");
}

#[tokio::test]
async fn one_address_gets_its_share_of_connections_and_requests() {
    let config = Config {
        connections_per_address_max: 3,
        requests_per_sec: 1,
        requests_burst: 4,
        ..Config::default()
    };
    let server = server(config).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut refused = 0;
    for _ in 0..4 {
        // Connections are accepted in order: those that are held count by now.
        let answer = server.get("/api/v1/host").await;
        match answer.status {
            200 => {}
            429 => {
                assert_eq!(answer.problem(), "too_many_requests");
                assert_eq!(answer.header("retry-after"), "1");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(refused, 0);
    assert_eq!(server.get("/api/v1/host").await.status, 429);
    held.push(TcpStream::connect(server.address).await.unwrap());
    let fourth = TcpStream::connect(server.address).await.unwrap();
    assert!(end(fourth).await.is_empty(), "the fourth connection is closed at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_clients_are_served_while_others_are_half_open() {
    let fake = Arc::new(Fake::with_images(&["base.ndz"]));
    let config = Config {
        connections_per_address_max: 1000,
        requests_per_sec: 10_000,
        requests_burst: 10_000,
        ..Config::default()
    };
    let server = Arc::new(Running::start(Arc::clone(&fake), config).await);
    let mut half_open = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        half_open.push(stream);
    }
    let mut clients = JoinSet::new();
    for _ in 0..400 {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            let address = server.get("/frisbee/getAddress?img=base.ndz").await;
            assert_eq!((address.status, address.text()), (200, "239.192.7.1:7001"));
            let data = server.get("/api/v1/data/base.ndz").await;
            assert_eq!((data.status, data.body.len()), (200, 100_008));
        });
    }
    let all = async {
        while let Some(result) = clients.join_next().await {
            result.unwrap()
        }
    };
    timeout(PATIENCE, all).await.expect("400 clients in time");
    assert_eq!(web::Backend::sessions(&*fake).len(), 1);
}

#[tokio::test]
async fn requests_under_way_finish_when_the_server_ends() {
    let server = server(Config::default()).await;
    let address = server.address;
    let token = ("Authorization", "Bearer open-sesame");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let continues = [token, ("Expect", "100-continue")];
    let request = head("PUT", "/api/v1/images/last.ndz", &continues, 6);
    stream.write_all(request.as_bytes()).await.unwrap();
    // Once this came, the request is under way.
    let mut go_on = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut go_on)).await.expect("100 in time").unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    let ending = tokio::spawn(server.stop());
    while TcpStream::connect(address).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(b"abcdef").await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 201);
    ending.await.unwrap();
}

/// The largest image that the fake takes: more than sockets hold.
const LARGE_BYTES: usize = 8 << 20;

async fn server_with_large_image() -> Running {
    let fake = Fake::default();
    fake.images().insert("large.ndz".into(), vec![1; LARGE_BYTES].into());
    Running::start(Arc::new(fake), short()).await
}

async fn connections(server: &Running) -> String {
    let metrics = server.get("/metrics").await;
    let line = metrics.text().lines().find(|line| line.starts_with("frisbee_http_connections "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn a_slow_reader_gets_everything_and_one_that_stops_is_dropped() {
    let server = server_with_large_image().await;
    let request = head("GET", "/api/v1/data/large.ndz", &[], 0);
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut stopped = TcpStream::connect(server.address).await.unwrap();
    stopped.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let mut piece = vec![0; 256 << 10];
    // Several times the time-outs, but never a pause as long as one of them.
    loop {
        sleep(SHORT / 8).await;
        match slow.read(&mut piece).await.unwrap() {
            0 => break,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
    assert_eq!(Answer::parse(&bytes).body.len(), LARGE_BYTES);
    let gone = async {
        while connections(&server).await != "frisbee_http_connections 1" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the other is dropped");
    assert!(end(stopped).await.len() < LARGE_BYTES);
}

#[tokio::test]
async fn an_http2_peer_that_never_opens_its_window_is_dropped() {
    let server = server_with_large_image().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS: initial window 0.
    bytes.extend_from_slice(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    // HEADERS of stream 1, complete: GET, http, path, authority.
    let path = b"/api/v1/data/large.ndz";
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path);
    block.extend_from_slice(&[0x01, 1, b'x']);
    bytes.extend_from_slice(&[0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    stream.write_all(&bytes).await.unwrap();
    let answer = end(stream).await;
    // HEADERS of the answer came; then nothing moved.
    let has_headers = answer.windows(5).any(|window| window[0] == 1 && window[1..] == [4, 0, 0, 0]);
    assert!(has_headers && answer.len() < 4096, "{} bytes", answer.len());
}
