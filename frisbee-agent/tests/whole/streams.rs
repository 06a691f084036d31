//! Saves as a testbed does them: to a bare listener.

use crate::node::Kit;
use frisbee_agent::control::testing::ControlServer;
use std::io::Read;
use std::net::TcpListener;

/// A program that writes an image to standard output and tells on standard error.
const SAVES: &str = r#"
echo "$@" >$DIR/called
head -c 3000000 /dev/zero
echo '{"event":"progress","percent":50,"seconds":1,"bytes_left":1048576}' >&2
echo '{"event":"done","image_bytes":3000000,"seconds":2}' >&2"#;

fn save(script: &str, more: &str, receive: impl FnOnce(TcpListener)) -> (Vec<String>, String) {
    let control = ControlServer::start();
    let kit = Kit::new().script("imagezip", script);
    let line = format!(
        "frisbee.control={} frisbee.retry-after=0 frisbee.retry=1 {more}",
        control.address()
    );
    let node = kit.boot(&line);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut peer = control.greet();
    peer.say(&format!("SAVE_IMAGE 127.0.0.1 {port} /dev/vda id=s"));
    receive(listener);
    let result = peer.hear("DONE.");
    let heard = peer.heard.clone();
    node.signal();
    peer.hear_the_end();
    node.end();
    (heard, result)
}

#[test]
fn the_listener_gets_all_bytes_and_closes() {
    let (heard, result) = save(SAVES, "", |listener| {
        let mut all = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut all).unwrap();
        assert_eq!(all, vec![0; 3_000_000]);
    });
    assert!(result.starts_with("DONE.OK save ") && result.contains(" bytes=3000000 "), "{result}");
    assert!(heard.contains(&"PROGRESS 50 1 1 id=s".to_owned()), "{heard:?}");
}

#[test]
fn a_broken_save_is_reset_and_never_looks_whole() {
    let breaks = "head -c 3000000 /dev/zero\necho '{\"event\":\"failed\",\"class\":\"disk\",\"error\":\"bad sector\",\"refused\":false}' >&2\nexit 1";
    let (_, result) = save(breaks, "", |listener| {
        let end = listener.accept().unwrap().0.read_to_end(&mut Vec::new());
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
    assert_eq!(result, "DONE.ERR disk id=s bad sector");
}

#[test]
fn a_listener_that_goes_away_is_a_failure() {
    let endless = "exec cat /dev/zero";
    let (_, result) = save(endless, "", |listener| {
        let mut some = [0; 1000];
        listener.accept().unwrap().0.read_exact(&mut some).unwrap();
    });
    assert!(result.starts_with("DONE.ERR network id=s 127.0.0.1:"), "{result}");
    let (_, result) = save(SAVES, "", drop);
    assert!(result.starts_with("DONE.ERR server id=s 127.0.0.1:"), "{result}");
    let (_, result) = save(SAVES, "frisbee.timeout=1", |listener| {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        // Held open for as long as the test runs.
        std::mem::forget(stream);
    });
    assert!(result.contains("whether it was kept is not known"), "{result}");
}
