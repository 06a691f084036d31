//! Hooks, and the loaded system started without going through the firmware.

use crate::pxe::shelve;
use vmtest::artifacts::node_kernel;
use vmtest::debian;
use vmtest::image_host::ImageHost;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Machine};
use vmtest::services::dhcp;

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_machine_loads_changes_what_is_its_own_and_starts_the_system_at_once() {
    let Some(lab) = Lab::with_boot_image("kexec") else { return };
    let _host = ImageHost::start(&lab, &shelve(&lab, &debian::image().unwrap()));
    let _dhcp = dhcp(&lab, "");
    // Larger than the disk of the image, so that there is something to grow.
    let disk = lab.blank_disk("disk", 1800 << 20);
    let orders = "quiet frisbee.load=next-server/debian.ndz frisbee.hooks=grow,machine-id,hostname \
                  frisbee.hostname=node-eight frisbee.then=kexec";
    let machine = Machine::new("kexec", 8).disk(&disk, Bus::Virtio);
    let mut machine = machine.kernel(&node_kernel(), orders).start(&lab);
    machine.console.expect_line_unless("hook grow: /dev/vda3: ext4 grown", &["DONE."]);
    machine.console.expect_line_unless("DONE.OK load", &["DONE.ERR"]);
    machine.console.expect("starting the loaded system (kexec)");
    machine.console.expect_line_unless(&debian::marker().unwrap(), &["init: Linux"]);
    machine.console.expect("node-eight login:");
}
