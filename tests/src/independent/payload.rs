//! A chunk's payload: from compressed bytes to the sectors of its data regions.

use super::{Chunk, Codec, Fault, SECTOR, index, require};
use flate2::{Decompress, FlushDecompress, Status};

impl Chunk {
    /// The bytes of the data regions, one after another. `chunk` is the whole chunk.
    ///
    /// # Errors
    /// When the payload does not hold exactly those.
    pub fn inflate(&self, chunk: &[u8]) -> Result<Vec<u8>, Fault> {
        let payload = &chunk[self.area..self.area + self.payload];
        let wanted = index(self.data_sectors()) * SECTOR;
        let data = match self.codec {
            _ if payload.is_empty() => Vec::new(),
            Codec::Stored => payload.to_vec(),
            Codec::Zlib => zlib(payload, wanted)?,
            Codec::Zstd => zstd::stream::decode_all(payload).map_err(|error| error.to_string())?,
        };
        require!(data.len() == wanted, "payload of {} bytes, not {wanted}", data.len());
        Ok(data)
    }
}

/// One stream that ends with the payload and makes `wanted` bytes.
fn zlib(payload: &[u8], wanted: usize) -> Result<Vec<u8>, Fault> {
    let mut data = Vec::with_capacity(wanted + 1);
    let mut stream = Decompress::new(true);
    let status = stream
        .decompress_vec(payload, &mut data, FlushDecompress::Finish)
        .map_err(|error| error.to_string())?;
    require!(status == Status::StreamEnd, "zlib stream without an end");
    require!(index(stream.total_in()) == payload.len(), "bytes behind the zlib stream");
    Ok(data)
}
