//! What a datagram means: the valid-only side of the wire format.

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::I32;

use super::extension::Extensions;
use super::raw::{
    RawBlock, RawHeader, RawJoin, RawJoin2, RawLeave, RawPartialRequest, RawProgress, RawRequest,
    RawSummary,
};
use super::statistics::Statistics;
use super::{
    KIND_REPLY, KIND_REQUEST, SUBTYPE_BLOCK, SUBTYPE_JOIN, SUBTYPE_JOIN2, SUBTYPE_LEAVE,
    SUBTYPE_LEAVE2, SUBTYPE_PREQUEST, SUBTYPE_PROGRESS, SUBTYPE_REQUEST,
};
use crate::block_set::BlockSet;
use crate::geometry::{Geometry, GeometryError};

/// A well-formed datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Datagram<'a> {
    /// The header's `srcip`: the sender's IPv4 address as it claims; see
    /// [`source_is_valid`](super::source_is_valid).
    pub srcip: [u8; 4],
    /// What it says.
    pub message: Message<'a>,
}

/// Every message of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// JOIN, type 1: a client wants to load an image.
    JoinRequest {
        /// A number that the client drew at random.
        client_id: u32,
    },
    /// JOIN, type 2: the server answers. The file is this many blocks of 1024 bytes.
    JoinReply {
        /// Blocks in the file, a multiple of 1024.
        blocks: u32,
    },
    /// JOIN2, type 1: a client wants to load a file of any size.
    Join2Request(Join2<'a>),
    /// JOIN2, type 2: the server answers.
    Join2Reply(Join2<'a>),
    /// LEAVE: a client of before the statistics goes.
    Leave {
        /// The id it joined with.
        client_id: u32,
        /// Seconds since it joined.
        elapsed: i32,
    },
    /// LEAVE2: a client goes and says what it counted.
    Leave2 {
        /// The id it joined with.
        client_id: u32,
        /// Seconds since it joined.
        elapsed: i32,
        /// Its counters.
        statistics: Statistics,
    },
    /// BLOCK: one block of data.
    Block {
        /// The chunk.
        chunk: u32,
        /// The block in the chunk.
        block: u32,
        /// The data, borrowed from the datagram; at least a block, what is beyond is ignored.
        payload: &'a [u8],
    },
    /// REQUEST: a client wants a run of blocks, as a rule a whole chunk.
    Request {
        /// The chunk.
        chunk: u32,
        /// The first block.
        first: u32,
        /// The number of blocks.
        count: u32,
    },
    /// PREQUEST: a client wants some blocks of a chunk.
    PartialRequest {
        /// The chunk.
        chunk: u32,
        /// How often the client asked for them before: 0 = first time.
        retries: u32,
        /// The blocks.
        wanted: BlockSet,
    },
    /// PROGRESS, type 1: the server asks clients to report.
    ProgressRequest(Progress),
    /// PROGRESS, type 2: a client reports.
    ProgressReport(ProgressReport),
}

/// The body of JOIN2, either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Join2<'a> {
    /// The client's id; a reply repeats it.
    pub client_id: u32,
    /// Blocks in the file. Deployed servers leave it 0, deployed clients leave it undefined; the
    /// number follows from `bytes`.
    pub blocks: i32,
    /// Blocks in a chunk.
    pub blocks_per_chunk: i32,
    /// Bytes in a block.
    pub block_size: i32,
    /// Bytes in the file; undefined in a deployed client's request.
    pub bytes: u64,
    /// What new peers add.
    pub extensions: Extensions<'a>,
}

/// The head of a PROGRESS message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// The client's id. In a request, whose join caused it; everybody answers.
    pub client_id: u32,
    /// The client's IPv4 address in network byte order; zero in a request, and over IPv6.
    pub who: [u8; 4],
    /// In a request: seconds between reports, 0 = once, now. In a report: a local time stamp.
    pub when: u32,
    /// What is asked for or reported: [`PROGRESS_SUMMARY`](super::PROGRESS_SUMMARY),
    /// [`PROGRESS_STATISTICS`](super::PROGRESS_STATISTICS). What is really there follows from the
    /// length: deployed clients send both and say 1.
    pub what: u16,
    /// Counts reports.
    pub seq: u16,
}

/// A PROGRESS report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProgressReport {
    /// Who and when.
    pub head: Progress,
    /// How far it is.
    pub summary: Option<Summary>,
    /// Its counters; only behind a summary.
    pub statistics: Option<Statistics>,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Chunks received whole.
    pub chunks_in: u32,
    /// Chunks written.
    pub chunks_out: u32,
    /// Bytes written.
    pub bytes_out: u64,
}

