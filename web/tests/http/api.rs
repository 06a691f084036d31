//! The v1 API.

use crate::client::{Answer, PATIENCE, Running, head};
use crate::fake::{Fake, TOKEN, UPLOAD_BYTES_MAX, content};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use web::Config;

const ALLOWED: (&str, &str) = ("Authorization", "Bearer open-sesame");

async fn host() -> (Running, Arc<Fake>) {
    let fake = Arc::new(Fake::with_images(&["base.ndz", "proj/ü 1.ndz"]));
    (Running::start(Arc::clone(&fake), Config::default()).await, fake)
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "not in time: {what}");
}

#[tokio::test]
async fn images_are_listed_and_described() {
    let (server, fake) = host().await;
    fake.add_session("base.ndz", 1, 0.0);
    let list = server.get("/api/v1/images").await.json();
    assert_eq!(list["images"][0]["name"], "base.ndz");
    assert_eq!(list["images"][1]["bytes"], 100_013);
    for path in ["/api/v1/images/proj/%C3%BC%201.ndz", "/api/v1/images/proj%2F%C3%BC%201.ndz"] {
        let one = server.get(path).await;
        assert_eq!((one.status, &one.json()["dump"]["chunks"]), (200, &Value::from(3)));
    }
    assert_eq!(server.get("/api/v1/images/base.ndz").await.json()["sessions"][0], "s1");
    assert_eq!(server.get("/api/v1/images/none").await.problem(), "no_such_image");
    for bad in
        ["../etc/passwd", "/etc/passwd", "a//b", "%2e%2e/x", "a/..%2fb", ".x", "a%00b", "%ff"]
    {
        for kind in ["images", "data"] {
            let answer = server.get(&format!("/api/v1/{kind}/{bad}")).await;
            assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid"), "{bad}");
        }
    }
    assert_eq!(server.get("/api/v1/images/private/x").await.problem(), "denied");
    let long = "x".repeat(300);
    assert_eq!(server.get(&format!("/api/v1/images/{long}")).await.status, 400);
}

