//! A machine that does what a control server orders, as the testbed has it.

use crate::pxe::shelve;
use vmtest::artifacts::node_kernel;
use vmtest::console::PATIENCE;
use vmtest::control::listen;
use vmtest::debian;
use vmtest::image_host::ImageHost;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Machine};
use vmtest::services::dhcp;

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_machine_loads_saves_and_reboots_as_the_control_server_orders() {
    let Some(lab) = Lab::with_boot_image("control server") else { return };
    let image = debian::image().unwrap();
    let images = shelve(&lab, &image);
    let _host = ImageHost::start(&lab, &images);
    let (_dhcp, control) = (dhcp(&lab, ""), listen(&lab));
    let disk = lab.blank_disk("disk", 1536 << 20);
    let machine = Machine::new("ordered", 7).disk(&disk, Bus::Virtio);
    let mut running = machine.kernel(&node_kernel(), "frisbee.control=next-server").start(&lab);
    running.console.expect("orders come from the control server");
    let mut node = control.greet();
    node.say(&format!("LOAD_IMAGE {}/debian.ndz auto id=one", lab.address()));
    node.hear("PROGRESS ");
    let done = node.hear("DONE.");
    assert!(done.starts_with("DONE.OK"), "{done}");
    node.say(&format!("SAVE_IMAGE {}/again.ndz vda id=two", lab.address()));
    let done = node.hear("DONE.");
    assert!(done.starts_with("DONE.OK"), "{done}");
    node.say("REBOOT");
    node.hear_the_end();
    running.console.expect("frisbee-agent: rebooting");
    running.wait_until_off(PATIENCE);
    assert!(images.join("again.ndz").is_file());
}