/// Why a datagram means nothing. Receivers count it and go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than a header.
    #[error("datagram of {len} bytes: shorter than the header's 16")]
    NoHeader {
        /// Bytes in the datagram.
        len: usize,
    },
    /// The header promises more bytes than there are.
    #[error("the header says {datalen} bytes follow, {found} do")]
    Truncated {
        /// What the header says.
        datalen: u32,
        /// Bytes behind the header.
        found: usize,
    },
    /// The body is shorter than its kind needs.
    #[error("subtype {subtype}: a body of {datalen} bytes is too short")]
    ShortBody {
        /// The kind.
        subtype: i32,
        /// What the header says.
        datalen: u32,
    },
    /// Not one of the protocol's types and subtypes; perhaps a newer peer's.
    #[error("unknown type {kind} subtype {subtype}")]
    Unknown {
        /// The header's type.
        kind: i32,
        /// The header's subtype.
        subtype: i32,
    },
    /// A number that cannot be negative is.
    #[error("subtype {subtype}: negative number {value}")]
    Negative {
        /// The kind.
        subtype: i32,
        /// The number.
        value: i32,
    },
}

/// A well-formed message that does not fit the file. Receivers count it and go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OutOfGeometry {
    /// No such chunk.
    #[error("chunk {chunk}: the file has {chunks}")]
    Chunk {
        /// What the message says.
        chunk: u32,
        /// Chunks in the file.
        chunks: u32,
    },
    /// No such blocks in the chunk.
    #[error("blocks {first}+{count} of chunk {chunk}: not all in a chunk of {blocks_per_chunk}")]
    Blocks {
        /// The chunk.
        chunk: u32,
        /// The first block.
        first: u32,
        /// The number of blocks.
        count: u32,
        /// Blocks in a chunk.
        blocks_per_chunk: u32,
    },
    /// The payload is shorter than a block.
    #[error("a payload of {found} bytes: a block has {block_size}")]
    Payload {
        /// Bytes found.
        found: usize,
        /// Bytes in a block.
        block_size: u32,
    },
}

/// Reads a datagram. Bytes beyond the length in its header, and of a body beyond what is known,
/// are ignored.
pub fn decode(bytes: &[u8]) -> Result<Datagram<'_>, DecodeError> {
    let (header, rest) = RawHeader::read_from_prefix(bytes)
        .map_err(|_| DecodeError::NoHeader { len: bytes.len() })?;
    let datalen = header.datalen.get();
    let body = usize::try_from(datalen)
        .ok()
        .and_then(|len| rest.get(..len))
        .ok_or(DecodeError::Truncated { datalen, found: rest.len() })?;
    let message = decode_body(header.kind.get(), header.subtype.get(), datalen, body)?;
    Ok(Datagram { srcip: header.srcip, message })
}

fn decode_body(
    kind: i32,
    subtype: i32,
    datalen: u32,
    body: &[u8],
) -> Result<Message<'_>, DecodeError> {
    let short = DecodeError::ShortBody { subtype, datalen };
    let natural = |value: I32| {
        u32::try_from(value.get())
            .map_err(|_| DecodeError::Negative { subtype, value: value.get() })
    };
    Ok(match (kind, subtype) {
        (KIND_REQUEST, SUBTYPE_JOIN) => {
            let (raw, _) = prefix::<RawJoin>(body, short)?;
            Message::JoinRequest { client_id: raw.value.get() }
        }
        (KIND_REPLY, SUBTYPE_JOIN) => {
            let (raw, _) = prefix::<RawJoin>(body, short)?;
            Message::JoinReply { blocks: raw.value.get() }
        }
        (KIND_REQUEST, SUBTYPE_JOIN2) => Message::Join2Request(decode_join2(body, short)?),
        (KIND_REPLY, SUBTYPE_JOIN2) => Message::Join2Reply(decode_join2(body, short)?),
        (KIND_REQUEST, SUBTYPE_LEAVE) => {
            let (raw, _) = prefix::<RawLeave>(body, short)?;
            Message::Leave { client_id: raw.client_id.get(), elapsed: raw.elapsed.get() }
        }
        (KIND_REQUEST, SUBTYPE_LEAVE2) => {
            let (raw, rest) = prefix::<RawLeave>(body, short)?;
            let statistics = Statistics::decode(rest).ok_or(short)?;
            Message::Leave2 {
                client_id: raw.client_id.get(),
                elapsed: raw.elapsed.get(),
                statistics,
            }
        }
        (KIND_REQUEST, SUBTYPE_BLOCK) => {
            let (raw, payload) = prefix::<RawBlock>(body, short)?;
            Message::Block { chunk: natural(raw.chunk)?, block: natural(raw.block)?, payload }
        }
        (KIND_REQUEST, SUBTYPE_REQUEST) => {
            let (raw, _) = prefix::<RawRequest>(body, short)?;
            Message::Request {
                chunk: natural(raw.chunk)?,
                first: natural(raw.first)?,
                count: natural(raw.count)?,
            }
        }
        (KIND_REQUEST, SUBTYPE_PREQUEST) => {
            let (raw, _) = prefix::<RawPartialRequest>(body, short)?;
            Message::PartialRequest {
                chunk: natural(raw.chunk)?,
                retries: natural(raw.retries)?,
                wanted: BlockSet::from_bitmap(&raw.wanted),
            }
        }
        (KIND_REQUEST, SUBTYPE_PROGRESS) => {
            let (raw, _) = prefix::<RawProgress>(body, short)?;
            Message::ProgressRequest(progress_head(raw))
        }
        (KIND_REPLY, SUBTYPE_PROGRESS) => {
            let (raw, rest) = prefix::<RawProgress>(body, short)?;
            let summary = RawSummary::read_from_prefix(rest).ok();
            let statistics = summary.as_ref().and_then(|(_, rest)| Statistics::decode(rest));
            let summary = summary.map(|(raw, _)| Summary {
                chunks_in: raw.chunks_in.get(),
                chunks_out: raw.chunks_out.get(),
                bytes_out: raw.bytes_out.get(),
            });
            Message::ProgressReport(ProgressReport {
                head: progress_head(raw),
                summary,
                statistics,
            })
        }
        _ => return Err(DecodeError::Unknown { kind, subtype }),
    })
}

