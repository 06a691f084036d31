//! What imagegrow says it did.

use super::args::Args;
use imagezip::cli::print;
use imagezip::partition::grow::Growth;
use imagezip::units::HumanBytes;
use serde_json::json;
use std::io;
use std::path::PathBuf;

/// What was done, or would be.
#[derive(Debug)]
pub(crate) struct Report {
    disk: String,
    check_only: bool,
    growth: Option<Growth>,
    /// The partition table was changed.
    pub(crate) table_written: bool,
    /// The device of the partition, or of the filesystem on the whole disk.
    pub(crate) device: Option<PathBuf>,
    /// The filesystem's name.
    pub(crate) filesystem: Option<&'static str>,
    /// It was grown, or would be.
    pub(crate) filesystem_grows: bool,
    /// Its capacity before and after, in bytes.
    pub(crate) capacity: Option<[u64; 2]>,
    /// Why something was left as it is.
    pub(crate) left: Option<String>,
    /// Why it ended early.
    pub(crate) error: Option<String>,
}

impl Report {
    /// Of a run in which nothing has happened yet.
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            disk: args.disk.display().to_string(),
            check_only: args.check_only,
            growth: None,
            table_written: false,
            device: None,
            filesystem: None,
            filesystem_grows: false,
            capacity: None,
            left: None,
            error: None,
        }
    }

    /// Notes how the partition grows.
    pub(crate) fn plan(&mut self, growth: &Growth) {
        self.growth = Some(growth.clone());
    }

    /// Notes that the partition stays as it is.
    pub(crate) fn nothing_grows(&mut self) {
        if let Some(growth) = &mut self.growth {
            growth.new = growth.old;
            growth.moves_backup = false;
            growth.container = None;
        }
    }

    /// Prints it, as text or as JSON.
    pub(crate) fn print(&self, args: &Args) -> io::Result<()> {
        print(&if args.json { format!("{}\n", self.json()) } else { self.text() })
    }

    fn json(&self) -> serde_json::Value {
        let growth = self.growth.as_ref();
        json!({
            "disk": self.disk,
            "check_only": self.check_only,
            "partition": growth.map(|growth| growth.number),
            "device": self.device,
            "start_sector": growth.map(|growth| growth.old.start().get()),
            "sectors_before": growth.map(|growth| growth.old.count().get()),
            "sectors_after": growth.map(|growth| growth.new.count().get()),
            "extended_partition": growth.and_then(|growth| growth.container),
            "backup_gpt_moves": growth.is_some_and(|growth| growth.moves_backup),
            "out_of_reach_bytes": growth.map_or(0, |growth| growth.out_of_reach.bytes()),
            "table_written": self.table_written,
            "filesystem": self.filesystem,
            "filesystem_grows": self.filesystem_grows,
            "capacity_bytes_before": self.capacity.map(|[before, _]| before),
            "capacity_bytes_after": self.capacity.map(|[_, after]| after),
            "left": self.left,
            "error": self.error,
        })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        if let Some(growth) = &self.growth
            && (self.table_written || self.error.is_none())
        {
            lines.push(format!("{}: {}", self.disk, self.table_text(growth)));
            if !growth.out_of_reach.is_zero() {
                lines.push(format!(
                    "{}: {} at the end stay unused: an MBR cannot address more than 2^32 sectors",
                    self.disk,
                    HumanBytes(growth.out_of_reach.bytes())
                ));
            }
        }
        if self.error.is_none() {
            lines.extend(self.filesystem_text());
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn table_text(&self, growth: &Growth) -> String {
        let would = if self.check_only { "would be " } else { "" };
        let mut text = format!("partition {}", growth.number);
        if growth.new == growth.old {
            text += " stays as it is";
        } else {
            let (old, new) = (growth.old.byte_len(), growth.new.byte_len());
            let (old, new) = (HumanBytes(old), HumanBytes(new));
            text += &format!(" {would}grown from {old} to {new} (sectors {})", growth.new);
        }
        if let Some(number) = growth.container {
            text += &format!(", with extended partition {number}");
        }
        if growth.moves_backup {
            text += &format!("; the backup GPT {would}moved to the end of the disk");
        } else if growth.new == growth.old && self.table_written {
            text += "; a copy of the GPT that was broken is whole again";
        }
        text
    }

    fn filesystem_text(&self) -> Option<String> {
        let name = self.filesystem.unwrap_or("content");
        let place = match (&self.device, &self.growth) {
            (Some(device), _) => device.display().to_string(),
            (None, Some(growth)) => format!("{}: partition {}", self.disk, growth.number),
            (None, None) => self.disk.clone(),
        };
        if let Some(left) = &self.left {
            return Some(format!("{place}: left as it is: {left}"));
        }
        Some(match (self.capacity, self.filesystem_grows) {
            (Some([before, after]), true) => format!(
                "{place}: {name} grown, room for {} (before: {})",
                HumanBytes(after),
                HumanBytes(before)
            ),
            (None, true) => format!("{place}: {name} would be grown"),
            (_, false) => format!("{place}: {name} is as large as it can be"),
        })
    }
}
