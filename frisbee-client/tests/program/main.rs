//! The program itself: exit statuses, signals, and what it prints for machines.

mod doctor;
mod hosts;
mod machines;
mod silence;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tests::samples::Sample;
use tests::test_server::{Fate, Setup, TestServer};

fn setup(number: u8, file: &Arc<Vec<u8>>) -> Setup {
    Setup {
        group: Ipv4Addr::new(239, 192, 102, number).into(),
        port: 22_000 + u16::from(number),
        local: Ipv4Addr::new(127, 78, number, 1).into(),
        file: Arc::clone(file),
        image_id: None,
        rate: 300_000_000,
        tamper: Box::new(|_, _, _| Fate::Send),
    }
}

fn client(number: u8, more: &str, target: &Path) -> Child {
    let (group, port) =
        (format!("239.192.102.{number}"), format!("{}", 22_000 + u16::from(number)));
    Command::new(env!("CARGO_BIN_EXE_frisbee-client"))
        .args(["-m", &group, "-p", &port, "-i", &format!("127.78.{number}.2")])
        .args(more.split_whitespace())
        .arg(target)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(number: u8, more: &str, target: &Path) -> Output {
    client(number, more, target).wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn sample(mebibytes: usize) -> (Vec<u8>, Arc<Vec<u8>>) {
    let sample = Sample::whole(tests::rng::Rng::new(3).bytes(mebibytes << 20));
    let image = sample.image(imagezip::ndz::Version::Native, imagezip::ndz::Codec::Zstd, 2);
    (sample.bytes, Arc::new(image))
}

#[test]
fn controllers_find_their_lines_and_agents_their_objects() {
    let (disk, image) = sample(12);
    let _server = TestServer::start(setup(1, &image));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("disk");
    let output = run(1, "", &target);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    let percent = |line: &&str| -> u32 {
        let rest = line.strip_prefix("Progress: ").unwrap();
        let (percent, rest) = rest.split_once("% ").unwrap();
        assert!(rest.len() == 13 && rest.as_bytes()[6] == b' ', "{line}");
        percent.parse().unwrap()
    };
    let percents: Vec<_> = lines.iter().map(percent).collect();
    assert!(percents.is_sorted() && percents.last() == Some(&100), "{lines:?}");
    assert!(text(&output.stderr).contains("every digest is right"), "{}", text(&output.stderr));
    assert!(std::fs::read(&target).unwrap() == disk);

    let output = run(1, "--json --verify", &target);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let objects: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.first().unwrap()["event"], "joined");
    let done = objects.last().unwrap();
    assert_eq!((&done["event"], &done["chunks"]), (&"done".into(), &(image.len() >> 20).into()));
    assert_eq!(done["verified_bytes"], 12 << 20);
    let output = run(1, "-q", &target);
    assert!(output.stdout.is_empty() && output.status.success());
}

#[test]
fn exit_statuses_tell_refusal_from_failure() {
    let (_, image) = sample(3);
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("disk");
    let output = run(2, "--json -T 1", &target);
    assert_eq!(output.status.code(), Some(1));
    let object: serde_json::Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    assert_eq!((&object["event"], &object["refused"]), (&"failed".into(), &false.into()));
    assert_eq!(object["class"], "network");
    let _server = TestServer::start(setup(2, &image));
    std::fs::write(&target, [0xa5; 8192]).unwrap();
    let output = run(2, "--in-place", &target);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(run(2, "--no-such-option", &target).status.code(), Some(2));
}

#[test]
fn a_signal_makes_it_leave_and_leaves_nothing_behind() {
    use std::os::unix::process::ExitStatusExt;
    let (_, image) = sample(12);
    let sent = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&sent);
    let mut setup = setup(3, &image);
    setup.rate = 30_000_000;
    setup.tamper = Box::new(move |_, _, _| {
        counter.fetch_add(1, Relaxed);
        Fate::Send
    });
    let server = TestServer::start(setup);
    let folder = tempfile::tempdir().unwrap();
    let client = client(3, "", &folder.path().join("disk"));
    tests::wait::until("1500 blocks are sent", || sent.load(Relaxed) >= 1500);
    assert!(
        Command::new("kill").args(["-TERM", &client.id().to_string()]).status().unwrap().success()
    );
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(15), "{}", text(&output.stderr));
    assert_eq!(server.stop().leaves.len(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
