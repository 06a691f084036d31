//! Everything against real tools, devices and golden files, in one binary.

mod disk;
mod ext;
mod fat;
mod mcast;
mod partition;
mod swap;
