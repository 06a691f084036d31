//! What `-T` says.

use super::{Ground, golden, target};
use frisbee_client::ClientError;
use tests::test_server::{Fate, TestServer};

fn said(ground: Ground) -> String {
    let (_folder, target) = target();
    let error = ground.load(2, &target, "-T 1").0.unwrap_err();
    assert!(matches!(error, ClientError::GaveUp(_)), "{error}");
    assert!(!target.exists());
    error.to_string()
}

#[test]
fn nothing_at_all() {
    let text = said(Ground(40));
    for part in ["nothing at all", "239.192.101.40:21040", "lo (127.77.40.2)", "IGMP", "firewall"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn datagrams_but_no_reply() {
    let ground = Ground(41);
    // Another client, waiting too.
    let waiting = std::thread::spawn(move || {
        let (_folder, target) = target();
        ground.load(3, &target, "-T 2").0.unwrap_err()
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    let text = said(ground);
    assert!(text.contains("no server answered") && text.contains("other clients"), "{text}");
    waiting.join().unwrap();
}

#[test]
fn a_reply_but_no_data() {
    let ground = Ground(42);
    let mut setup = ground.setup(&golden("g1.v5"));
    setup.tamper = Box::new(|_, _, _| Fate::Lose);
    let _server = TestServer::start(setup);
    let text = said(ground);
    assert!(text.contains("127.77.42.1:21042 answered, but no block came"), "{text}");
    assert!(text.contains("0 of 1 chunks"), "{text}");
}
