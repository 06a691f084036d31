//! Saving a machine's disk to the image host.

use std::fs;
use tests::tools::run;
use vmtest::artifacts::node_kernel;
use vmtest::console::PATIENCE;
use vmtest::debian;
use vmtest::image_host::ImageHost;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Machine};
use vmtest::services::dhcp;

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_machine_saves_its_disk_and_the_image_restores_it() {
    let Some(lab) = Lab::with_boot_image("machine that saves its disk") else { return };
    let images = lab.folder("images");
    fs::create_dir(images.join("saves")).unwrap();
    let _host = ImageHost::start(&lab, &images);
    let _dhcp = dhcp(&lab, "");
    let disk = lab.copy_disk("disk", &debian::disk().unwrap());
    let machine = Machine::new("saver", 3).disk(&disk, Bus::Ahci);
    let orders = format!("frisbee.save={}/saves/saver.ndz frisbee.then=poweroff", lab.address());
    let mut running = machine.kernel(&node_kernel(), &orders).start(&lab);
    running.console.expect_line_unless("frisbee-agent: Progress: ", &["DONE.ERR"]);
    let done = running.console.expect_line_unless("DONE.OK save /dev/sda", &["DONE.ERR"]);
    eprintln!("{done}");
    running.console.expect("frisbee-agent: powering off");
    running.wait_until_off(PATIENCE);

    // Saving reads only.
    debian::compare(&disk, &debian::disk().unwrap()).unwrap();
    // What is restored is the disk, or was free; and little enough was free for that to mean much.
    let image = images.join("saves/saver.ndz");
    let restored = lab.scratch("restored");
    let kept = debian::compare_allocated(&disk, &image, &restored).unwrap();
    eprintln!("{} MiB are allocated", kept >> 20);
    assert!(kept > 100 << 20, "only {kept} bytes were saved");
    // The last partition is the root filesystem; free sectors hold a pattern.
    let partition =
        run("partx", &["--show", "--noheadings", "-o", "START", "-n", "3", text(&restored)]);
    let start: u64 = partition.unwrap().trim().parse().unwrap();
    run("e2fsck", &["-f", "-n", &format!("{}?offset={}", text(&restored), start * 512)]).unwrap();
    let mut machine = Machine::new("restored", 4).disk(&restored, Bus::Virtio).start(&lab);
    machine.console.expect(&debian::marker().unwrap());
    machine.console.expect(debian::LOGIN);
}

fn text(path: &std::path::Path) -> &str {
    tests::tools::text(path)
}
