//! What a client counts, as it travels in LEAVE2 and in PROGRESS reports.

use zerocopy::FromBytes;

use super::raw::RawStatistics;

/// Bytes of statistics on the wire, padding included.
pub const STATISTICS_LEN: usize = 1028;

/// The version of the statistics that this crate writes.
pub const STATISTICS_VERSION: i32 = 1;

/// A client's counters and settings. Old and new peers share the layout.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
    /// Layout version, [`STATISTICS_VERSION`].
    pub version: i32,
    /// Whole seconds that the load took.
    pub run_secs: i32,
    /// Milliseconds that the load took beyond `run_secs`.
    pub run_millis: i32,
    /// Milliseconds that the client waited before it began.
    pub delay_millis: i32,
    /// Bytes written to the disk.
    pub bytes_written: u64,
    /// Bytes after decompression, free space included.
    pub bytes_expanded: u64,
    /// Setting: chunk buffers.
    pub chunk_buffers: i32,
    /// Setting: chunks asked for ahead.
    pub read_ahead_max: i32,
    /// Setting: chunks in progress at most.
    pub in_progress_max: i32,
    /// Setting: microseconds that one wait for a datagram lasts.
    pub packet_timeout_micros: i32,
    /// Setting: seconds of random delay before the start.
    pub start_delay: i32,
    /// Setting: waits without a useful datagram before asking again.
    pub idle_timer: i32,
    /// Setting: microseconds that a thread without work sleeps.
    pub idle_delay_micros: i32,
    /// Setting: microseconds after which a request is repeated.
    pub redo_delay_micros: i32,
    /// Setting: 1 when chunks are asked for in random order.
    pub randomize: i32,
    /// Times the decompressor found no chunk ready.
    pub no_chunks_ready: u32,
    /// Blocks that arrived while no chunk buffer was free.
    pub no_free_chunks: u32,
    /// Blocks that arrived for a chunk already complete.
    pub duplicate_chunks: u32,
    /// Blocks that arrived twice for a chunk in progress.
    pub duplicate_blocks: u32,
    /// Partial requests sent.
    pub partial_requests: u32,
    /// Times nothing arrived for a while.
    pub receive_idles: u32,
    /// Join requests sent.
    pub join_attempts: u32,
    /// Requests sent, of both kinds.
    pub requests: u32,
    /// Times decompression waited for the disk.
    pub decompress_blocks: u32,
    /// Times the disk waited for decompression.
    pub writer_idles: u32,
    /// Setting: bytes of write buffers.
    pub write_buffer_bytes: i32,
    /// Blocks found missing after their chunk had been sent past them.
    pub lost_blocks: u32,
    /// Partial requests that repeated an earlier one.
    pub re_requests: u32,
    /// Chunks dropped half received, for lack of buffers.
    pub partial_drops: u32,
    /// Requests for a whole chunk that repeated an earlier one.
    pub full_re_requests: u32,
}

macro_rules! both_ways {
    ($($field:ident = $raw:ident),* $(,)?) => {
        impl Statistics {
            /// Reads the statistics; bytes behind the known fields are ignored. `None` when short.
            pub fn decode(bytes: &[u8]) -> Option<Self> {
                let bytes = bytes.get(..STATISTICS_LEN)?;
                let (raw, _) = RawStatistics::read_from_prefix(bytes).ok()?;
                Some(Self { $($field: raw.$raw.get()),* })
            }

            pub(super) fn to_raw(self) -> RawStatistics {
                RawStatistics { $($raw: self.$field.into()),* }
            }
        }
    };
}

both_ways! {
    version = version,
    run_secs = runsec,
    run_millis = runmsec,
    delay_millis = delayms,
    bytes_written = bytes_written,
    bytes_expanded = bytes_expanded,
    chunk_buffers = chunkbufs,
    read_ahead_max = maxreadahead,
    in_progress_max = maxinprogress,
    packet_timeout_micros = pkttimeout,
    start_delay = startdelay,
    idle_timer = idletimer,
    idle_delay_micros = idledelay,
    redo_delay_micros = redodelay,
    randomize = randomize,
    no_chunks_ready = nochunksready,
    no_free_chunks = nofreechunks,
    duplicate_chunks = dupchunk,
    duplicate_blocks = dupblock,
    partial_requests = prequests,
    receive_idles = recvidles,
    join_attempts = joinattempts,
    requests = requests,
    decompress_blocks = decompblocks,
    writer_idles = writeridles,
    write_buffer_bytes = writebufmem,
    lost_blocks = lostblocks,
    re_requests = rerequests,
    partial_drops = partialdrops,
    full_re_requests = fullrerequests,
}
