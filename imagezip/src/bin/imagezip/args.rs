//! The command line of imagezip: what was typed, and what it means.

use clap::{ArgAction, Parser, ValueEnum};
use imagezip::cli::{
    EXIT_STATUS_HELP, Shown, Stream, default_threads, parse_memory, parse_threads,
};
use imagezip::fs::ProbeOptions;
use imagezip::ndz::{Codec, Version};
use imagezip::plan::PlanOptions;
use imagezip::units::SectorCount;
use std::path::PathBuf;
use uuid::Uuid;

/// Save what is allocated on a disk as an image.
///
/// Partition tables (MBR with logical partitions, GPT) and filesystems are recognised by their
/// content; only sectors in use are saved. Whatever is not understood, damaged or doubtful is saved
/// whole and named, so an image never lacks anything. Restore it with imageunzip, or serve it to
/// many machines with frisbee-server.
#[derive(Debug, Parser)]
#[command(
    name = "imagezip",
    version,
    disable_version_flag = true,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS_HELP}"),
    after_help = "See --help for examples and exit statuses."
)]
pub(crate) struct Args {
    /// What to save: a block device such as /dev/sda, or a regular file
    pub source: PathBuf,

    /// The image: a file (it appears only when complete), - for standard output, or
    /// frisbee://HOST[:PORT]/NAME to hand it to an image host
    #[arg(required_unless_present = "info")]
    pub output: Option<PathBuf>,

    /// Says to an image host who saves. Other users of this machine can see it: better put it into
    /// the environment as FRISBEE_TOKEN
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,

    /// Tell what would be saved and why, and write nothing
    #[arg(short = 'i', long)]
    pub info: bool,

    /// Print a dot for each mebibyte of image instead of a progress bar
    #[arg(short = 'o', long)]
    pub dots: bool,

    /// Print no progress and no summary
    #[arg(short = 'q', long, conflicts_with = "dots")]
    pub quiet: bool,

    /// Save every sector; look at no table and no filesystem
    #[arg(short = 'r', long, conflicts_with_all = ["ignore", "whole"])]
    pub raw: bool,

    /// Take SOURCE as a plain file: save every byte, restore it to exactly its length
    #[arg(short = 'f', long, conflicts_with_all = ["raw", "slice"])]
    pub file: bool,

    /// Save only this partition (numbers as Linux counts them)
    #[arg(short = 's', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub slice: Option<u32>,

    /// Leave out the content of this partition; may be given again
    #[arg(short = 'I', long, value_name = "N", conflicts_with = "slice")]
    pub ignore: Vec<u32>,

    /// Save all of this partition, free space too; may be given again
    #[arg(short = 'R', long = "whole", value_name = "N")]
    pub whole: Vec<u32>,

    /// Compression level: zstd 1 to 22 (default 3), zlib 1 to 9 (default 4), 0 for none
    #[arg(short = 'z', long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(0..=22))]
    pub level: Option<i32>,

    /// Look only at the first COUNT sectors (of 512 bytes) of SOURCE
    #[arg(short = 'c', long, value_name = "SECTORS", conflicts_with = "slice", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Save free ranges shorter than this many sectors too, so that a load writes longer runs
    #[arg(short = 'F', long = "gap", value_name = "SECTORS", default_value_t = 64)]
    pub gap: u32,

    /// Write no relocation records (a file image then restores padded to whole sectors, and the
    /// disklabel of a slice stays as it is)
    #[arg(short = 'x', long)]
    pub no_relocations: bool,

    /// Accepted for old scripts; writes are always checked and flushed
    #[arg(short = 'D', long)]
    pub dangerous: bool,

    /// Identity of the image; chosen at random if not given. The same disk saved with the same
    /// UUID gives the same image to the byte
    #[arg(short = 'u', long)]
    pub uuid: Option<Uuid>,

    /// Format: native is smaller, faster to load and protected by digests; v3 and v5 are for
    /// deployed C tools (v5 for disks over 2 TiB)
    #[arg(long, value_enum, default_value_t = FormatArg::Native)]
    pub format: FormatArg,

    /// Short for --format v1
    #[arg(short = '1', conflicts_with_all = ["format", "v3", "v5"])]
    pub v1: bool,

    /// Short for --format v3
    #[arg(short = '3', conflicts_with_all = ["format", "v1", "v5"])]
    pub v3: bool,

    /// Short for --format v5
    #[arg(short = '5', conflicts_with_all = ["format", "v1", "v3"])]
    pub v5: bool,

    /// Compression of the native format
    #[arg(long, value_enum)]
    pub codec: Option<CodecArg>,

    /// Threads that compress (default: one a core)
    #[arg(long, value_name = "N", default_value_t = default_threads(), hide_default_value = true, value_parser = parse_threads)]
    pub threads: usize,

    /// Most memory to use, such as 128M (default: about 16 MiB a thread)
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<u64>,

    /// Fail instead of saving whole what is damaged or not understood
    #[arg(long)]
    pub strict: bool,

    /// Trust the map of an NTFS, FAT or exFAT filesystem that was not shut down cleanly (hibernated,
    /// fast startup, dirty). What Windows has not written yet is lost; the journal is not replayed
    #[arg(long)]
    pub(crate) force: bool,

