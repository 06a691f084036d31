//! Restarts, reloads, and ends.

use crate::support::{Host, load_alone, sample};
use nix::sys::signal::{Signal, kill};
use rendezvous::record::Methods;
use std::fs;
use tests::wait::until;

#[test]
fn a_client_in_mid_load_survives_restarts_of_the_server() {
    let (disk, image) = sample(1, 24);
    // Slow enough to be in the middle for seconds.
    let settings = "session_bandwidth = '60M'";
    let mut host = Host::start(40, settings, &[("a.ndz", &image)]);
    let targets = tempfile::tempdir().unwrap();
    let target = targets.path().join("disk");
    let (rendezvous, to) = (host.rendezvous(), target.clone());
    let client = std::thread::spawn(move || load_alone(rendezvous, "a.ndz", "--no-fallback", &to));
    let mut addresses = Vec::new();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let sent = |host: &Host| {
            let sessions = host.http_json("/api/v1/sessions");
            let text = sessions.to_string();
            let sent =
                text.split("\"blocks_sent\":").nth(1).map(|rest| rest.split(',').next().unwrap());
            sent.map_or(0, |sent| sent.parse::<u64>().unwrap())
        };
        until("blocks flow", || sent(&host) > 1000);
        addresses.push(host.get("a.ndz", Methods::MULTICAST, true).unwrap().session.unwrap());
        let (folder, number) = host.end(signal);
        host = Host::start_in(folder, number, settings);
    }
    addresses.push(host.get("a.ndz", Methods::MULTICAST, true).unwrap().session.unwrap());
    addresses.dedup();
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    client.join().unwrap().unwrap();
    assert!(fs::read(&target).unwrap() == disk);
}

#[test]
fn an_image_that_changed_meanwhile_is_not_resumed() {
    let host = Host::start(41, "", &[("a", b"old"), ("b", b"same")]);
    for name in ["a", "b"] {
        host.get(name, Methods::MULTICAST, false).unwrap();
    }
    let (folder, number) = host.end(Signal::SIGTERM);
    fs::write(folder.path().join("images/new"), b"other").unwrap();
    fs::rename(folder.path().join("images/new"), folder.path().join("images/a")).unwrap();
    let host = Host::start_in(folder, number, "");
    assert!(host.get("a", Methods::MULTICAST, true).unwrap().session.is_none());
    assert!(host.get("b", Methods::MULTICAST, true).unwrap().session.is_some());
}

#[test]
fn hangup_reads_the_access_rules_again_and_a_mistake_changes_nothing() {
    let host = Host::start(42, "", &[("a", b"x")]);
    let may = || host.get("a", Methods::ANY, true).is_ok();
    assert!(may());
    let config = host.folder.path().join("config.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}\n[[access]]\nallow = ['stop']\n")).unwrap();
    kill(host.pid(), Signal::SIGHUP).unwrap();
    until("nobody may get", || !may());
    fs::write(&config, format!("{good}\nnonsense = 1\n")).unwrap();
    kill(host.pid(), Signal::SIGHUP).unwrap();
    until("the mistake is told", || host.log().contains("nonsense"));
    assert!(!may());
}
