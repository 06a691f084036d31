//! What a network gives to machines that boot from it: addresses, a TFTP server, a web server.
//!
//! What it owns: the programs that do it on the lab's host, dnsmasq and busybox, until the test is
//! over.

use crate::artifacts::{node, project};
use crate::lab::Lab;
use crate::process::Process;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::wait::until;

/// What dnsmasq is told in each lab: nothing of the test machine's own network, and no delays.
const COMMON: &str = "port=0
no-resolv
no-hosts
user=root
interface=eth0
bind-interfaces
no-ping
dhcp-authoritative
";

/// Routers that say where they are: without one, the iPXE of Debian waits 15 s for its advertisement
/// before it starts anything.
const ROUTER: &str = "enable-ra\ndhcp-range=fd77::,ra-only,64\n";

/// What `make publish` writes for this boot image and these orders: a folder for TFTP and HTTP.
///
/// # Panics
/// When the script fails.
#[must_use]
pub fn publish(lab: &Lab, orders: &str) -> PathBuf {
    let root = lab.scratch("root");
    let mut script = Command::new(project().join("initfs/publish"));
    script.arg(&root).arg("production").env("OUT", node()).env("ORDERS", orders);
    // What is quiet otherwise is told here, for whoever has to find out why a test failed.
    script.env("KERNEL_ARGS", "console=ttyS0,115200 panic=30 mitigations=off");
    let output = script.output().expect("initfs/publish");
    assert!(output.status.success(), "{output:?}");
    root
}

/// Starts DHCP for machines that need no more than an address. `lines` are added to dnsmasq's
/// configuration.
///
/// # Panics
/// When dnsmasq does not start.
#[must_use]
pub fn dhcp(lab: &Lab, lines: &str) -> Process {
    start_dnsmasq(lab, &format!("{COMMON}dhcp-range=10.77.0.100,10.77.0.199,1h\n{lines}"))
}

/// Starts DHCP and TFTP with the configuration that we give to users, `initfs/pxe/dnsmasq.conf`,
/// where only interface, addresses and folder are those of this lab. `lines` are added to it.
///
/// # Panics
/// When dnsmasq does not start, or the example has changed so much that it cannot be fitted.
#[must_use]
pub fn pxe(lab: &Lab, root: &Path, lines: &str) -> Process {
    let example = project().join("initfs/pxe/dnsmasq.conf");
    let example = fs::read_to_string(&example)
        .unwrap_or_else(|error| panic!("{}: {error}", example.display()));
    let root = root.to_str().expect("paths in tests are UTF-8");
    let settings = [
        ("interface=", "interface=eth0".to_owned()),
        ("dhcp-range=", "dhcp-range=10.77.0.100,10.77.0.199,1h".to_owned()),
        ("tftp-root=", format!("tftp-root={root}")),
    ];
    for (key, _) in &settings {
        let found = example.lines().filter(|line| line.starts_with(key)).count();
        assert_eq!(found, 1, "lines in the example that begin with {key}");
    }
    let fitted: String = example
        .lines()
        .map(|line| {
            let ours = settings.iter().find(|(key, _)| line.starts_with(key));
            ours.map_or(line, |(_, ours)| ours).replace("10.0.0.1", "10.77.0.1") + "\n"
        })
        .collect();
    start_dnsmasq(lab, &format!("{fitted}user=root\nno-ping\n{ROUTER}{lines}"))
}

fn start_dnsmasq(lab: &Lab, configuration: &str) -> Process {
    let file = lab.scratch("dnsmasq.conf");
    let leases = lab.scratch("dnsmasq.leases");
    let lines = format!("{configuration}\ndhcp-leasefile={}\n", leases.display());
    fs::write(&file, lines).expect("the lab's folder can be written to");
    let mut command = lab.host().command("dnsmasq");
    command.args(["--keep-in-foreground", "--log-facility=-"]);
    command.arg(format!("--conf-file={}", file.display()));
    let process = Process::start("dnsmasq", &mut command);
    // It says so after it has bound its sockets.
    until("dnsmasq has started", || process.output.text().contains("dnsmasq-dhcp"));
    process
}

/// Starts a web server for the files below a folder, on port 80.
///
/// # Panics
/// When busybox does not start.
#[must_use]
pub fn web(lab: &Lab, root: &Path) -> Process {
    let mut command = lab.host().command("busybox");
    command.args(["httpd", "-f", "-vv", "-p", &format!("{}:80", lab.address()), "-h"]).arg(root);
    let process = Process::start("httpd", &mut command);
    until("the web server answers", || answers(lab, 80));
    process
}

/// True when somebody on the host takes connections on this port.
pub(crate) fn answers(lab: &Lab, port: u16) -> bool {
    let address = SocketAddr::from((lab.address(), port));
    lab.host().enter(|| TcpStream::connect(address).is_ok())
}
