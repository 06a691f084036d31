//! From an empty lab to loaded machines, as docs/pxe.md tells it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use vmtest::console::PATIENCE;
use vmtest::debian;
use vmtest::image_host::OneImage;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Machine};
use vmtest::services::{publish, pxe, web};

/// The disk of the image has this size.
const SAME: u64 = 1536 << 20;

/// What no machine says that does well.
const ERRORS: [&str; 1] = ["DONE.ERR"];

/// Puts the image where an image host looks for it.
pub(crate) fn shelve(lab: &Lab, image: &Path) -> PathBuf {
    let images = lab.folder("images");
    fs::copy(image, images.join("debian.ndz")).unwrap();
    images
}

#[test]
fn two_blank_machines_boot_by_pxe_load_by_multicast_and_come_up_from_their_disks() {
    let Some(lab) = Lab::with_boot_image("machines that boot by PXE") else { return };
    let image = debian::image().unwrap();
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 192, 70, 1), 7001);
    let root = publish(&lab, &format!("frisbee.load={group} frisbee.verify"));
    let _web = web(&lab, &root);
    // The network cards of both have iPXE. One takes all by HTTP, the other is given lpxelinux.
    let first = Machine::new("ipxe", 1);
    let second = Machine::new("lpxelinux", 2);
    let _dhcp = pxe(
        &lab,
        &root,
        &format!(
            "dhcp-boot=tag:ipxe,http://{}/boot.ipxe\n\
             dhcp-mac=set:plain,{}\ndhcp-boot=tag:plain,lpxelinux.0\n",
            lab.address(),
            second.mac()
        ),
    );
    let machines = [(first, Bus::Virtio, SAME), (second, Bus::Nvme, 2 * SAME)];
    let machines = machines.map(|(machine, bus, bytes)| {
        let disk = lab.blank_disk(&format!("disk-{bus:?}"), bytes);
        (machine.disk(&disk, bus), disk, bytes)
    });

    // Both at once: there are two processors, and the image goes out to both.
    let mut running = machines.each_ref().map(|(machine, _, _)| machine.start(&lab));
    for machine in &mut running {
        machine.console.expect_line_unless("frisbee-agent: load of", &ERRORS);
    }
    let server = OneImage::start(&lab, &image, group);
    for mut machine in running {
        let done = machine.console.expect_line_unless("DONE.OK load", &ERRORS);
        eprintln!("{done}");
        machine.console.expect("frisbee-agent: rebooting");
        machine.wait_until_off(PATIENCE);
    }
    let sent = server.wait();
    eprintln!("{sent:?}");
    assert_eq!(sent.machines, 2);
    // Twice the image is what a transfer for each would take if nothing were lost.
    assert!(sent.blocks * 10 < sent.image_blocks * 18, "{sent:?}");

    // Every byte is as imageunzip would have restored it here, also what is behind the image.
    for (_, disk, bytes) in &machines {
        let expected = lab.scratch("expected");
        debian::expected(&image, &expected, *bytes).unwrap();
        debian::compare(disk, &expected).unwrap();
    }

    // The same machines, switched on again: now there is something on their disks.
    let marker = debian::marker().unwrap();
    let running = machines.each_ref().map(|(machine, _, _)| machine.start(&lab));
    for mut machine in running {
        machine.console.expect_line_unless(&marker, &["init: Linux"]);
        machine.console.expect(debian::LOGIN);
        machine.pull_plug();
    }
}
