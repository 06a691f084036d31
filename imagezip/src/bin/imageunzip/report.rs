//! What imageunzip tells when it is done.

use crate::args::Args;
use imagezip::cli::{print, say};
use imagezip::load::Loaded;
use imagezip::ndz::ImageInfo;
use imagezip::ndz::image::id_text;
use imagezip::progress::{Progress, Stage};
use imagezip::units::HumanBytes;
use serde_json::json;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Says that an image is whole.
pub(crate) fn print_checked(args: &Args, info: &ImageInfo, time: Duration) -> io::Result<()> {
    let image = args.image.display();
    if args.json {
        let object = json!({
            "image": args.image,
            "whole": true,
            "format": info.version.to_string(),
            "chunks": info.chunks,
            "chunks_with_digest": info.chunks_with_digest,
            "source_bytes": info.source_bytes,
            "image_id": info.image_id.map(|id| id_text(Some(id))),
            "seconds": time.as_secs_f64(),
        });
        print(&format!("{object}\n"))?;
    } else if !args.quiet {
        let proof = match info.chunks_with_digest == info.chunks {
            true => "every digest is right",
            false => "every payload inflates to its regions (the format has no digests)",
        };
        let source = HumanBytes(info.source_bytes);
        say(format_args!("{image}: whole: {} chunks of a {source} source; {proof}", info.chunks));
    }
    Ok(())
}

/// Says what was restored.
pub(crate) fn print_loaded(
    args: &Args,
    target: &Path,
    loaded: &Loaded,
    verified: Option<u64>,
    progress: &Progress,
    time: Duration,
) -> io::Result<()> {
    for sentence in &loaded.not_applied {
        say(format_args!("imageunzip: warning: {sentence}"));
    }
    let info = &loaded.info;
    let written = info.data.bytes();
    if args.json {
        let object = json!({
            "image": args.image,
            "target": target,
            "format": info.version.to_string(),
            "chunks": info.chunks,
            "image_id": info.image_id.map(|id| id_text(Some(id))),
            "source_bytes": info.source_bytes,
            "data_bytes": written,
            "zero_bytes": info.zero.bytes(),
            "verified_bytes": verified,
            "seconds": time.as_secs_f64(),
            "busy_seconds": {
                "reading": progress.busy(Stage::Input).as_secs_f64(),
                "decompression": progress.busy(Stage::Compute).as_secs_f64(),
                "writing": progress.busy(Stage::Output).as_secs_f64(),
            },
            "warnings": loaded.not_applied,
        });
        // Standard output may be the disk.
        if target == Path::new("-") {
            say(format_args!("{object}"));
        } else {
            print(&format!("{object}\n"))?;
        }
        return Ok(());
    }
    if args.quiet {
        return Ok(());
    }
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    let limit = match progress.limiting_stage() {
        Stage::Compute => "decompression",
        stage => stage.name(),
    };
    say(format_args!(
        "{}: restored {} and {} of zeros from {} chunks in {:.1} s, {}/s, limited by {limit}",
        target.display(),
        HumanBytes(written),
        HumanBytes(info.zero.bytes()),
        info.chunks,
        time.as_secs_f64(),
        HumanBytes(written.saturating_mul(1000) / millis),
    ));
    if let Some(bytes) = verified {
        say(format_args!("{}: read back {}: all as written", target.display(), HumanBytes(bytes)));
    }
    Ok(())
}
