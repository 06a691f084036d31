//! What imagezip tells: the plan, and what was saved. For people on standard error, for machines
//! as JSON.

use crate::args::{Args, Encoding};
use crate::destination::Remote;
use anyhow::Result;
use imagezip::cli::{Stream, print, say};
use imagezip::disk::{ReadDisk, Window};
use imagezip::fs::{Volume, VolumeVerdict};
use imagezip::ndz::CHUNK_SIZE;
use imagezip::partition::Scheme;
use imagezip::plan::{PlanItem, SavePlan, Verdict};
use imagezip::progress::{Progress, Stage};
use imagezip::save::{SaveError, Saved, estimate};
use imagezip::units::{HumanBytes, SectorCount};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Everything there is to tell before the save.
pub(crate) struct Report<'a> {
    /// The command line.
    pub args: &'a Args,
    /// The source.
    pub disk: &'a dyn ReadDisk,
    /// What is saved of it.
    pub plan: &'a SavePlan,
    /// How.
    pub encoding: &'a Encoding,
}

impl Report<'_> {
    /// Names what is odd about the disk, and what is saved whole because it is not understood.
    pub(crate) fn warn(&self) {
        for warning in &self.plan.table.warnings {
            say(format_args!("imagezip: warning: {warning}"));
        }
        for item in &self.plan.items {
            if let Verdict::WholeDoubtful(reason) = &item.verdict {
                say(format_args!("imagezip: warning: {} kept whole: {reason}", item.what()));
            }
            for volume in volumes(item) {
                if let Some(reason) = volume.doubt() {
                    let (what, name) = (item.what(), &volume.name);
                    say(format_args!("imagezip: warning: {what}, {name} kept whole: {reason}"));
                }
            }
        }
    }

    /// Prints the plan to standard output.
    pub(crate) fn print_info(&self) -> Result<()> {
        let image = self.estimated_image()?;
        if self.args.json {
            let mut object = self.plan_json();
            if let Value::Object(map) = &mut object {
                map.insert("format".into(), json!(self.encoding.version.to_string()));
                map.insert("estimated_image_bytes".into(), json!(image));
            }
            print(&format!("{object}\n"))?;
        } else {
            let Encoding { version, codec, .. } = self.encoding;
            let image = HumanBytes(image);
            print(&format!(
                "{}  image: about {image} ({version} {codec})\n",
                self.plan_text(true)
            ))?;
        }
        Ok(())
    }

    fn estimated_image(&self) -> Result<u64, SaveError> {
        let Encoding { codec, level, .. } = *self.encoding;
        let window;
        let source: &dyn ReadDisk = if self.plan.slice {
            window = Window::new(self.disk, self.plan.window);
            &window
        } else {
            self.disk
        };
        estimate(source, &self.plan.ranges, codec, level)
    }

    /// Prints what was saved.
    pub(crate) fn print_saved(
        &self,
        (output, remote): (&Path, Option<&Remote>),
        saved: &Saved,
        progress: &Progress,
        time: Duration,
    ) -> io::Result<()> {
        for range in &saved.lost {
            say(format_args!(
                "imagezip: LOST: sectors {range} could not be read; zeros were saved"
            ));
        }
        if self.args.json {
            let mut text = self.saved_json(output, saved, progress, time);
            if let (Value::Object(map), Some(remote)) = (&mut text, remote) {
                map.insert("published".into(), published_json(remote));
            }
            match self.args.stream() {
                Stream::Output => print(&format!("{text}\n"))?,
                stream @ Stream::Error => stream.line(&text),
            }
        } else if !self.args.quiet {
            let saved = self.saved_text(saved, progress, time);
            say(format_args!("{}{saved}", self.plan_text(false)));
            if let Some(remote) = remote {
                say(format_args!("{}", published_text(remote)));
            }
        }
        Ok(())
    }

    /// `fully` with the features of filesystems.
    fn plan_text(&self, fully: bool) -> String {
        let size = HumanBytes(self.disk.size_bytes());
        let source = self.args.source.display();
        let mut text = format!("{source}: {size}, {}\n", scheme(self.plan));
        for item in &self.plan.items {
            text += &item_text(item, fully);
        }
        if !self.plan.outside.is_zero() {
            let outside = HumanBytes(self.plan.outside.bytes());
            text += &format!("  outside partitions: {outside} kept (boot code, tables, gaps)\n");
        }
        let kept = self.plan.ranges.count();
        let all = self.plan.window.count();
        let free = all.checked_sub(kept).unwrap_or_default();
        text + &format!(
            "  to save: {} of {} in {} ranges; free: {}\n",
            HumanBytes(kept.bytes()),
            HumanBytes(all.bytes()),
            self.plan.ranges.len(),
            HumanBytes(free.bytes())
        )
    }

    fn saved_text(&self, saved: &Saved, progress: &Progress, time: Duration) -> String {
        let image = saved.chunks * CHUNK_SIZE;
        let kept = self.plan.ranges.count().bytes();
        let zeros = sector_bytes(saved.zero_sectors);
        let mut text = format!(
            "saved: {} into {} ({} chunks, {} {})",
            HumanBytes(kept),
            HumanBytes(image),
            saved.chunks,
            self.encoding.version,
            self.encoding.codec
        );
        if zeros > 0 {
            text += &format!(", {} of it zeros", HumanBytes(zeros));
        }
        text + &format!(
            " in {:.1} s, {}/s, limited by {}",
            time.as_secs_f64(),
            HumanBytes(rate(kept, time)),
            progress.limiting_stage().name()
        )
    }

    fn plan_json(&self) -> Value {
        json!({
            "source": self.args.source,
            "bytes": self.disk.size_bytes(),
            "logical_sector_bytes": self.disk.logical_sector_bytes(),
            "table": scheme(self.plan),
            "slice": self.args.slice,
            "partitions": self.plan.items.iter().map(item_json).collect::<Vec<_>>(),
            "outside_partitions_bytes": self.plan.outside.bytes(),
            "save_bytes": self.plan.ranges.count().bytes(),
            "ranges": self.plan.ranges.len(),
            "warnings": self.plan.table.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    fn saved_json(
        &self,
        output: &Path,
        saved: &Saved,
        progress: &Progress,
        time: Duration,
    ) -> Value {
        let mut object = self.plan_json();
        if let Value::Object(map) = &mut object {
            map.insert("event".into(), json!("done"));
            map.insert("output".into(), json!(output));
            map.insert("format".into(), json!(self.encoding.version.to_string()));
            map.insert("codec".into(), json!(self.encoding.codec.to_string()));
            map.insert("level".into(), json!(self.encoding.level));
            map.insert("chunks".into(), json!(saved.chunks));
            map.insert("image_bytes".into(), json!(saved.chunks * CHUNK_SIZE));
            map.insert("payload_bytes".into(), json!(saved.payload_bytes));
            map.insert("data_bytes".into(), json!(sector_bytes(saved.data_sectors)));
            map.insert("zero_bytes".into(), json!(sector_bytes(saved.zero_sectors)));
            map.insert("seconds".into(), json!(time.as_secs_f64()));
            let busy = |stage: Stage| json!(progress.busy(stage).as_secs_f64());
            map.insert(
                "busy_seconds".into(),
                json!({
                    "reading": busy(Stage::Input),
                    "compression": busy(Stage::Compute),
                    "writing": busy(Stage::Output),
                }),
            );
            map.insert("limited_by".into(), json!(progress.limiting_stage().name()));
            let lost = saved.lost.iter().map(|r| json!([r.start().get(), r.count().get()]));
            map.insert("lost_sectors".into(), lost.collect());
        }
        object
    }
}

/// What the host says it has.
fn published_text(remote: &Remote) -> String {
    let Remote { location, published } = remote;
    let (server, image) = (&location.server, &location.image);
    let size = HumanBytes(published.bytes);
    let resumed = match published.resumed {
        0 => String::new(),
        times => format!("; the connection broke and was resumed {times} times"),
    };
    match published.digest {
        Some(digest) => {
            format!("published: {image} at {server}, {size}, BLAKE3 {digest}, verified{resumed}")
        }
        None => format!(
            "sent: {image} at {server}, {size}. The server is a deployed one: it shows an image of \
             that length, but checked no digest"
        ),
    }
}

fn published_json(remote: &Remote) -> Value {
    let Remote { location, published } = remote;
    json!({
        "server": location.server.to_string(),
        "image": location.image.to_string(),
        "bytes": published.bytes,
        "blake3": published.digest.map(|digest| digest.to_string()),
        "verified": published.digest.is_some(),
        "resumed": published.resumed,
    })
}

fn sector_bytes(sectors: u64) -> u64 {
    SectorCount::new(sectors).unwrap_or_default().bytes()
}

fn rate(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

fn scheme(plan: &SavePlan) -> String {
    match plan.table.scheme {
        Scheme::Gpt { .. } => "GPT".into(),
        Scheme::HybridGpt { .. } => "GPT with hybrid MBR".into(),
        Scheme::Mbr { .. } => "MBR".into(),
        Scheme::None => "no partition table".into(),
    }
}

fn verdict_text(item: &PlanItem) -> String {
    let kept = HumanBytes(item.kept.bytes());
    match &item.verdict {
        Verdict::Allocated => {
            let free = item.range.count().checked_sub(item.kept).unwrap_or_default();
            format!("{kept} kept, {} free left out", HumanBytes(free.bytes()))
        }
        Verdict::WholeAsked => format!("{kept} kept: all of it, as asked"),
        Verdict::WholeUnknown => format!("{kept} kept: all of it, no known filesystem"),
        Verdict::WholeDoubtful(reason) => format!("{kept} kept: all of it, because {reason}"),
        Verdict::Ignored => "left out, as asked".into(),
    }
}

fn item_text(item: &PlanItem, fully: bool) -> String {
    let size = HumanBytes(item.range.byte_len());
    let mut text = format!("  {}: {size}", item.what());
    if let Some(partition) = &item.partition {
        text += &format!(" ({})", partition.kind);
    }
    if let Some(found) = &item.filesystem {
        text += &format!(", {}", found.name);
        if let Some(label) = &found.label {
            text += &format!(" \"{label}\"");
        }
    }
    text += &format!(": {}\n", verdict_text(item));
    if let Some(found) = item.filesystem.as_ref().filter(|_| fully) {
        text += &features_text("    ", &found.features);
    }
    for volume in volumes(item) {
        text += &volume_text(volume);
        if fully {
            text += &features_text("      ", &volume.features);
        }
    }
    text
}

fn features_text(indent: &str, features: &[String]) -> String {
    match features {
        [] => String::new(),
        _ => format!("{indent}features: {}\n", features.join(", ")),
    }
}

/// The volumes in a partition that is a container of them.
fn volumes(item: &PlanItem) -> &[Volume] {
    item.filesystem.as_ref().map(|found| found.volumes.as_slice()).unwrap_or_default()
}

fn volume_text(volume: &Volume) -> String {
    let size = HumanBytes(volume.size.bytes());
    let mut text = format!("    {}: {size} ({})", volume.name, volume.kind);
    if let Some(name) = volume.filesystem {
        text += &format!(", {name}");
    }
    if let Some(label) = &volume.label {
        text += &format!(" \"{label}\"");
    }
    let kept = HumanBytes(volume.kept.bytes());
    let free = volume.size.checked_sub(volume.kept).unwrap_or_default();
    text + &match &volume.verdict {
        VolumeVerdict::Allocated => {
            format!(": {kept} kept, {} free left out\n", HumanBytes(free.bytes()))
        }
        VolumeVerdict::WholeUnknown => format!(": {kept} kept: all of it, no known filesystem\n"),
        VolumeVerdict::WholeDoubtful(reason) => {
            format!(": {kept} kept: all of it, because {reason}\n")
        }
    }
}

fn volume_json(volume: &Volume) -> Value {
    let verdict = match &volume.verdict {
        VolumeVerdict::Allocated => "allocated",
        VolumeVerdict::WholeUnknown => "whole-unknown",
        VolumeVerdict::WholeDoubtful(_) => "whole-doubtful",
    };
    json!({
        "name": volume.name,
        "kind": volume.kind,
        "sectors": volume.size.get(),
        "filesystem": volume.filesystem.map(|name| json!({
            "name": name,
            "label": volume.label,
            "features": volume.features,
        })),
        "verdict": verdict,
        "reason": volume.doubt(),
        "kept_bytes": volume.kept.bytes(),
    })
}

fn item_json(item: &PlanItem) -> Value {
    let (verdict, reason) = match &item.verdict {
        Verdict::Allocated => ("allocated", None),
        Verdict::WholeAsked => ("whole-asked", None),
        Verdict::WholeUnknown => ("whole-unknown", None),
        Verdict::WholeDoubtful(reason) => ("whole-doubtful", Some(reason)),
        Verdict::Ignored => ("ignored", None),
    };
    let filesystem = item.filesystem.as_ref().map(|found| {
        json!({
            "name": found.name,
            "label": found.label,
            "uuid": found.uuid,
            "features": found.features,
            "sectors": found.size.get(),
        })
    });
    json!({
        "number": item.partition.as_ref().map(|p| p.number),
        "type": item.partition.as_ref().map(|p| p.kind.to_string()),
        "name": item.partition.as_ref().and_then(|p| p.name.clone()),
        "first_sector": item.range.start().get(),
        "sectors": item.range.count().get(),
        "filesystem": filesystem,
        "volumes": volumes(item).iter().map(volume_json).collect::<Vec<_>>(),
        "verdict": verdict,
        "reason": reason,
        "kept_bytes": item.kept.bytes(),
    })
}
