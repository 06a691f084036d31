//! UEFI machines: PXE by the firmware itself, shim and GRUB, and a disk that UEFI starts.

use crate::pxe::shelve;
use vmtest::console::PATIENCE;
use vmtest::debian;
use vmtest::image_host::ImageHost;
use vmtest::lab::Lab;
use vmtest::machine::{Bus, Firmware, Machine};
use vmtest::services::{publish, pxe};

/// The firmware and GRUB hold the kernel and the boot image twice before Linux runs: 256 MiB are
/// too little for them.
const MEMORY_MIB: u32 = 384;

#[test]
#[ignore = "virtual machines: make vmtest"]
fn a_uefi_machine_loads_grows_and_comes_up_with_its_own_name() {
    let Some(lab) = Lab::with_boot_image("UEFI machine") else { return };
    let image = debian::image().unwrap();
    let _host = ImageHost::start(&lab, &shelve(&lab, &image));
    let orders = "frisbee.load=next-server/debian.ndz frisbee.disk=serial:UEFI-0 \
                  frisbee.hooks=grow,machine-id,hostname frisbee.hostname=node7";
    let root = publish(&lab, orders);
    let machine = Machine::new("uefi", 6).firmware(Firmware::Uefi).memory_mib(MEMORY_MIB);
    let _dhcp = pxe(&lab, &root, "");
    let disk = lab.blank_disk("disk", 3 << 30);
    let machine = machine.disk(&disk, Bus::Nvme);
    let mut running = machine.start(&lab);
    // shim, which loads GRUB, as signed for Secure Boot.
    running.console.expect("Fetching Netboot Image");
    running.console.expect("Welcome to GRUB!");
    running.console.expect_line_unless("frisbee-agent: load of", &["DONE.ERR"]);
    let done = running.console.expect_line_unless("DONE.OK load", &["DONE.ERR"]);
    eprintln!("{done}");
    running.console.expect("frisbee-agent: rebooting");
    running.wait_until_off(PATIENCE);

    let mut running = machine.start(&lab);
    running.console.expect(&debian::marker().unwrap());
    running.console.expect("node7 login:");
    running.type_line("root");
    running.console.expect("Password:");
    running.type_line("lab");
    running.console.expect("root@node7");
    running.type_line("test -d /sys/firmware/efi && echo by-$((40+2))-uefi");
    running.console.expect("by-42-uefi");
    // The root filesystem has become twice as large.
    running.type_line("echo root-of-$(df --output=size -m / | tail -n 1 | tr -d ' ')-MiB");
    let line = running.console.expect_line("root-of-2");
    let size = line.strip_prefix("root-of-").and_then(|rest| rest.strip_suffix("-MiB"));
    let size: u32 = size.and_then(|size| size.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    assert!(size > 2800, "{size} MiB");
    running.type_line("poweroff");
    running.wait_until_off(PATIENCE);
}
