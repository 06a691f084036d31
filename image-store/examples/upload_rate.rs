//! How fast images are taken in: `upload_rate DIR IMAGE...` uploads each image into DIR, from
//! memory, once as any file and once checked chunk by chunk, and prints the rates.

use anyhow::{Context, Result};
use image_store::{ImageName, Store, StoreOptions, UploadOptions};
use std::time::Instant;

/// Bytes handed in at a time, as from a socket.
const PIECE_LEN: usize = 256 << 10;

/// Bytes after which what has arrived is made safe, as the server does before it acknowledges.
const DURABLE_EVERY: usize = 16 << 20;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("usage: upload_rate DIR IMAGE...")?;
    let store = Store::open(&dir, StoreOptions::default())?;
    let name = ImageName::parse("upload-rate")?;
    for path in args {
        let image = std::fs::read(&path)?;
        let digest = *blake3::hash(&image).as_bytes();
        let bytes = u64::try_from(image.len())?;
        for checked in [false, true] {
            let options = UploadOptions { image: checked, ..UploadOptions::default() };
            let start = Instant::now();
            let mut upload = store.begin_upload(&name, options)?;
            let mut since = 0;
            for piece in image.chunks(PIECE_LEN) {
                upload.write(piece)?;
                since += piece.len();
                if since >= DURABLE_EVERY {
                    upload.make_durable()?;
                    since = 0;
                }
            }
            let published = upload.publish(Some((bytes, digest)))?;
            let micros = start.elapsed().as_micros().max(1);
            let how = published.info.map_or_else(
                || "as any file".to_owned(),
                |info| format!("checked, {} {}", info.version, info.codec),
            );
            let rate = u128::from(bytes) / micros;
            println!("{path}: {rate} MB/s, {} Mb/s, {how}", rate * 8);
        }
    }
    Ok(store.delete(&name)?)
}