#[tokio::test]
async fn downloads_whole_and_in_part() {
    let (server, _) = host().await;
    let path = "/api/v1/data/base.ndz";
    let all = content("base.ndz");
    let whole = server.get(path).await;
    assert_eq!((whole.status, &whole.body[..]), (200, &all[..]));
    assert_eq!(whole.header("etag"), "\"100008-98\"");
    assert_eq!(whole.header("last-modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-disposition"), "attachment; filename*=UTF-8''base%2Endz");
    let ask = async |headers: &[(&str, &str)]| server.request("GET", path, headers, b"").await;

    let part = ask(&[("Range", "bytes=99999-")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &all[99_999..]));
    assert_eq!(part.header("content-range"), "bytes 99999-100007/100008");
    let last = ask(&[("Range", "bytes=-8"), ("If-Range", "\"100008-98\"")]).await;
    assert_eq!((last.status, &last.body[..]), (206, &all[100_000..]));
    let changed = ask(&[("Range", "bytes=-8"), ("If-Range", "\"other\"")]).await;
    assert_eq!((changed.status, changed.body.len()), (200, all.len()));
    let beyond = ask(&[("Range", "bytes=100008-")]).await;
    assert_eq!((beyond.status, beyond.problem().as_str()), (416, "no_such_range"));
    assert_eq!(beyond.header("content-range"), "bytes */100008");

    let same = ask(&[("If-None-Match", "W/\"100008-98\"")]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(ask(&[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")]).await.status, 304);
    assert_eq!(ask(&[("If-Match", "\"other\"")]).await.status, 412);
    assert_eq!(ask(&[("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT")]).await.status, 412);

    let head = server.request("HEAD", path, &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, "100008"));
    assert!(head.body.is_empty());
    let missing = server.request("HEAD", "/api/v1/data/none", &[], b"").await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn uploads_are_published_or_leave_nothing() {
    let (server, fake) = host().await;
    let put = async |name: &str, headers: &[(&str, &str)], body: &[u8]| -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([ALLOWED]).collect();
        server.request("PUT", &format!("/api/v1/images/{name}"), &headers, body).await
    };
    let refused = server.request("PUT", "/api/v1/images/new.ndz", &[], b"abc").await;
    assert_eq!(refused.problem(), "token_needed");
    let wrong = [("Authorization", "Bearer wrong")];
    assert_eq!(server.request("PUT", "/api/v1/images/new.ndz", &wrong, b"abc").await.status, 401);

    let body = vec![7; 300_000];
    let done = put("proj/new%20one.ndz", &[], &body).await;
    assert_eq!((done.status, &done.json()["replaced"]), (201, &Value::from(false)));
    assert_eq!(done.header("location"), "/api/v1/images/proj/new%20one.ndz");
    assert_eq!(done.json()["blake3"].as_str().map(str::len), Some(64));
    assert_eq!(fake.images()["proj/new one.ndz"].len(), 300_000);
    assert_eq!(put("proj/new%20one.ndz", &[], b"x").await.json()["replaced"], true);

    let right = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
    assert_eq!(put("d.ndz", &[("Content-Digest", right)], b"abc").await.status, 201);
    let wrong = put("e.ndz", &[("Content-Digest", right)], b"abd").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (422, "broken"));
    assert_eq!(put("e.ndz", &[("Content-Digest", "sha-256=:AA==:")], b"a").await.status, 400);
    let mine = format!("f.ndz?blake3={}", "03".repeat(32));
    assert_eq!(put(&mine, &[], b"abc").await.status, 201);
    assert_eq!(put(&mine.replace("f.ndz", "e.ndz"), &[], b"ab").await.problem(), "broken");
    assert_eq!(put("e.ndz?blake3=12", &[], b"abc").await.problem(), "invalid");

    assert_eq!(put("busy.ndz", &[], b"abc").await.problem(), "busy");
    assert_eq!(put("e.ndz", &[("Content-Encoding", "gzip")], b"abc").await.problem(), "encoded");
    assert_eq!(put("e.ndz", &[("Content-Range", "bytes 0-2/9")], b"abc").await.status, 400);
    let large = vec![0; usize::try_from(UPLOAD_BYTES_MAX).unwrap() + 1];
    assert_eq!(put("e.ndz", &[], &large).await.problem(), "too_big");
    assert_eq!(put("d.ndz", &[("If-None-Match", "*")], b"abc").await.problem(), "condition_failed");
    assert_eq!(put("g.ndz", &[("If-None-Match", "*")], b"abc").await.status, 201);
    assert_eq!(put("g.ndz", &[("If-Match", "\"3-97\"")], b"abcd").await.status, 201);
    assert_eq!(put("g.ndz", &[("If-Match", "\"3-97\"")], b"ab").await.status, 412);
    assert!(!fake.images().contains_key("e.ndz"));
    assert_eq!(fake.images()["g.ndz"].len(), 4);
}

#[tokio::test]
async fn an_upload_without_a_length_is_taken_and_one_that_breaks_off_is_not() {
    let (server, fake) = host().await;
    let chunked = [ALLOWED, ("Transfer-Encoding", "chunked")];
    let request = head("PUT", "/api/v1/images/c.ndz", &chunked, 0);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = format!("{request}3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 201);
    assert_eq!(fake.images()["c.ndz"], "abcdefg");

    for request in [
        format!("{}3\r\nabc\r\n", head("PUT", "/api/v1/images/cut.ndz", &chunked, 0)),
        format!("{}abc", head("PUT", "/api/v1/images/cut.ndz", &[ALLOWED], 1000)),
    ] {
        let before = fake.abandoned();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
        until("the upload is given up", || fake.abandoned() > before).await;
    }
    assert!(!fake.images().contains_key("cut.ndz"));
}

#[tokio::test]
async fn images_are_deleted_only_with_a_token() {
    let (server, fake) = host().await;
    let path = "/api/v1/images/base.ndz";
    assert_eq!(server.request("DELETE", path, &[], b"").await.status, 401);
    for foreign in
        [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://elsewhere"), ("Origin", "null")]
    {
        let answer = server.request("DELETE", path, &[ALLOWED, foreign], b"").await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "denied"), "{foreign:?}");
    }
    // Our own page; the client's Host header is `test`.
    let own = [ALLOWED, ("Origin", "http://test")];
    assert_eq!(server.request("DELETE", path, &own, b"").await.status, 204);
    assert!(!fake.images().contains_key("base.ndz"));
    assert_eq!(server.request("DELETE", path, &[ALLOWED], b"").await.status, 404);
    for value in ["", "Bearer", "Bearer ", "Basic abc", TOKEN] {
        let answer = server.request("DELETE", path, &[("Authorization", value)], b"").await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "token_needed"), "{value}");
    }
}