fn prefix<T: FromBytes>(body: &[u8], short: DecodeError) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(body).map_err(|_| short)
}

fn decode_join2(body: &[u8], short: DecodeError) -> Result<Join2<'_>, DecodeError> {
    let (raw, rest) = prefix::<RawJoin2>(body, short)?;
    Ok(Join2 {
        client_id: raw.client_id.get(),
        blocks: raw.blocks.get(),
        blocks_per_chunk: raw.blocks_per_chunk.get(),
        block_size: raw.block_size.get(),
        bytes: raw.bytes.get(),
        extensions: Extensions::new(rest),
    })
}

fn progress_head(raw: RawProgress) -> Progress {
    Progress {
        client_id: raw.client_id.get(),
        who: raw.who,
        when: raw.when.get(),
        what: raw.what.get(),
        seq: raw.seq.get(),
    }
}

impl Join2<'_> {
    /// The file that a reply describes. The number of blocks follows from its bytes.
    pub fn geometry(&self) -> Result<Geometry, GeometryError> {
        // A negative number becomes 0, which the geometry refuses with a reason.
        let natural = |value: i32| u32::try_from(value).unwrap_or(0);
        Geometry::new(natural(self.block_size), natural(self.blocks_per_chunk), self.bytes)
    }
}

impl Message<'_> {
    /// True for what clients send and servers do not.
    pub fn is_clients(&self) -> bool {
        match self {
            Message::JoinRequest { .. }
            | Message::Join2Request(_)
            | Message::Leave { .. }
            | Message::Leave2 { .. }
            | Message::Request { .. }
            | Message::PartialRequest { .. }
            | Message::ProgressReport(_) => true,
            Message::JoinReply { .. }
            | Message::Join2Reply(_)
            | Message::Block { .. }
            | Message::ProgressRequest(_) => false,
        }
    }

    /// Whether the message fits the file: an existing chunk, and blocks within a chunk. A request
    /// may name blocks that the last chunk lacks (old clients ask for whole chunks); a BLOCK that
    /// the file lacks is refused.
    pub fn check(&self, geometry: &Geometry) -> Result<(), OutOfGeometry> {
        match *self {
            Self::Block { chunk, block, payload } => {
                check_run(geometry, chunk, block, 1)?;
                if !geometry.has_block(chunk, block) {
                    let blocks_per_chunk = geometry.blocks_in(chunk);
                    let first = block;
                    return Err(OutOfGeometry::Blocks { chunk, first, count: 1, blocks_per_chunk });
                }
                let block_size = geometry.block_size();
                match usize::try_from(block_size) {
                    Ok(len) if payload.len() >= len => Ok(()),
                    _ => Err(OutOfGeometry::Payload { found: payload.len(), block_size }),
                }
            }
            Self::Request { chunk, first, count } => check_run(geometry, chunk, first, count),
            Self::PartialRequest { chunk, .. } => check_run(geometry, chunk, 0, 0),
            _ => Ok(()),
        }
    }
}

fn check_run(geometry: &Geometry, chunk: u32, first: u32, count: u32) -> Result<(), OutOfGeometry> {
    let blocks_per_chunk = geometry.blocks_per_chunk();
    if chunk >= geometry.chunks() {
        return Err(OutOfGeometry::Chunk { chunk, chunks: geometry.chunks() });
    }
    let fits = first < blocks_per_chunk
        && first.checked_add(count).is_some_and(|end| end <= blocks_per_chunk);
    if fits { Ok(()) } else { Err(OutOfGeometry::Blocks { chunk, first, count, blocks_per_chunk }) }
}
