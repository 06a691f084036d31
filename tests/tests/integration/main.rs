//! Everything against real tools, devices and golden files, in one binary.

mod bsd_label;
mod btrfs;
mod client;
mod disk;
mod exfat;
mod ext;
mod fat;
mod faults;
mod fits;
mod format;
mod frisbee;
mod frisbee_replay;
mod igmp;
mod large;
mod lvm;
mod mcast;
mod ntfs;
mod partition;
mod recognised;
mod replant;
mod roundtrip;
mod server;
mod small;
mod swap;
mod ufs;
mod xfs;
