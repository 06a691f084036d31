//! imagedump: what an image holds.

use anyhow::Result;
use clap::{ArgAction, Parser};
use imagezip::cli::{
    Display, EXIT_STATUS_HELP, Exit, Shown, chain, default_threads, init_log, parse_threads, say,
};
use imagezip::interrupt::Interrupt;
use imagezip::load::{ImageInput, LoadError, check};
use imagezip::ndz::image::id_text;
use imagezip::ndz::{CHUNK_LEN, CHUNK_SIZE};
use imagezip::ndz::{ChunkHeader, ImageInfo, ImageSet, RegionKind, VerifiedChunk};
use imagezip::progress::Progress;
use imagezip::units::{HumanBytes, SectorRange};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Tell what an image holds, for every version of the format.
#[derive(Debug, Parser)]
#[command(
    name = "imagedump",
    version,
    disable_version_flag = true,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_STATUS_HELP}"),
    after_help = "See --help for examples and exit statuses."
)]
struct Args {
    /// Images; - is standard input
    #[arg(required = true)]
    images: Vec<PathBuf>,

    /// List every chunk; twice to list every region and relocation
    #[arg(short = 'd', long, action = ArgAction::Count)]
    detail: u8,

    /// Quick test: check all headers, print nothing but what is wrong
    #[arg(short = 'q', long, conflicts_with = "verify")]
    quick: bool,

    /// Verify: check every digest and inflate every chunk
    #[arg(short = 'c', long)]
    verify: bool,

    /// Print JSON: an object for each image, on a line of its own
    #[arg(long)]
    json: bool,

    /// Threads for --verify (default: one a core)
    #[arg(long, value_name = "N", default_value_t = default_threads(), hide_default_value = true, value_parser = parse_threads)]
    threads: usize,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    version: Option<bool>,
}

/// For `--help`.
const EXAMPLES: &str = "\
Examples:
  imagedump disk.ndz          what is it, and how large
  imagedump -d disk.ndz       ... chunk by chunk
  imagedump -c *.ndz          are these images whole?";

