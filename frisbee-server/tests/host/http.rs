//! The host over HTTP: what its own crate's tests cannot see, because they have no host.

use crate::support::{Host, load_alone, sample};
use std::fs;

#[test]
fn images_go_up_and_down_whole_or_not_at_all() {
    let (_, image) = sample(1, 4);
    let host = Host::start(80, "[[access]]\nallow = ['get', 'put', 'delete', 'stop']", &[]);
    let (status, body) = host.http_request("PUT", "/api/v1/images/os/a.ndz", "", &image);
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    let digest = blake3::hash(&image).to_string();
    assert!(String::from_utf8(body).unwrap().contains(&digest));
    assert!(fs::read(host.image("os/a.ndz")).unwrap() == image);
    let (status, body) = host.http_request("GET", "/api/v1/data/os/a.ndz", "", b"");
    assert!(status == 200 && body == image);
    let (status, body) =
        host.http_request("GET", "/api/v1/data/os/a.ndz", "Range: bytes=1048570-1048580\r\n", b"");
    assert!(status == 206 && body == image[1_048_570..=1_048_580]);
    let details = host.http_json("/api/v1/images/os/a.ndz").to_string();
    assert!(details.contains("\"chunks\":5") && details.contains("source_bytes"), "{details}");

    let cut = &image[..image.len() - (1 << 20)];
    let (status, body) = host.http_request("PUT", "/api/v1/images/os/a.ndz", "", cut);
    assert!((400..500).contains(&status), "{status} {}", String::from_utf8_lossy(&body));
    assert!(fs::read(host.image("os/a.ndz")).unwrap() == image, "the old one stays");
    let (status, _) = host.http_request("PUT", "/api/v1/images/..%2Fx", "", b"x");
    assert!((400..500).contains(&status), "{status}");
    let (status, _) = host.http_request("DELETE", "/api/v1/images/os/a.ndz", "", b"");
    assert!(status < 300 && !host.image("os/a.ndz").exists(), "{status}");
}

#[test]
fn nothing_but_looking_is_allowed_by_default() {
    let host = Host::start(81, "", &[("a", b"x")]);
    for (method, path) in [("PUT", "/api/v1/images/b"), ("DELETE", "/api/v1/images/a")] {
        assert_eq!(host.http_request(method, path, "", b"x").0, 403, "{method} {path}");
    }
    assert_eq!(host.http_request("GET", "/frisbee/stop?img=a", "", b"").0, 403);
    assert!(host.image("a").exists() && !host.image("b").exists());
}

#[test]
fn orbits_controller_finds_what_it_knows() {
    let (disk, image) = sample(2, 4);
    let host = Host::start(82, "[[access]]\nallow = ['get', 'stop']", &[("a.ndz", &image)]);
    let (status, body) = host.http_request("GET", "/frisbee/getAddress?img=a.ndz", "", b"");
    let text = String::from_utf8(body).unwrap();
    let (group, port) = text.trim().split_once(':').unwrap();
    assert!(status == 200 && group.starts_with("239.192.82."), "{text}");
    let target = tempfile::tempdir().unwrap();
    let to = target.path().join("disk");
    load_alone(host.rendezvous(), "a.ndz", "", &to).unwrap();
    assert!(fs::read(&to).unwrap() == disk);
    let (_, body) = host.http_request("GET", "/frisbee/status", "", b"");
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains(port) && text.contains("a.ndz") && text.contains(group), "{text}");
    let (_, body) = host.http_request("GET", "/metrics", "", b"");
    let text = String::from_utf8(body).unwrap();
    assert!(
        text.lines().any(|line| line.contains("blocks_sent") && !line.ends_with(" 0")),
        "{text}"
    );
    assert_eq!(host.http_request("GET", "/frisbee/stop?img=a.ndz", "", b"").0, 200);
    let sessions = host.http_json("/api/v1/sessions").to_string();
    assert!(!sessions.contains("239.192.82."), "{sessions}");
}

#[test]
fn the_page_is_there() {
    let host = Host::start(83, "", &[]);
    let (status, body) = host.http_request("GET", "/", "", b"");
    assert!(status == 200 && String::from_utf8(body).unwrap().contains("<html"));
}
