//! The harness itself: machines come up, say so, can be typed to, and end.

use vmtest::console::PATIENCE;
use vmtest::debian;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Firmware, Machine};

#[test]
#[ignore = "virtual machines: make vmtest"]
fn the_debian_disk_comes_up_to_its_login_by_bios_and_by_uefi() {
    let Some(lab) = Lab::new("Debian disk") else { return };
    let disk = lab.copy_disk("debian.raw", &debian::disk().unwrap());
    for (bus, firmware) in [(Bus::Virtio, Firmware::Bios), (Bus::Nvme, Firmware::Uefi)] {
        let machine = Machine::new("debian", 1).disk(&disk, bus).firmware(firmware);
        let mut machine = machine.start(&lab);
        machine.console.expect(&debian::marker().unwrap());
        machine.console.expect(debian::LOGIN);
        machine.type_line("root");
        machine.console.expect("Password:");
        machine.type_line("lab");
        machine.console.expect("root@debian-image");
        machine.type_line("poweroff");
        machine.wait_until_off(PATIENCE);
    }
}