fn main() -> ExitCode {
    let args = Args::parse();
    init_log(0);
    let mut exit = Exit::Done;
    for path in &args.images {
        if let Err(error) = dump(&args, path) {
            if is_broken_pipe(&error) {
                break; // somebody has seen enough
            }
            // An error of the system names the file itself.
            let text = chain(error.as_ref());
            let named = error.downcast_ref().is_none_or(LoadError::is_about_image);
            match (named, path.as_os_str() == "-") {
                (true, false) => say(format_args!("imagedump: {}: {text}", path.display())),
                (true, true) => say(format_args!("imagedump: standard input: {text}")),
                (false, _) => say(format_args!("imagedump: {text}")),
            }
            exit = match error.downcast_ref::<LoadError>() {
                Some(error) if error.is_refusal() => Exit::Refused,
                _ => Exit::Failed,
            };
        }
    }
    exit.into()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn dump(args: &Args, path: &PathBuf) -> Result<()> {
    let input = ImageInput::open(path)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut chunks = Vec::new();
    let info = if args.verify && args.detail == 0 {
        let progress = Arc::new(Progress::new());
        let _display = Display::start(Arc::clone(&progress), Shown::Auto);
        check(&input, args.threads, &progress, &Interrupt::never())?
    } else {
        walk(args, &input, &mut out, &mut chunks)?
    };
    if args.quick {
        return Ok(());
    }
    if args.json {
        let mut object = info_json(path, &info, args.verify);
        if let (Value::Object(map), true) = (&mut object, args.detail > 0) {
            map.insert("chunk_list".into(), chunks.into());
        }
        writeln!(out, "{object}")?;
    } else {
        write!(out, "{}", info_text(path, &info, args.verify))?;
    }
    Ok(out.flush()?)
}

/// Looks at every chunk in order, listing them if asked to.
fn walk(
    args: &Args,
    input: &ImageInput,
    out: &mut impl Write,
    chunks: &mut Vec<Value>,
) -> Result<ImageInfo> {
    let mut set = ImageSet::new();
    let mut decoder = imagezip::ndz::Decoder::default();
    let mut show = |header: &ChunkHeader| -> Result<()> {
        match (args.detail, args.json) {
            (0, _) => {}
            (detail, true) => chunks.push(chunk_json(header, detail)),
            (detail, false) => write!(out, "{}", chunk_text(header, detail))?,
        }
        Ok(())
    };
    // Without --verify the headers of a file are enough.
    if let (Some(count), false) = (input.chunks(), args.verify) {
        for index in 0..count {
            let header = input.header(index)?;
            set.push(&header).map_err(LoadError::from)?;
            show(&header)?;
        }
        return Ok(set.finish().map_err(LoadError::from)?);
    }
    let mut bytes = vec![0; CHUNK_LEN];
    while let Some(at) = input.next_chunk(&mut bytes)? {
        let chunk = VerifiedChunk::verify(&bytes, at).map_err(LoadError::from)?;
        set.push(chunk.header()).map_err(LoadError::from)?;
        if args.verify {
            decoder.check(&chunk).map_err(LoadError::from)?;
        }
        show(chunk.header())?;
    }
    Ok(set.finish().map_err(LoadError::from)?)
}

fn info_text(path: &std::path::Path, info: &ImageInfo, verified: bool) -> String {
    let kind = match info.native {
        Some(native) if native.slice => "one partition",
        Some(_) => "disk",
        None => "disk, partition or file",
    };
    let mut text = format!("{}:\n", path.display());
    let mut line = |name: &str, value: String| text += &format!("  {name:<16} {value}\n");
    line("format", format!("{}, {}", info.version, info.codec));
    line("image id", id_text(info.image_id));
    line("image", format!("{} in {} chunks", HumanBytes(info.image_bytes()), info.chunks));
    line(
        "source",
        format!("{kind}, {} ({} bytes)", HumanBytes(info.source_bytes), info.source_bytes),
    );
    if let Some(native) = info.native {
        line("logical sectors", format!("{} bytes", native.logical_sector_bytes));
    }
    let data = HumanBytes(info.data.bytes());
    line("data", format!("{data} in {} regions, to sector {}", info.regions, info.last_written()));
    if !info.zero.is_zero() {
        line("zeros", HumanBytes(info.zero.bytes()).to_string());
    }
    let payload = HumanBytes(info.payload_bytes);
    let filled = info.payload_bytes.saturating_mul(100) / info.image_bytes().max(1);
    line("payload", format!("{payload} ({filled}% of the image)"));
    if info.relocation_count > 0 {
        line("relocations", info.relocation_count.to_string());
    }
    let digests = match info.chunks_with_digest {
        0 => "none: damage inside a chunk may go unnoticed".to_owned(),
        n if n == info.chunks => "in every chunk".to_owned(),
        n => format!("in {n} of {} chunks", info.chunks),
    };
    line("digests", digests);
    line(
        "checked",
        if verified { "headers, digests, payloads: whole" } else { "headers: whole" }.into(),
    );
    text
}

fn info_json(path: &PathBuf, info: &ImageInfo, verified: bool) -> Value {
    json!({
        "image": path,
        "format": info.version.to_string(),
        "codec": info.codec.to_string(),
        "image_id": info.image_id.map(|id| id_text(Some(id))),
        "image_bytes": info.image_bytes(),
        "chunks": info.chunks,
        "source_bytes": info.source_bytes,
        "slice": info.native.map(|native| native.slice),
        "logical_sector_bytes": info.native.map(|native| native.logical_sector_bytes),
        "data_bytes": info.data.bytes(),
        "zero_bytes": info.zero.bytes(),
        "regions": info.regions,
        "relocations": info.relocation_count,
        "payload_bytes": info.payload_bytes,
        "chunks_with_digest": info.chunks_with_digest,
        "payloads_checked": verified,
    })
}

fn chunk_text(header: &ChunkHeader, detail: u8) -> String {
    let bounds = header.bounds.map_or_else(|| "none".into(), |bounds| bounds.to_string());
    let mut text = format!(
        "chunk {}: offset {}, payload {} bytes, bounds {bounds}, {} regions ({} data, {} zero)\n",
        header.index,
        u64::from(header.index) * CHUNK_SIZE,
        header.payload_len,
        header.regions.len(),
        HumanBytes(header.data_sectors().bytes()),
        HumanBytes(header.zero_sectors().bytes()),
    );
    if detail > 1 {
        for region in &header.regions {
            text += &format!("  {} {}\n", kind(region.kind), region.range);
        }
        for r in &header.relocations {
            text += &format!("  {}: {} bytes at byte {}\n", r.name(), r.size, r.byte_offset());
        }
    }
    text
}

fn kind(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Data => "data",
        RegionKind::Zero => "zero",
    }
}

fn chunk_json(header: &ChunkHeader, detail: u8) -> Value {
    let pair = |range: SectorRange| json!([range.start().get(), range.end().get()]);
    let mut object = json!({
        "chunk": header.index,
        "payload_bytes": header.payload_len,
        "bounds": header.bounds.map(pair),
        "region_count": header.regions.len(),
        "data_bytes": header.data_sectors().bytes(),
        "zero_bytes": header.zero_sectors().bytes(),
    });
    if let (Value::Object(map), true) = (&mut object, detail > 1) {
        let regions = header.regions.iter().map(|r| json!([kind(r.kind), pair(r.range)]));
        map.insert("regions".into(), regions.collect());
        let relocations = header.relocations.iter();
        let relocations = relocations.map(|r| json!([r.kind, r.sector.get(), r.offset, r.size]));
        map.insert("relocations".into(), relocations.collect());
    }
    object
}
