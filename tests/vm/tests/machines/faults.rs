//! What goes wrong: the right reason on the console and to the control server, and no damage.

use crate::pxe::shelve;
use frisbee_agent::control::testing::ControlServer;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmtest::artifacts::node_kernel;
use vmtest::console::PATIENCE;
use vmtest::control::listen;
use vmtest::debian;
use vmtest::image_host::ImageHost;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Machine, Running};
use vmtest::services::dhcp;

/// A disk on which somebody's data are.
fn used_disk(lab: &Lab, bytes: u64) -> std::path::PathBuf {
    let disk = lab.blank_disk("used", bytes);
    let mut random = vec![0; 8 << 20];
    blake3::Hasher::new().update(b"somebody's data").finalize_xof().fill(&mut random);
    let file = OpenOptions::new().write(true).open(&disk).unwrap();
    file.write_all_at(&random, 0).unwrap();
    file.write_all_at(&random, bytes - u64::try_from(random.len()).unwrap()).unwrap();
    disk
}

fn digest(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).unwrap()).unwrap();
    hasher.finalize()
}

/// Starts a machine that is to load the image, and to tell the control server.
fn start(lab: &Lab, name: &str, disk: &Path, more: &str) -> Running {
    let address = lab.address();
    let orders = format!(
        "frisbee.load={address}/debian.ndz frisbee.control={address} frisbee.retry-after=1 \
         frisbee.reboot-after=5 {more}"
    );
    let machine = Machine::new(name, 5).disk(disk, Bus::Virtio);
    machine.kernel(&node_kernel(), &orders).start(lab)
}

/// Waits until the machine gave up for this reason, told so, and rebooted. Returns the reason.
#[track_caller]
fn fails(mut machine: Running, control: &ControlServer, class: &str) -> String {
    let line = machine.console.expect_line_unless("DONE.ERR", &["DONE.OK"]);
    let reason = line.split_once(&format!("DONE.ERR {class}: "));
    let reason = reason.unwrap_or_else(|| panic!("expected {class}: {line}")).1.to_owned();
    let mut node = control.greet();
    let told = node.hear_or_heard("DONE.ERR");
    assert!(told.starts_with(&format!("DONE.ERR {class}")), "{told}");
    node.hear_the_end();
    machine.console.expect("frisbee-agent: rebooting");
    machine.wait_until_off(PATIENCE);
    reason
}

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_disk_that_is_too_small_is_not_touched() {
    let Some(lab) = Lab::with_boot_image("disk too small") else { return };
    let _host = ImageHost::start(&lab, &shelve(&lab, &debian::image().unwrap()));
    let (_dhcp, control) = (dhcp(&lab, ""), listen(&lab));
    let disk = used_disk(&lab, 1 << 30);
    let before = digest(&disk);
    let reason = fails(start(&lab, "small", &disk, ""), &control, "refused");
    assert!(reason.contains("does not fit"), "{reason}");
    assert_eq!(digest(&disk), before);
}

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_server_that_is_dead_is_named_and_the_disk_is_not_touched() {
    let Some(lab) = Lab::with_boot_image("dead server") else { return };
    let (_dhcp, control) = (dhcp(&lab, ""), listen(&lab));
    let disk = used_disk(&lab, 1 << 30);
    let before = digest(&disk);
    let reason = fails(start(&lab, "dead", &disk, "frisbee.retry=2"), &control, "server");
    assert!(reason.contains(&lab.address().to_string()), "{reason}");
    assert_eq!(digest(&disk), before);
}

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_server_that_dies_meanwhile_leaves_a_disk_that_does_not_look_whole() {
    let Some(lab) = Lab::with_boot_image("server that dies") else { return };
    let images = shelve(&lab, &debian::image().unwrap());
    let host = ImageHost::start(&lab, &images);
    let (_dhcp, control) = (dhcp(&lab, ""), listen(&lab));
    let disk = used_disk(&lab, 1536 << 20);
    let mut machine = start(&lab, "dies", &disk, "frisbee.retry=1 frisbee.timeout=10");
    machine.console.expect_line_unless("frisbee-agent: Progress: ", &["DONE."]);
    host.kill();
    let reason = fails(machine, &control, "network");
    assert!(reason.contains("no block came for 10 s"), "{reason}");
    assert!(!looks_whole(&disk));

    // It comes back, and the machine does what it should have done.
    let host = ImageHost::start(&lab, &images);
    let mut machine = start(&lab, "returns", &disk, "frisbee.then=poweroff");
    machine.console.expect_line_unless("DONE.OK load", &["DONE.ERR"]);
    control.greet().hear_the_end();
    machine.wait_until_off(PATIENCE);
    drop(host);
    assert!(looks_whole(&disk));
}

#[test]
#[ignore = "virtual machines: make vmtest"]
fn an_image_that_is_damaged_is_said_to_be_and_leaves_a_disk_that_does_not_look_whole() {
    let Some(lab) = Lab::with_boot_image("damaged image") else { return };
    let images = shelve(&lab, &debian::image().unwrap());
    let _host = ImageHost::start(&lab, &images);
    let (_dhcp, control) = (dhcp(&lab, ""), listen(&lab));
    // In the middle of a chunk in the middle of the image.
    let image = OpenOptions::new().read(true).write(true).open(images.join("debian.ndz")).unwrap();
    let at = image.metadata().unwrap().len() / 2 / (1 << 20) * (1 << 20) + (300 << 10);
    let mut bytes = [0; 64];
    image.read_exact_at(&mut bytes, at).unwrap();
    image.write_all_at(&bytes.map(|byte| !byte), at).unwrap();
    drop(image);
    let disk = used_disk(&lab, 1536 << 20);
    let reason = fails(start(&lab, "damaged", &disk, "frisbee.retry=2"), &control, "damaged");
    assert!(reason.contains("digest"), "{reason}");
    assert!(!looks_whole(&disk));
}

/// A disk with a partition table, as the firmware and people see it.
fn looks_whole(disk: &Path) -> bool {
    let mut head = [0; 1 << 20];
    File::open(disk).unwrap().read_exact_at(&mut head, 0).unwrap();
    head.iter().any(|byte| *byte != 0)
}
