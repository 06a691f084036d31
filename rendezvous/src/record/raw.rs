//! The bytes of V01, named and not judged.
//!
//! Layouts are the deployed ones: packed, integers and addresses in network byte order. Sizes are
//! asserted at compile time.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the field that holds an image's name.
pub(super) const IMAGE_ID_FIELD: usize = 256;

/// Length of the field that holds a signature.
pub(super) const SIGNATURE_FIELD: usize = 256;

/// In front of every record.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) version: [u8; 4],
    pub(super) kind: U32,
}

/// GET request.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawGetRequest {
    pub(super) hostip: [u8; 4],
    pub(super) methods: u8,
    pub(super) status: u8,
    pub(super) idlen: U16,
    pub(super) imageid: [u8; IMAGE_ID_FIELD],
}

/// GET reply.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawGetReply {
    pub(super) method: u8,
    pub(super) isrunning: u8,
    pub(super) error: U16,
    pub(super) servaddr: [u8; 4],
    pub(super) addr: [u8; 4],
    pub(super) port: U16,
    pub(super) sigtype: U16,
    pub(super) signature: [u8; SIGNATURE_FIELD],
    pub(super) hisize: U32,
    pub(super) losize: U32,
}

/// PUT request.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawPutRequest {
    pub(super) hostip: [u8; 4],
    pub(super) status: u8,
    pub(super) idlen: U16,
    pub(super) imageid: [u8; IMAGE_ID_FIELD],
    pub(super) hisize: U32,
    pub(super) losize: U32,
    pub(super) mtime: U32,
    pub(super) timeout: U32,
}

/// PUT reply.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawPutReply {
    pub(super) error: U16,
    pub(super) addr: [u8; 4],
    pub(super) port: U16,
    pub(super) exists: u8,
    pub(super) sigtype: U16,
    pub(super) signature: [u8; SIGNATURE_FIELD],
    pub(super) hisize: U32,
    pub(super) losize: U32,
    pub(super) himaxsize: U32,
    pub(super) lomaxsize: U32,
}

const _: () = assert!(size_of::<RawHeader>() == 8);
const _: () = assert!(size_of::<RawGetRequest>() == 264);
const _: () = assert!(size_of::<RawGetReply>() == 280);
const _: () = assert!(size_of::<RawPutRequest>() == 279);
const _: () = assert!(size_of::<RawPutReply>() == 283);

/// A record without anything in it.
pub(super) fn zeroed<T: FromZeros>() -> T {
    T::new_zeroed()
}
