//! Whole machines: each boots the node's boot image, does what a testbed has it do, and is looked at
//! from outside. `make vmtest` runs all of it; `make test` runs what is not marked as ignored.

mod faults;
mod kexec;
mod logs;
mod ordered;
mod pxe;
mod saving;
mod smoke;
mod uefi;
