//! What frisbee-client tells when it is done, or failed.

use crate::args::Args;
use crate::error::ClientError;
use crate::receiver::Network;
use crate::status::Status;
use imagezip::cli::Exit;
use imagezip::ndz::Whole;
use imagezip::ndz::image::id_text;
use imagezip::progress::Stage;
use imagezip::units::HumanBytes;
use proto::client::Counters;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What is on the target.
#[derive(Clone, Debug)]
pub enum Written {
    /// Only a check was asked for.
    Nothing {
        /// Length of the image's source, if chunk 0 tells it.
        source_bytes: Option<u64>,
    },
    /// An image.
    Image {
        /// What its headers told.
        whole: Whole,
        /// Relocations that were not applied, one sentence each.
        not_applied: Vec<String>,
        /// Bytes read back and compared.
        verified: Option<u64>,
        /// Why the kernel still knows the old partition table.
        warning: Option<String>,
    },
    /// A file as it is.
    File {
        /// Its length.
        bytes: u64,
    },
}

/// What a load did.
#[derive(Clone, Debug)]
pub struct Report {
    /// What is on the target.
    pub written: Written,
    /// What the session counted.
    pub counters: Counters,
    /// Datagrams that the kernel dropped because this program was late.
    pub kernel_drops: u64,
    /// Bytes written to the target.
    pub bytes_written: u64,
    /// Time from the start to the end.
    pub time: Duration,
    /// Time that decompression and writing took, averaged over their threads.
    pub busy: [Duration; 2],
}

impl Report {
    pub(crate) fn new(written: Written, network: Network, status: &Status) -> Self {
        let busy = |stage| status.progress.busy(stage);
        Self {
            written,
            counters: network.counters,
            kernel_drops: network.kernel_drops,
            bytes_written: status.progress.done_bytes.load(Relaxed),
            time: status.elapsed(),
            busy: [busy(Stage::Compute), busy(Stage::Output)],
        }
    }

    /// Half the time or more, disk or processor worked: they limited, else the network.
    fn limit(&self) -> &'static str {
        let [compute, output] = self.busy;
        match () {
            () if output * 2 > self.time && output >= compute => "writing",
            () if compute * 2 > self.time => "decompression",
            () => "the network",
        }
    }
}

/// Prints what was loaded.
pub fn print(args: &Args, report: &Report) {
    if let Written::Image { not_applied, warning, .. } = &report.written {
        for sentence in not_applied.iter().chain(warning) {
            eprintln!("frisbee-client: warning: {sentence}");
        }
    }
    if args.json {
        println!("{}", json_of(args, report));
    } else if !args.quiet {
        print_text(args, report);
    }
}

fn json_of(args: &Args, report: &Report) -> serde_json::Value {
    let c = &report.counters;
    let [compute, output] = report.busy;
    let mut object = json!({
        "event": "done",
        "target": args.target(),
        "bytes_written": report.bytes_written,
        "seconds": report.time.as_secs_f64(),
        "busy_seconds": {
            "decompression": compute.as_secs_f64(),
            "writing": output.as_secs_f64(),
        },
        "limited_by": report.limit(),
        "blocks": c.blocks,
        "blocks_twice": c.duplicate_blocks + c.duplicate_chunk_blocks,
        "blocks_without_buffer": c.blocks_without_slot,
        "blocks_lost": c.blocks_lost,
        "requests": c.requests + c.partial_requests,
        "chunks_rejected": c.chunks_rejected,
        "kernel_drops": report.kernel_drops,
    });
    let more = match &report.written {
        Written::Nothing { source_bytes } => json!({
            "event": "checked", "suits": true, "source_bytes": source_bytes,
        }),
        Written::File { bytes } => json!({ "file_bytes": bytes }),
        Written::Image { whole, not_applied, verified, warning } => json!({
            "format": whole.version.to_string(),
            "image_id": whole.image_id.map(|id| id_text(Some(id))),
            "chunks": whole.chunks,
            "chunks_with_digest": whole.chunks_with_digest,
            "source_bytes": whole.source_bytes,
            "data_bytes": whole.data.bytes(),
            "zero_bytes": whole.zero.bytes(),
            "verified_bytes": verified,
            "warnings": not_applied.iter().chain(warning).collect::<Vec<_>>(),
        }),
    };
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn print_text(args: &Args, report: &Report) {
    let target = args.target().display();
    let millis = u64::try_from(report.time.as_millis()).unwrap_or(u64::MAX).max(1);
    let seconds = report.time.as_secs_f64();
    let rate = HumanBytes(report.bytes_written.saturating_mul(1000) / millis);
    let limit = report.limit();
    match &report.written {
        Written::Nothing { .. } => eprintln!("{target}: the image suits it; nothing was written"),
        Written::File { bytes } => {
            let bytes = HumanBytes(*bytes);
            eprintln!("{target}: {bytes} in {seconds:.1} s, {rate}/s, limited by {limit}");
        }
        Written::Image { whole, verified, .. } => {
            let (data, zero) = (HumanBytes(whole.data.bytes()), HumanBytes(whole.zero.bytes()));
            let proof = match whole.chunks_with_digest == whole.chunks {
                true => "every digest is right",
                false => "the format has no digests",
            };
            eprintln!(
                "{target}: loaded {data} and {zero} of zeros from {} chunks in {seconds:.1} s, \
                 {rate}/s, limited by {limit}; {proof}",
                whole.chunks
            );
            if let Some(bytes) = verified {
                eprintln!("{target}: read back {}: all as written", HumanBytes(*bytes));
            }
        }
    }
    if report.kernel_drops > 0 {
        eprintln!(
            "frisbee-client: the kernel dropped {} datagrams because this program was late; a \
             larger receive buffer may help: `sysctl -w net.core.rmem_max=67108864`, -k 65536",
            report.kernel_drops
        );
    }
}

/// Prints why a load failed.
pub fn print_failed(args: &Args, error: &ClientError, status: &Status, exit: Exit) {
    if args.json {
        let object = json!({
            "event": "failed",
            "class": error.class(status.is_touched()).name(),
            "error": error.to_string(),
            "refused": exit == Exit::Refused,
            "target_incomplete": status.is_touched(),
            "seconds": status.elapsed().as_secs_f64(),
        });
        println!("{object}");
    }
    eprintln!("frisbee-client: {error}");
    if status.is_touched() && !error.is_interruption() {
        eprintln!("frisbee-client: the target is incomplete; it has no partition table");
    }
}