    /// Leave out the content of pagefile.sys, hiberfil.sys and swapfile.sys on NTFS, and of swap
    /// partitions in a BSD disklabel
    #[arg(long)]
    pub(crate) leave_out_page_files: bool,

    /// Save a failing disk: read bad sectors one by one, write zeros for those that cannot be read,
    /// list them, and exit with status 4
    #[arg(short = 'X', long)]
    pub rescue: bool,

    /// Bytes of SOURCE's logical sector, for a file copied from a disk with 4096-byte sectors
    #[arg(long, value_name = "BYTES")]
    pub sector_size: Option<u32>,

    /// Read past the page cache
    #[arg(long)]
    pub direct: bool,

    /// Print JSON objects, one a line, on standard output (on standard error if the image goes to
    /// standard output): progress for every tenth, then done, with all that was done, or failed. In
    /// failed, class is usage, refused, server, network, disk, damaged, interrupted or failed. With
    /// -i there is one object
    #[arg(long)]
    pub json: bool,

    /// Say more of what is done; twice for more still
    #[arg(short = 'd', long, action = ArgAction::Count)]
    pub debug: u8,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    pub version: Option<bool>,
}

/// Formats on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FormatArg {
    /// zstd, zero regions, digests
    Native,
    /// No bounds, no relocations
    V1,
    /// For deployed tools
    V2,
    /// For deployed tools
    V3,
    /// For deployed tools, over 2 TiB or with an image id
    V5,
}

/// Codecs on the command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum CodecArg {
    /// Fast and small
    Zstd,
    /// For nodes that know no zstd
    Zlib,
    /// No compression
    Stored,
}

/// For `--help`.
const EXAMPLES: &str = "\
Examples:
  imagezip /dev/sda disk.ndz          save a disk
  imagezip -i /dev/sda                only tell what would be saved
  imagezip -s 2 /dev/sda root.ndz     save one partition
  imagezip -3 /dev/sda old.ndz        for machines that still run the C tools
  imagezip /dev/sda frisbee://HOST/NAME.ndz
                                      save to an image host
  imagezip -z1 /dev/sda - | nc HOST 9000

An image host verifies every chunk while it arrives. At the end length and digest are compared; only
when the host has published the image, whole and flushed, is the exit status 0. A broken connection
is resumed for five minutes. What comes from a pipe through nc is checked by nobody but the host.";

/// Format, codec and level that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoding {
    /// Format of the image.
    pub version: Version,
    /// Compression.
    pub codec: Codec,
    /// Its level.
    pub level: i32,
}

impl Args {
    /// Where JSON objects go: standard output may be the image.
    pub(crate) fn stream(&self) -> Stream {
        match self.output.as_deref().is_some_and(|output| output.as_os_str() == "-") {
            true => Stream::Error,
            false => Stream::Output,
        }
    }

    /// What is shown while the save goes on.
    pub(crate) fn shown(&self) -> Shown {
        match self.json {
            true => Shown::Json(self.stream()),
            false => Shown::from_flags(self.quiet, self.dots),
        }
    }

    /// Format, codec and level.
    ///
    /// # Errors
    /// When they do not go together.
    pub(crate) fn encoding(&self) -> Result<Encoding, String> {
        let version = match (self.v1, self.v3, self.v5, self.format) {
            (true, ..) | (.., FormatArg::V1) => Version::V1,
            (_, true, ..) | (.., FormatArg::V3) => Version::V3,
            (_, _, true, _) | (.., FormatArg::V5) => Version::V5,
            (.., FormatArg::V2) => Version::V2,
            (.., FormatArg::Native) => Version::Native,
        };
        let native = version == Version::Native;
        if !native && !matches!(self.codec, None | Some(CodecArg::Zlib)) {
            return Err(format!("the {version} format knows zlib only; leave out --codec"));
        }
        if matches!(version, Version::V1 | Version::V2 | Version::V3) && self.uuid.is_some() {
            return Err(format!("the {version} format has no room for a UUID; use v5 or native"));
        }
        let codec = match (native, self.codec, self.level) {
            (false, ..) | (_, Some(CodecArg::Zlib), _) => Codec::Zlib,
            (_, Some(CodecArg::Stored), _) | (_, None, Some(0)) => Codec::Stored,
            _ => Codec::Zstd,
        };
        let (level, max) = match codec {
            Codec::Zlib => (self.level.unwrap_or(4), 9),
            Codec::Zstd => (self.level.unwrap_or(3).max(1), 22),
            Codec::Stored => (0, 22),
        };
        if level > max {
            return Err(format!("level {level}: {codec} has levels up to {max}"));
        }
        Ok(Encoding { version, codec, level })
    }

    /// What the plan is to follow.
    pub(crate) fn plan_options(&self) -> PlanOptions {
        PlanOptions {
            raw: self.raw || self.file,
            slice: self.slice,
            ignore: self.ignore.iter().copied().collect(),
            whole: self.whole.iter().copied().collect(),
            gap_min: SectorCount::from_u32(self.gap),
            probe: ProbeOptions {
                force: self.force,
                leave_out_page_files: self.leave_out_page_files,
            },
            strict: self.strict,
        }
    }
}
