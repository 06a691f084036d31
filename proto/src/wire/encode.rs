//! Meaning to bytes.

use zerocopy::{Immutable, IntoBytes};

use super::extension::EXTENSIONS_LEN_MAX;
use super::message::{Datagram, Join2, Message, Progress};
use super::raw::{
    RawBlock, RawHeader, RawJoin, RawJoin2, RawLeave, RawPartialRequest, RawProgress, RawRequest,
    RawSummary, STATISTICS_PADDING_LEN,
};
use super::statistics::Statistics;
use super::{
    BLOCK_HEADER_LEN, HEADER_LEN, KIND_REPLY, KIND_REQUEST, SUBTYPE_BLOCK, SUBTYPE_JOIN,
    SUBTYPE_JOIN2, SUBTYPE_LEAVE, SUBTYPE_LEAVE2, SUBTYPE_PREQUEST, SUBTYPE_PROGRESS,
    SUBTYPE_REQUEST,
};

/// Why a message has no bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The buffer is too small.
    #[error("a buffer of {len} bytes is too small for this message")]
    BufferTooSmall {
        /// Bytes in the buffer.
        len: usize,
    },
    /// A chunk, block or count above what the wire's signed 32 bits hold.
    #[error("{value} does not fit the wire's signed 32 bits")]
    NumberTooLarge {
        /// The number.
        value: u32,
    },
    /// More extensions than a JOIN2 datagram may carry.
    #[error("{len} bytes of extensions: at most {EXTENSIONS_LEN_MAX} fit")]
    ExtensionsTooLong {
        /// Their length.
        len: usize,
    },
}

/// Writes a datagram to the start of `buffer` and returns its length. [`super::decode`] undoes it.
pub fn encode(datagram: &Datagram<'_>, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    let mut out = Writer { len: HEADER_LEN, buffer };
    let (kind, subtype) = encode_body(&datagram.message, &mut out)?;
    let len = out.len;
    let datalen = u32::try_from(len - HEADER_LEN).unwrap_or(u32::MAX);
    out.len = 0;
    out.put(&RawHeader {
        kind: kind.into(),
        subtype: subtype.into(),
        datalen: datalen.into(),
        srcip: datagram.srcip,
    })?;
    Ok(len)
}

/// The bytes in front of a block's payload, for a caller that places the payload behind them
/// itself. `None` for a chunk or block that the wire cannot hold.
pub fn encode_block_header(
    srcip: [u8; 4],
    chunk: u32,
    block: u32,
    block_size: u32,
) -> Option<[u8; BLOCK_HEADER_LEN]> {
    let header = RawHeader {
        kind: KIND_REQUEST.into(), // sic: deployed servers call a BLOCK a request
        subtype: SUBTYPE_BLOCK.into(),
        datalen: block_size.checked_add(8)?.into(),
        srcip,
    };
    let place = RawBlock { chunk: signed(chunk).ok()?.into(), block: signed(block).ok()?.into() };
    let mut bytes = [0; BLOCK_HEADER_LEN];
    header.write_to_prefix(&mut bytes).ok()?;
    place.write_to_suffix(&mut bytes).ok()?;
    Some(bytes)
}

fn encode_body(message: &Message<'_>, out: &mut Writer<'_>) -> Result<(i32, i32), EncodeError> {
    Ok(match *message {
        Message::JoinRequest { client_id } => {
            out.put(&RawJoin { value: client_id.into() })?;
            (KIND_REQUEST, SUBTYPE_JOIN)
        }
        Message::JoinReply { blocks } => {
            out.put(&RawJoin { value: blocks.into() })?;
            (KIND_REPLY, SUBTYPE_JOIN)
        }
        Message::Join2Request(body) => {
            out.put_join2(&body)?;
            (KIND_REQUEST, SUBTYPE_JOIN2)
        }
        Message::Join2Reply(body) => {
            out.put_join2(&body)?;
            (KIND_REPLY, SUBTYPE_JOIN2)
        }
        Message::Leave { client_id, elapsed } => {
            out.put(&RawLeave { client_id: client_id.into(), elapsed: elapsed.into() })?;
            (KIND_REQUEST, SUBTYPE_LEAVE)
        }
        Message::Leave2 { client_id, elapsed, statistics } => {
            out.put(&RawLeave { client_id: client_id.into(), elapsed: elapsed.into() })?;
            out.put_statistics(statistics)?;
            (KIND_REQUEST, SUBTYPE_LEAVE2)
        }
        Message::Block { chunk, block, payload } => {
            out.put(&RawBlock { chunk: signed(chunk)?.into(), block: signed(block)?.into() })?;
            out.put(payload)?;
            (KIND_REQUEST, SUBTYPE_BLOCK)
        }
        Message::Request { chunk, first, count } => {
            out.put(&RawRequest {
                chunk: signed(chunk)?.into(),
                first: signed(first)?.into(),
                count: signed(count)?.into(),
            })?;
            (KIND_REQUEST, SUBTYPE_REQUEST)
        }
        Message::PartialRequest { chunk, retries, wanted } => {
            out.put(&RawPartialRequest {
                chunk: signed(chunk)?.into(),
                retries: signed(retries)?.into(),
                wanted: wanted.to_bitmap(),
            })?;
            (KIND_REQUEST, SUBTYPE_PREQUEST)
        }
        Message::ProgressRequest(head) => {
            out.put_progress(head)?;
            (KIND_REQUEST, SUBTYPE_PROGRESS)
        }
        Message::ProgressReport(report) => {
            out.put_progress(report.head)?;
            if let Some(summary) = report.summary {
                out.put(&RawSummary {
                    chunks_in: summary.chunks_in.into(),
                    chunks_out: summary.chunks_out.into(),
                    bytes_out: summary.bytes_out.into(),
                })?;
                if let Some(statistics) = report.statistics {
                    out.put_statistics(statistics)?;
                }
            }
            (KIND_REPLY, SUBTYPE_PROGRESS)
        }
    })
}

fn signed(value: u32) -> Result<i32, EncodeError> {
    i32::try_from(value).map_err(|_| EncodeError::NumberTooLarge { value })
}

/// Fills a buffer from the front.
struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put<T: IntoBytes + Immutable + ?Sized>(&mut self, part: &T) -> Result<(), EncodeError> {
        let bytes = part.as_bytes();
        let too_small = EncodeError::BufferTooSmall { len: self.buffer.len() };
        let end = self.len.checked_add(bytes.len()).ok_or(too_small)?;
        self.buffer.get_mut(self.len..end).ok_or(too_small)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn put_join2(&mut self, body: &Join2<'_>) -> Result<(), EncodeError> {
        let extensions = body.extensions.bytes();
        if extensions.len() > EXTENSIONS_LEN_MAX {
            return Err(EncodeError::ExtensionsTooLong { len: extensions.len() });
        }
        self.put(&RawJoin2 {
            client_id: body.client_id.into(),
            blocks: body.blocks.into(),
            blocks_per_chunk: body.blocks_per_chunk.into(),
            block_size: body.block_size.into(),
            bytes: body.bytes.into(),
        })?;
        self.put(extensions)
    }

    fn put_statistics(&mut self, statistics: Statistics) -> Result<(), EncodeError> {
        self.put(&statistics.to_raw())?;
        self.put(&[0u8; STATISTICS_PADDING_LEN])
    }

    fn put_progress(&mut self, head: Progress) -> Result<(), EncodeError> {
        self.put(&RawProgress {
            client_id: head.client_id.into(),
            who: head.who,
            when: head.when.into(),
            what: head.what.into(),
            seq: head.seq.into(),
        })
    }
}
