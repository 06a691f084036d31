//! Integration tests live in `tests/integration`, one binary with a module for each subject; this
//! library holds what they share.
//!
//! What it owns: running tools, making image files with content, mounting them, reading their
//! trees, and the poison test. What it never does: know one filesystem better than another.

pub mod bsd_label;
pub mod bystander;
pub mod content;
pub mod damaged;
pub mod foreign;
pub mod hfsplus;
pub mod image_file;
pub mod independent;
pub mod moto;
pub mod mount;
pub mod netns;
pub mod pcap;
pub mod poison;
pub mod programs;
pub mod raw_client;
pub mod real_server;
pub mod replant;
pub mod rng;
pub mod samples;
pub mod slow_disk;
pub mod test_server;
pub mod tools;
pub mod ufs;
pub mod uml;
pub mod wait;
