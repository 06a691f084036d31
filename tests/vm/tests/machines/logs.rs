//! What a machine says reaches whoever is not there to read its screen.

use std::net::UdpSocket;
use std::thread;
use vmtest::artifacts::node_kernel;
use vmtest::console::PATIENCE;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Machine};
use vmtest::services::dhcp;

#[test]
#[ignore = "virtual machines: make vmtest"]
fn what_the_console_shows_reaches_the_syslog_host_from_the_first_line_to_the_reason() {
    let Some(lab) = Lab::with_boot_image("syslog") else { return };
    let _dhcp = dhcp(&lab, "");
    let address = (lab.address(), 5514);
    let socket = lab.host().enter(|| UdpSocket::bind(address).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let reason = "DONE.ERR order: the kernel's command line has an unknown word frisbee.laod; \
                  is frisbee.load meant?";
    // Read while they come: the kernel alone says more than a socket holds.
    let reader = thread::spawn(move || {
        let mut wanted = vec!["kernel: ", "frisbee: init: Linux", reason];
        let mut datagram = [0; 2048];
        while let Some(next) = wanted.first() {
            let length = socket.recv(&mut datagram).unwrap_or_else(|e| panic!("{next:?}: {e}"));
            let said = String::from_utf8_lossy(&datagram[..length]).into_owned();
            wanted.retain(|text| !said.contains(text));
        }
    });
    let disk = lab.blank_disk("disk", 64 << 20);
    let orders = format!(
        "quiet frisbee.laod=boss/x frisbee.reboot-after=2 frisbee.syslog={}:{}",
        address.0, address.1
    );
    let machine = Machine::new("talker", 6).disk(&disk, Bus::Virtio);
    let mut machine = machine.kernel(&node_kernel(), &orders).start(&lab);
    machine.console.expect_line_unless(reason, &["DONE.OK"]);
    machine.console.expect("frisbee-agent: rebooting");
    machine.wait_until_off(PATIENCE);
    reader.join().unwrap();
}
