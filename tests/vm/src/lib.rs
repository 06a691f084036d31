//! Virtual machines that boot the node's boot image, as the machines of a testbed do.
//!
//! What it is: the ground for the tests in `tests/vm/tests`: QEMU without hardware help, so that it
//! runs anywhere; a LAN of network namespaces; the DHCP, TFTP, HTTP and image servers of a lab on a
//! machine of that LAN; and the disk of a small Debian to save and to load. What it owns: starting
//! and ending all of these, and waiting for what a machine says on its serial console. What it
//! never does: touch the network of the machine it runs on, or leave a process behind.
//!
//! Where the time goes, measured with QEMU 7.2 on one core of a 2.3 GHz Xeon (2026): Debian's
//! kernel is unpacked in 3.5 s and at `init` after 2 s more; a small Debian asks for a login after
//! 20 to 30 s.

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
