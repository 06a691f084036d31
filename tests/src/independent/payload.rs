//! A chunk's payload: from compressed bytes to the sectors of its data regions.

use super::{Chunk, Codec, Fault, index, require};
use flate2::bufread::ZlibDecoder;
use std::io::Read;

impl Chunk {
    /// The bytes of the data regions, one after another. `chunk` is the whole chunk.
    ///
    /// # Errors
    /// When the payload does not hold exactly those.
    pub fn inflate(&self, chunk: &[u8]) -> Result<Vec<u8>, Fault> {
        let payload = &chunk[self.area..self.area + self.payload];
        let wanted = self.data_sectors() * 512;
        let data = match self.codec {
            _ if payload.is_empty() => Vec::new(),
            Codec::Stored => payload.to_vec(),
            Codec::Zlib => zlib(payload, wanted)?,
            Codec::Zstd => zstd::stream::decode_all(payload).map_err(|error| error.to_string())?,
        };
        require!(data.len() == index(wanted), "payload of {} bytes, not {wanted}", data.len());
        Ok(data)
    }
}

/// One stream that ends with the payload; no more than a byte beyond `wanted` is made of it.
fn zlib(payload: &[u8], wanted: u64) -> Result<Vec<u8>, Fault> {
    let mut data = Vec::new();
    let mut stream = ZlibDecoder::new(payload);
    let read = stream.by_ref().take(wanted + 1).read_to_end(&mut data);
    read.map_err(|error| error.to_string())?;
    require!(index(stream.total_in()) == payload.len(), "bytes behind the zlib stream");
    Ok(data)
}
