//! What the receiver and the workers tell each other.

use proto::geometry::Geometry;
use std::net::SocketAddr;

/// From the receiver to the loader and its workers.
#[derive(Debug)]
pub(crate) enum Work {
    /// The first: the server answered.
    Joined(Geometry),
    /// Then, in any order, the chunks.
    Chunk(Chunk),
}

/// A chunk whose blocks are all there. Its buffer goes back with the verdict.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Its number.
    pub(crate) number: u32,
    /// All of its buffer; the file's last chunk may be shorter.
    pub(crate) bytes: Box<[u8]>,
    /// Who sent its first block.
    pub(crate) sender: SocketAddr,
}

/// From the loader and its workers to the receiver.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is written.
    Done(Chunk),
    /// It is damaged: ask for it again.
    Rejected(Chunk),
    /// Nothing can be written before chunk 0 has been seen.
    NeedFirst,
    /// Nothing more will be taken: all is done, or failed.
    Over,
}
