//! imagezip, imageunzip and imagedump as their users meet them: processes, files, devices, pipes,
//! exit statuses, and what they say.

mod devices;
mod disks;
mod files;
mod large;
mod options;
mod partitions;
mod process;
mod signals;
mod sizes;
mod slices;
mod statuses;
mod tools;
mod unreadable;
mod uploads;
mod volumes;
mod whole_disk;
mod wrong_input;
