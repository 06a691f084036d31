//! The program on machines of its own, with the real server: what befalls one client is its own
//! affair.

use super::{sample, text};
use frisbee_server::{Network, Settings};
use mcast::{InterfaceSelector, Options};
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tests::netns::{Network as Switch, Node};
use tests::real_server::RealServer;
use tests::slow_disk::SlowDisk;

const GROUP: &str = "239.192.102.100";
const PORT: u16 = 64494;

fn serve(node: &Node, folder: &Path, image: &[u8], bits_per_sec: u64) -> RealServer {
    let path = folder.join("image.ndz");
    std::fs::write(&path, image).unwrap();
    let network = Network {
        group: GROUP.parse().unwrap(),
        ports: PORT..=PORT,
        interface: InterfaceSelector::ByName("eth0".into()),
        options: Options::default(),
    };
    let settings = Settings { bits_per_sec: Some(bits_per_sec), ..Settings::default() };
    node.enter(|| RealServer::start(&path, &network, &settings))
}

fn client(node: &Node, more: &str, target: &Path) -> Command {
    let mut command = node.command(env!("CARGO_BIN_EXE_frisbee-client"));
    command.args(["-m", GROUP, "-i", "eth0", "--json", "--threads", "1", "-T", "120"]);
    command.args(more.split_whitespace()).arg(target);
    command
}

/// A client at work.
struct Loading {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Loading {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it says that so much of the image is written.
    fn wait_for_percent(&mut self, percent: u64) {
        for line in &mut self.lines {
            let object: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            if object["event"] == "progress" && object["percent"].as_u64().unwrap() >= percent {
                return;
            }
        }
        panic!("the client ended");
    }

    /// Kills it, without a chance to say good-bye.
    fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().code(), None);
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its success; the time it took.
    fn succeed(mut self) -> Duration {
        let last = (&mut self.lines).map(Result::unwrap).last();
        let mut said = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut said).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", text(&said));
        let done: serde_json::Value = serde_json::from_str(&last.unwrap()).unwrap();
        assert_eq!(done["event"], "done");
        Duration::from_secs_f64(done["seconds"].as_f64().unwrap())
    }
}

#[test]
fn a_slow_disk_delays_its_owner_alone() {
    const BYTES_PER_SEC: u64 = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    let backing = folder.path().join("backing");
    std::fs::write(&backing, vec![0xa5; 24 << 20]).unwrap();
    let Some(slow_disk) = SlowDisk::new(&backing, BYTES_PER_SEC) else { return };
    let Some(switch) = Switch::new(4) else { return };
    let (disk, image) = sample(20);
    let server = serve(switch.node(0), folder.path(), &image, 160_000_000);
    let slow = client(switch.node(3), "-O -C 8", slow_disk.device());
    let mut slow = Loading::start(&mut slow_disk.slowed(&slow));
    let path = |number: usize| folder.path().join(format!("disk{number}"));
    let fast = [1, 2].map(|n| Loading::start(&mut client(switch.node(n), "", &path(n))));
    let fast = fast.map(Loading::succeed);
    assert!(slow.is_running(), "the fast ones took {fast:?}");
    let slow = slow.succeed();
    println!("fast {fast:?}, slow {slow:?}");
    assert!(slow > Duration::from_secs(3), "its disk was not slow: {slow:?}");
    assert!(fast.iter().all(|fast| *fast < slow * 2 / 3), "fast {fast:?}, slow {slow:?}");
    assert!(std::fs::read(slow_disk.device()).unwrap()[..disk.len()] == disk);
    for number in [1, 2] {
        assert!(std::fs::read(path(number)).unwrap() == disk, "client {number}");
    }
    let summary = server.stop();
    assert_eq!((summary.loading, summary.clients.len()), (0, 3), "{summary:?}");
}

/// A load of some seconds.
fn slow_network(switch: &Switch, folder: &Path) -> (Vec<u8>, RealServer) {
    let (disk, image) = sample(16);
    let server = serve(switch.node(0), folder, &image, 60_000_000);
    (disk, server)
}

#[test]
fn loss_a_pulled_cable_and_a_kill_are_each_clients_own() {
    const OUTAGE: Duration = Duration::from_secs(6);
    let Some(switch) = Switch::new(5) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (disk, server) = slow_network(&switch, folder.path());
    let path = |number: usize| folder.path().join(format!("disk{number}"));
    let start =
        |number: usize| Loading::start(&mut client(switch.node(number), "-C 16", &path(number)));
    switch.drop_received(2, 300);
    let [well, lossy, mut cut_off, mut killed] = [1, 2, 3, 4].map(start);
    killed.wait_for_percent(20);
    killed.kill();
    assert!(!path(4).exists(), "what is not whole has no name");
    let again = start(4);
    cut_off.wait_for_percent(20);
    switch.cut_off(3, OUTAGE);
    let times = [well, lossy, cut_off, again].map(Loading::succeed);
    println!("well, 30 % loss, cut off for {OUTAGE:?}, killed and restarted: {times:?}");
    let [well, _, cut_off, _] = times;
    assert!(well < cut_off && cut_off > OUTAGE, "{times:?}");
    for number in 1..5 {
        assert!(std::fs::read(path(number)).unwrap() == disk, "client {number}");
    }
    let summary = server.stop();
    assert_eq!(summary.loading, 1, "the one that was killed: {summary:?}");
    let sent = summary.totals.blocks_sent * 100 / summary.image_blocks;
    println!("{sent} % of the image's blocks were sent");
}

/// Three clients, of whose network something is gone for a minute in mid-load.
fn a_minute_without(cut_off: usize) {
    const MINUTE: Duration = Duration::from_secs(61);
    let Some(switch) = Switch::new(4) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (disk, server) = slow_network(&switch, folder.path());
    let path = |number: usize| -> PathBuf { folder.path().join(format!("disk{number}")) };
    let mut loads =
        [1, 2, 3].map(|number| Loading::start(&mut client(switch.node(number), "", &path(number))));
    loads[0].wait_for_percent(20);
    switch.cut_off(cut_off, MINUTE);
    let times = loads.map(Loading::succeed);
    println!("node {cut_off} was cut off for {MINUTE:?}: {times:?}");
    assert!(times[0] > MINUTE && times[0] < MINUTE * 2);
    for number in 1..4 {
        assert!(std::fs::read(path(number)).unwrap() == disk, "client {number}");
    }
    assert_eq!(server.stop().loading, 0);
}

#[test]
#[ignore = "takes more than a minute; `make soak` runs it"]
fn a_client_without_network_for_a_minute_goes_on() {
    a_minute_without(1);
}

#[test]
#[ignore = "takes more than a minute; `make soak` runs it"]
fn a_server_without_network_for_a_minute_is_waited_for() {
    a_minute_without(0);
}
