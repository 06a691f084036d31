//! The stream of events.

use crate::client::{PATIENCE, Running, head};
use crate::fake::Fake;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use web::Config;
use web::api::Event;

async fn reader(server: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = head("GET", "/api/v1/events", &[], 0);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text is there, or the end; returns everything so far.
async fn read_until(stream: &mut TcpStream, so_far: &mut String, text: &str) {
    let reading = async {
        let mut buffer = [0; 4096];
        while !so_far.contains(text) {
            let length = stream.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0, "the end came before {text:?}: {so_far}");
            so_far.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    };
    let in_time = timeout(PATIENCE, reading).await.is_ok();
    assert!(in_time, "{text:?} did not come: {so_far}");
}

fn deleted(name: &str) -> Event {
    Event::ImageDeleted { name: name.into() }
}

#[tokio::test]
async fn events_come_as_they_happen_and_the_stream_is_kept_open() {
    let fake = Arc::new(Fake::default());
    let config = Config {
        event_keep_alive: Duration::from_millis(20),
        event_readers_max: 2,
        ..Config::default()
    };
    let server = Running::start(Arc::clone(&fake), config).await;
    let mut first = reader(&server).await;
    let mut text = String::new();
    read_until(&mut first, &mut text, "retry: 3000\n\n").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    fake.tell(deleted("a.ndz"));
    let event = "event: image_deleted\ndata: {\"event\":\"image_deleted\",\"name\":\"a.ndz\"}\n\n";
    read_until(&mut first, &mut text, event).await;
    read_until(&mut first, &mut text, ": still here\n\n").await;

    let mut second = reader(&server).await;
    read_until(&mut second, &mut String::new(), "retry").await;
    let third = server.get("/api/v1/events").await;
    assert_eq!((third.status, third.problem().as_str()), (503, "too_many_readers"));
    // Whoever goes makes room, at the latest when the next comment cannot be written.
    drop(second);
    let waiting = async {
        while fake.event_readers() > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the reader is gone in time");
    let mut fourth = reader(&server).await;
    read_until(&mut fourth, &mut String::new(), "retry").await;

    // The end of the server is the end of the stream.
    server.stop().await;
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, first.read_to_end(&mut rest)).await;
    ended.expect("the stream ends").unwrap();
}

#[tokio::test]
async fn a_slow_reader_is_dropped_and_holds_up_nobody() {
    let fake = Arc::new(Fake::default());
    let config = Config { body_idle_timeout: Duration::from_millis(300), ..Config::default() };
    let server = Running::start(Arc::clone(&fake), config).await;
    let mut slow = reader(&server).await;
    let mut text = String::new();
    read_until(&mut slow, &mut text, "retry").await;
    // More than sockets and channel hold, while nobody reads.
    let long = "x".repeat(250);
    let telling = async {
        while fake.event_readers() > 0 {
            for _ in 0..1000 {
                fake.tell(deleted(&long));
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, telling).await.expect("the slow reader is dropped");
    let mut rest = Vec::new();
    // Reset or closed, both will do.
    let _ = timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("an end");
    assert_eq!(server.get("/api/v1/host").await.status, 200);
}
