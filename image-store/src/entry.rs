//! What a listing tells of an image.

use crate::ImageName;

/// An image in a store, as far as can be told without reading it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: ImageName,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last written, in seconds since 1970: the signature of the rendezvous protocol.
    pub modified: u64,
    /// Tells two images of one name apart: the inode's number and time of change in a directory,
    /// the ETag in an object store.
    pub version: String,
}