#[tokio::test]
async fn sessions_start_show_their_clients_and_stop() {
    let (server, fake) = host().await;
    let start =
        async |body: &str| server.request("POST", "/api/v1/sessions", &[], body.as_bytes()).await;
    let started = start(r#"{"image":"base.ndz"}"#).await;
    assert_eq!((started.status, started.header("location")), (201, "/api/v1/sessions/s1"));
    assert_eq!(start(r#"{"image":"base.ndz"}"#).await.status, 200);
    assert_eq!(start(r#"{"image":"none"}"#).await.status, 404);
    assert_eq!(start(r#"{"image":"far.ndz"}"#).await.header("retry-after"), "5");
    for bad in ["", "{}", "[1]", r#"{"image":"../x"}"#, &"x".repeat(5000)] {
        assert_eq!(start(bad).await.problem(), "invalid");
    }
    let id = fake.add_session("proj/ü 1.ndz", 400, 0.1);
    let sessions = server.get("/api/v1/sessions").await.json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(2));
    let path = format!("/api/v1/sessions/{id}");
    let one = server.get(&path).await.json();
    assert_eq!(one["clients_in_trouble"], 7);
    let clients = server.get(&format!("{path}/clients")).await.json();
    let clients = clients["clients"].as_array().unwrap();
    assert_eq!(clients.len(), 400);
    assert_eq!(clients[7]["trouble"]["fallback"], true);
    assert!(clients[0]["limited_by"].is_string() && clients[0]["loss_millionths"].is_u64());
    let history = server.get(&format!("{path}/history")).await.json();
    assert_eq!(history["interval_secs"], 2);
    assert!(history["samples"].is_array());

    let stop = async |query: &str, headers: &[(&str, &str)]| {
        server.request("DELETE", &format!("{path}{query}"), headers, b"").await.status
    };
    assert_eq!(stop("", &[]).await, 401);
    assert_eq!(stop("", &[ALLOWED]).await, 409);
    assert_eq!(stop("?force=maybe", &[ALLOWED]).await, 400);
    assert_eq!(stop("?force=true", &[ALLOWED]).await, 204);
    assert_eq!(stop("?force=true", &[ALLOWED]).await, 404);
    for rest in ["", "/clients", "/history"] {
        assert_eq!(server.get(&format!("{path}{rest}")).await.problem(), "no_such_session");
    }
}

#[tokio::test]
async fn history_grows_while_a_session_runs() {
    let (server, fake) = host().await;
    let id = fake.add_session("base.ndz", 1, 0.0);
    let path = format!("/api/v1/sessions/{id}/history");
    let waiting = async {
        while server.get(&path).await.json()["samples"].as_array().unwrap().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("a sample in time");
}

#[tokio::test]
async fn errors_are_problems_wherever_they_come_from() {
    let (server, _) = host().await;
    assert_eq!(server.get("/nothing/here").await.problem(), "no_such_path");
    let wrong = server.request("PATCH", "/api/v1/images", &[], b"").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (405, "wrong_method"));
    let long = format!("/api/v1/images?x={}", "y".repeat(5000));
    assert_eq!(server.get(&long).await.problem(), "uri_too_long");
    let any = server.get("/api/v1/host").await;
    assert_eq!(any.header("x-content-type-options"), "nosniff");
    assert_eq!(any.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_openapi_document_names_each_path_with_its_methods() {
    let (server, _) = host().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 18);
    for (path, item) in paths {
        let path = path.replace("{name}", "x").replace("{id}", "x");
        let answer = server.request("PATCH", &path, &[], b"").await;
        assert_eq!(answer.status, 405, "{path} is not served");
        let allowed: BTreeSet<_> =
            answer.header("allow").split(',').map(|m| m.trim().to_lowercase()).collect();
        let mut documented: BTreeSet<_> = item.as_object().unwrap().keys().cloned().collect();
        if documented.contains("get") {
            documented.insert("head".into());
        }
        assert_eq!(documented, allowed, "{path}");
    }
    check_references(&document, &document);
}

/// Each `$ref` leads somewhere.
fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            members.values().for_each(|member| check_references(document, member));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

/// Every field that an answer has is in the document, and the other way round.
#[tokio::test]
async fn the_openapi_document_describes_what_is_answered() {
    let (server, fake) = host().await;
    fake.add_session("base.ndz", 10, 0.1);
    let document = server.get("/api/v1/openapi.json").await.json();
    let fields = |schema: &str| -> BTreeSet<String> {
        let pointer = format!("/components/schemas/{schema}/properties");
        document.pointer(&pointer).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    let waiting = async {
        let path = "/api/v1/sessions/s1/history";
        while server.get(path).await.json()["samples"].as_array().unwrap().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("a sample in time");
    for (schema, path, pointer) in [
        ("Host", "/api/v1/host", ""),
        ("Image", "/api/v1/images", "/images/0"),
        ("Upload", "/api/v1/uploads", "/uploads/0"),
        ("Session", "/api/v1/sessions", "/sessions/0"),
        ("Client", "/api/v1/sessions/s1/clients", "/clients/7"),
        ("Trouble", "/api/v1/sessions/s1/clients", "/clients/7/trouble"),
        ("Sample", "/api/v1/sessions/s1/history", "/samples/0"),
        ("Problem", "/api/v1/nothing", ""),
    ] {
        let answer = server.get(path).await.json();
        let object = answer.pointer(pointer).and_then(Value::as_object).unwrap();
        let answered: BTreeSet<_> = object.keys().cloned().collect();
        assert_eq!(answered, fields(schema), "{schema}");
    }
}

#[tokio::test]
async fn metrics_are_counted_with_bounded_labels() {
    let (server, fake) = host().await;
    fake.add_session("base.ndz", 10, 0.1);
    for path in ["/api/v1/images/base.ndz", "/api/v1/images/none", "/x/1", "/x/2"] {
        server.get(path).await;
    }
    let answer = server.get("/metrics").await;
    let text = answer.text();
    for line in [
        "frisbee_http_requests_total{route=\"/api/v1/images/{*name}\",status=\"200\"} 1",
        "frisbee_http_requests_total{route=\"/api/v1/images/{*name}\",status=\"404\"} 1",
        "frisbee_http_requests_total{route=\"none\",status=\"404\"} 2",
        "frisbee_rendezvous_requests_total{result=\"ok\"} 7",
        "frisbee_sent_bytes_total 12345",
        "frisbee_sessions 1",
        "frisbee_images 2",
        "frisbee_clients_in_trouble 1",
        "# TYPE frisbee_blocks_repeated counter",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
}

#[tokio::test]
async fn a_host_may_want_a_token_for_everything() {
    let mut fake = Fake::with_images(&["base.ndz"]);
    fake.is_secret = true;
    let id = fake.add_session("base.ndz", 1, 0.0);
    let server = Running::start(Arc::new(fake), Config::default()).await;
    let session = format!("/api/v1/sessions/{id}");
    for path in [
        "/metrics",
        "/frisbee/status",
        "/frisbee/checkImage?img=base.ndz",
        "/frisbee/getAddress?img=base.ndz",
        "/api/v1/host",
        "/api/v1/images",
        "/api/v1/images/base.ndz",
        "/api/v1/data/base.ndz",
        "/api/v1/uploads",
        "/api/v1/sessions",
        &session,
        &format!("{session}/clients"),
        &format!("{session}/history"),
        "/api/v1/events",
    ] {
        assert_eq!(server.get(path).await.problem(), "token_needed", "{path}");
        if path != "/api/v1/events" {
            assert_eq!(server.request("GET", path, &[ALLOWED], b"").await.status, 200, "{path}");
        }
    }
    let start = server.request("POST", "/api/v1/sessions", &[], b"{\"image\":\"base.ndz\"}").await;
    assert_eq!(start.problem(), "token_needed");
    // The page itself holds nothing secret: it asks for the token.
    for path in ["/", "/assets/page.js", "/api/v1/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}
