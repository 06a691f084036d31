//! The command line of imagegrow.

use clap::{ArgAction, Parser};
use imagezip::cli::EXIT_STATUS_HELP;
use std::path::PathBuf;

/// Extend the last partition of a disk, and the filesystem in it, to the end of the disk.
///
/// For a disk that is larger than the one its image was made of. The last partition by its place is
/// extended: in a GPT, whose backup goes to the disk's end, or in an MBR, a logical partition
/// together with the extended one. Then ext2, ext3, ext4, XFS and btrfs are grown by the kernel,
/// mounted or not; anything else is left as it is. Nothing is moved, nothing becomes smaller, and a
/// power cut leaves a valid table: run it again. With nothing to grow it does nothing.
#[derive(Debug, Parser)]
#[command(
    name = "imagegrow",
    version,
    disable_version_flag = true,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS_HELP}"),
    after_help = "See --help for examples and exit statuses."
)]
pub(crate) struct Args {
    /// A whole disk such as /dev/sda, or a file with the image of one (then only its partition
    /// table is changed)
    pub(crate) disk: PathBuf,

    /// Tell what would be done and write nothing
    #[arg(short = 'n', long)]
    pub(crate) check_only: bool,

    /// Logical sector size of the disk, when a file holds the image of one with other than 512
    /// bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) sector_size: Option<u32>,

    /// Print a JSON object about what was done on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    pub(crate) version: Option<bool>,
}

/// For `--help`.
const EXAMPLES: &str = "\
Examples:
  imagegrow --check-only /dev/sda    what would grow?
  imagegrow /dev/sda                 grow the last partition and its filesystem
  imagegrow disk.raw                 grow the last partition of a disk in a file";
