//! A host that gets what it lacks from another.

use crate::support::{Host, load_alone, sample};
use nix::sys::signal::Signal;
use rendezvous::ErrorCode;
use rendezvous::record::Methods;
use std::fs;
use std::time::{Duration, SystemTime};
use tests::wait::until;

/// The parent's blocks come from an address of their own: the child is on this machine too.
const BOSS: &str = "interface = '127.81.0.1'";

fn child_of(parent: &Host, number: u8, more: &str) -> Host {
    Host::start(number, &format!("parent = '{}'\n{more}", parent.rendezvous()), &[])
}

#[test]
fn a_missing_image_is_fetched_once_and_then_served() {
    let (disk, image) = sample(1, 5);
    let boss = Host::start(60, BOSS, &[("os/a.ndz", &image)]);
    let rack = child_of(&boss, 61, "");
    let targets = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (rack, target, disk) = (&rack, targets.path().join(number.to_string()), &disk);
            scope.spawn(move || {
                load_alone(rack.rendezvous(), "os/a.ndz", "-B 1", &target).unwrap();
                assert!(fs::read(&target).unwrap() == *disk);
            });
        }
    });
    assert!(fs::read(rack.image("os/a.ndz")).unwrap() == image);
    let theirs = boss.get("os/a.ndz", Methods::ANY, true).unwrap();
    let ours = rack.get("os/a.ndz", Methods::ANY, true).unwrap();
    assert_eq!((theirs.bytes, theirs.signature), (ours.bytes, ours.signature));
    assert_eq!(rack.log().matches("came from the parent").count(), 1, "{}", rack.log());
    let error = rack.get("none", Methods::ANY, false).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NoSuchImage));
    // Without the parent, what is here is served.
    let (_folder, _) = boss.end(Signal::SIGKILL);
    assert!(rack.get("os/a.ndz", Methods::ANY, false).is_ok());
    let error = rack.get("other", Methods::ANY, false).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Failed));
}

#[test]
fn a_stale_image_is_fetched_anew_when_the_parent_is_always_asked() {
    let boss = Host::start(62, BOSS, &[("a", b"first")]);
    let rack = child_of(&boss, 63, "parent_check = true");
    let bytes = |rack: &Host| rack.get("a", Methods::ANY, true).ok().map(|answer| answer.bytes);
    until("it is here", || bytes(&rack) == Some(5));
    fs::write(boss.image("new"), b"second").unwrap();
    let later = SystemTime::now() + Duration::from_secs(100);
    fs::File::options().append(true).open(boss.image("new")).unwrap().set_modified(later).unwrap();
    fs::rename(boss.image("new"), boss.image("a")).unwrap();
    until("the new one is here", || bytes(&rack) == Some(6));
    assert_eq!(fs::read(rack.image("a")).unwrap(), b"second");
    // A newer one that was sent to this host is not replaced by the parent's.
    fs::write(rack.image("new"), b"our own").unwrap();
    let latest = later + Duration::from_secs(100);
    fs::File::options().append(true).open(rack.image("new")).unwrap().set_modified(latest).unwrap();
    fs::rename(rack.image("new"), rack.image("a")).unwrap();
    assert_eq!(bytes(&rack), Some(7));
    assert_eq!(fs::read(rack.image("a")).unwrap(), b"our own");
}
