//! Disk images: save what is allocated on a disk, restore it elsewhere.
//!
//! What it is: the library behind `imagezip`, `imageunzip`, `imagedump` and `imagegrow`, and the disk
//! half of the frisbee programs. What it owns: disks, partition tables, filesystem allocation maps, the ndz
//! image formats, and the pipelines that save and load. What it never does: talk to a network.
//!
//! Read the modules in this order: [`units`], [`sector_set`], [`disk`], [`partition`], [`fs`].

pub mod buffer_pool;
pub mod cli;
pub mod disk;
pub mod fs;
pub mod interrupt;
pub mod load;
pub mod ndz;
pub mod ordered_pool;
pub mod output;
pub mod partition;
pub mod plan;
pub mod progress;
pub mod save;
pub mod sector_set;
pub mod units;
