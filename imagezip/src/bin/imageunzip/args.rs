//! The command line of imageunzip.

use clap::{ArgAction, Parser};
use imagezip::cli::{EXIT_STATUS_HELP, default_threads, parse_memory, parse_threads};
use imagezip::load::{FreeSpace, PlaceOptions};
use imagezip::partition::PartitionKind;
use std::path::PathBuf;

/// Restore an image onto a disk, into a partition, or into a file.
///
/// Reads images of imagezip and of the deployed tools (versions 1 to 6), from a file or a pipe.
/// The image, and whether it fits, are checked before the first write. A disk of another size gets
/// its GPT moved to its end. The partition table is written last: a load that was interrupted never
/// looks whole.
#[derive(Debug, Parser)]
#[command(
    name = "imageunzip",
    version,
    disable_version_flag = true,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS_HELP}"),
    after_help = "See --help for examples and exit statuses."
)]
pub(crate) struct Args {
    /// The image: a file, or - for standard input
    pub(crate) image: PathBuf,

    /// A block device such as /dev/sda, a file (it appears only when complete), or - for standard
    /// output
    #[arg(required_unless_present = "check")]
    pub(crate) target: Option<PathBuf>,

    /// Check the whole image and write nothing
    #[arg(long, conflicts_with_all = ["target", "slice", "verify"])]
    pub(crate) check: bool,

    /// Restore a one-partition image into this partition of TARGET
    #[arg(short = 's', long, value_name = "N")]
    pub(crate) slice: Option<u32>,

    /// Set the type of that partition: a byte such as 0x83, or a GUID
    #[arg(short = 'D', long = "type", value_name = "TYPE", requires = "slice")]
    pub(crate) kind: Option<PartitionKind>,

    /// Make free space zero
    #[arg(short = 'z', long, conflicts_with_all = ["trim", "pattern"])]
    pub(crate) zero: bool,

    /// Discard free space (TRIM), for SSDs and sparse files
    #[arg(short = 'E', long, conflicts_with = "pattern")]
    pub(crate) trim: bool,

    /// Fill free space with this 32-bit number, such as 0xdeadbeef
    #[arg(short = 'p', long, value_name = "NUMBER", value_parser = parse_pattern)]
    pub(crate) pattern: Option<u32>,

    /// Take an existing file as a disk of its size and write into it, instead of replacing it
    #[arg(long)]
    pub(crate) in_place: bool,

    /// Leave the GPT as it is in the image, whatever the size of the target
    #[arg(long)]
    pub(crate) keep_gpt: bool,

    /// Read everything back from the device, not from the cache, and compare
    #[arg(long)]
    pub(crate) verify: bool,

    /// Write past the page cache
    #[arg(short = 'f', long)]
    pub(crate) direct: bool,

    /// Print a dot for each mebibyte of image instead of a progress bar
    #[arg(short = 'o', long)]
    pub(crate) dots: bool,

    /// Print no progress and no summary
    #[arg(short = 'q', long, conflicts_with = "dots")]
    pub(crate) quiet: bool,

    /// Threads that decompress and write (default: one a core)
    #[arg(long, value_name = "N", default_value_t = default_threads(), hide_default_value = true, value_parser = parse_threads)]
    pub(crate) threads: usize,

    /// Most memory to use, such as 64M (default: 12 MiB a thread)
    #[arg(short = 'W', long, value_name = "SIZE", value_parser = parse_memory)]
    pub(crate) memory: Option<u64>,

    /// Print a JSON object about what was done on standard output (on standard error if the
    /// target is standard output)
    #[arg(long)]
    pub(crate) json: bool,

    /// Say more of what is done; twice for more still
    #[arg(short = 'd', long, action = ArgAction::Count)]
    pub(crate) debug: u8,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    pub(crate) version: Option<bool>,
}

/// For `--help`.
const EXAMPLES: &str = "\
Examples:
  imageunzip disk.ndz /dev/sda             restore a disk
  imageunzip --verify disk.ndz /dev/sda    ... and read it back
  imageunzip -s 2 root.ndz /dev/sda        restore one partition
  imageunzip disk.ndz disk.raw             restore into a sparse file
  imageunzip --check disk.ndz              is the image whole?";

fn parse_pattern(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match digits {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("'{text}': expected a 32-bit number such as 0xdeadbeef"))
}

impl Args {
    /// How the target is taken.
    pub(crate) fn place(&self) -> PlaceOptions {
        PlaceOptions {
            slice: self.slice,
            kind: self.kind,
            in_place: self.in_place,
            keep_gpt: self.keep_gpt,
            direct: self.direct,
        }
    }

    /// What becomes of free space.
    pub(crate) fn free_space(&self) -> FreeSpace {
        match (self.zero, self.trim, self.pattern) {
            (true, ..) => FreeSpace::Zero,
            (_, true, _) => FreeSpace::Trim,
            (.., Some(pattern)) => FreeSpace::Pattern(pattern),
            _ => FreeSpace::Leave,
        }
    }
}
