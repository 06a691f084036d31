//! The real programs: imagezip saves to a real image host and to a bare listener, frisbee-client loads
//! from it. The disks are files.

use crate::node::{Ended, Kit, disk};
use frisbee_agent::control::testing::ControlServer;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tests::programs::built;
use tests::rng::Rng;

/// The folder with the programs of this project, which are built where they are missing or old.
fn programs() -> PathBuf {
    let client = built("frisbee-client", "frisbee-client").unwrap();
    for name in ["imagezip", "imageunzip"] {
        built("imagezip", name).unwrap();
    }
    built("frisbee-server", "frisbee-server").unwrap();
    client.parent().unwrap().to_path_buf()
}

/// A real image host on the loopback interface.
struct Host {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Host {
    /// `number` keeps the groups and ports of tests apart.
    fn start(programs: &Path, number: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("images")).unwrap();
        let text = format!(
            "dir = '{}/images'\nstate = 'off'\nlisten = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\n\
             interface = 'lo'\ngroups = '239.192.{number}.1-239.192.{number}.9'\n\
             ports = '24{number}0-24{number}9'\nsession_bandwidth = '300M'\n\
             [[access]]\nallow = [\"get\", \"put\"]\n",
            folder.path().display()
        );
        let config = folder.path().join("config.toml");
        fs::write(&config, text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(programs.join("frisbee-server"))
            .args(["--json".as_ref(), "--config".as_ref(), config.as_os_str()])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let start: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("no start: {}", fs::read_to_string(folder.path().join("log")).unwrap())
        });
        let address = start["rendezvous"].as_str().unwrap().parse().unwrap();
        Self { folder, child, address }
    }

    fn image(&self, name: &str) -> PathBuf {
        self.folder.path().join("images").join(name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node whose disk holds these bytes.
fn node(programs: &Path, bytes: &[u8]) -> Kit {
    let mut kit = Kit::new();
    let path = kit.path("vda");
    fs::write(&path, bytes).unwrap();
    kit.disks = vec![disk("vda", &path)];
    kit.programs = Some(programs.to_path_buf());
    kit
}

fn noise(mebibytes: usize) -> Vec<u8> {
    Rng::new(6).bytes(mebibytes << 20)
}

const LOADS: &str = "frisbee.options=--in-place,-i,127.0.0.1,--threads,1 frisbee.retry-after=0 frisbee.reboot-after=1";
const SAVES: &str = "frisbee.options=--threads,1,-u,01234567-89ab-cdef-0123-456789abcdef frisbee.retry-after=0 frisbee.reboot-after=1";

#[test]
fn a_disk_goes_to_a_host_and_comes_back() {
    let programs = programs();
    let host = Host::start(&programs, 61);
    let bytes = noise(6);
    let saved = node(&programs, &bytes)
        .boot(&format!("frisbee.save={}/lab/a.ndz {SAVES}", host.address))
        .end();
    saved.said("frisbee-agent: Progress: 100% ").said("DONE.OK save").said("nothing more to do");
    assert!(host.image("lab/a.ndz").is_file());

    let load = format!("frisbee.load={}/lab/a.ndz frisbee.verify {LOADS}", host.address);
    let loaded = node(&programs, &[0xa5; 8 << 20]).boot(&load).end();
    loaded
        .said("frisbee-agent: joined ")
        .said("frisbee-agent: Progress: 100% ")
        .said("DONE.OK load");
    loaded.finished(&["Reboot"]);
    assert!(fs::read(loaded.kit.path("vda")).unwrap()[..bytes.len()] == bytes);
    let done = loaded.lines.iter().find(|line| line.contains("DONE.OK")).unwrap();
    let peak = done.split(", peak ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(peak.parse::<u64>().unwrap() > 5, "{done}");

    // The same by a control server, which also says no to what cannot be.
    let control = ControlServer::start();
    let line = format!("frisbee.control={} frisbee.retry=1", control.address());
    let node = node(&programs, &bytes).boot(&line);
    let mut peer = control.greet();
    peer.say(&format!("SAVE_IMAGE {}/lab/b.ndz auto id=1", host.address));
    let done = peer.hear("DONE");
    assert!(done.starts_with("DONE.OK save "), "{done}");
    assert_eq!(
        fs::metadata(host.image("lab/b.ndz")).unwrap().len(),
        fs::metadata(host.image("lab/a.ndz")).unwrap().len()
    );
    peer.say(&format!("LOAD_IMAGE {}/lab/none.ndz auto id=2", host.address));
    let failed = peer.hear("DONE");
    assert!(
        failed.starts_with("DONE.ERR server id=2 ") && failed.contains("no such image"),
        "{failed}"
    );
    node.signal();
    peer.hear_the_end();
    node.end();
}

fn ends(programs: &Path, bytes: &[u8], line: &str) -> Ended {
    let ended = node(programs, bytes).boot(line).end();
    ended.finished(&["Reboot"]);
    ended
}

#[test]
fn what_goes_wrong_has_its_class_and_harms_no_disk() {
    let programs = programs();
    let host = Host::start(&programs, 62);
    node(&programs, &noise(4))
        .boot(&format!("frisbee.save={}/a {SAVES}", host.address))
        .end()
        .said("DONE.OK");

    let load = format!("frisbee.load={}/a {LOADS}", host.address);
    let small = ends(&programs, &[7; 2 << 20], &load);
    small.said("DONE.ERR refused: the image does not fit");
    assert!(fs::read(small.kit.path("vda")).unwrap() == [7; 2 << 20]);

    let mut image = fs::read(host.image("a")).unwrap();
    let middle = image.len() / 2;
    image[middle] ^= 1;
    fs::write(host.image("damaged"), image).unwrap();
    let load = format!("frisbee.load={}/damaged frisbee.retry=1 {LOADS}", host.address);
    ends(&programs, &[7; 8 << 20], &load).said("DONE.ERR damaged: ");

    let address = host.address;
    drop(host);
    let dead = ends(&programs, &[7; 8 << 20], &format!("frisbee.load={address}/a {LOADS}"));
    dead.said("try 3 of 3").said(&format!("DONE.ERR server: {address}: cannot connect"));
    assert!(fs::read(dead.kit.path("vda")).unwrap() == [7; 8 << 20]);
    let silent =
        format!("frisbee.load=239.192.63.1:24639 frisbee.timeout=1 frisbee.retry=1 {LOADS}");
    ends(&programs, &[7; 8 << 20], &silent).said("DONE.ERR network: ");
}

#[test]
fn a_testbeds_save_is_the_image_that_a_file_would_be() {
    let programs = programs();
    let bytes = noise(3);
    let control = ControlServer::start();
    let node = node(&programs, &bytes).boot(&format!("frisbee.control={}", control.address()));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut peer = control.greet();
    peer.say(&format!("SAVE_IMAGE 127.0.0.1 {} /dev/vda", listener.local_addr().unwrap().port()));
    let mut image = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut image).unwrap();
    let done = peer.hear("DONE");
    assert!(
        done.starts_with("DONE.OK save ") && done.contains(&format!(" bytes={} ", image.len())),
        "{done}"
    );
    let folder = tempfile::tempdir().unwrap();
    let (file, restored) = (folder.path().join("a.ndz"), folder.path().join("disk"));
    fs::write(&file, image).unwrap();
    let unzip =
        Command::new(programs.join("imageunzip")).args([&file, &restored]).output().unwrap();
    assert!(unzip.status.success(), "{}", String::from_utf8_lossy(&unzip.stderr));
    assert!(fs::read(&restored).unwrap() == bytes);
    node.signal();
    peer.hear_the_end();
    node.end();
}
