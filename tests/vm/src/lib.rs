//! Virtual machines that boot the node's boot image, as the machines of a testbed do.
//!
//! What it is: the ground for the tests in `tests/vm/tests`: QEMU without hardware help, so that it
//! runs anywhere; a LAN of network namespaces; the DHCP, TFTP, HTTP and image servers of a lab on a
//! machine of that LAN; and the disk of a small Debian to save and to load. What it owns: starting
//! and ending all of these, and waiting for what a machine says on its serial console. What it
//! never does: touch the network of the machine it runs on, or leave a process behind.
//!
//! Where the time goes, measured with QEMU 7.2 and one processor for each machine on a 2.3 GHz Xeon
//! with two cores (2026, `-cpu qemu64`): iPXE has kernel and boot image by HTTP after 7 s (TFTP: 8 s;
//! lpxelinux by TFTP: 12 s; UEFI with GRUB: 20 s), of which 3 s are Router Advertisements and 2 s a
//! key press that it waits for; Debian's kernel is unpacked 4 s later and at `init` after 3 s more;
//! `init` takes 3 s for drivers and DHCP. Loading 300 MiB takes 7 s, saving them 11 s; `-cpu max`
//! takes 10 s and 16 s, because registers of 256 bits are slow to emulate. A small Debian asks for
//! a login after 20 to 25 s.

pub mod artifacts;
pub mod console;
pub mod control;
pub mod debian;
pub mod image_host;
pub mod lab;
pub mod machine;
pub mod process;
pub mod services;
pub mod transcript;
