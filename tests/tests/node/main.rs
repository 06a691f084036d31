//! What a node does to a disk after a load: imagegrow, run-hooks and its hooks, on real disks.

mod disks;
mod grow;
mod grow_devices;
mod hooks;
mod hooks_files;
mod hooks_roots;
mod lab;
mod rooted;
mod tar;
