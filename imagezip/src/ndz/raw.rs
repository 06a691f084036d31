//! The bytes of chunk headers, named. Source: the deployed format's description, whose facts
//! docs/ndz-format.md repeats. All numbers are little-endian. Nothing is judged here.

use zerocopy::little_endian::{I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

macro_rules! layout {
    ($(#[$meta:meta])* $name:ident, $size:literal, { $($field:ident : $type:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
        #[repr(C)]
        pub(super) struct $name { $(pub(super) $field: $type),+ }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

layout!(
    /// The start of every header of versions 1 to 6. `blocktotal` is not maintained by deployed
    /// writers.
    Common, 24, {
        magic: U32, size: U32, blockindex: I32, blocktotal: I32, regionsize: I32, regioncount: I32,
    }
);
layout!(
    /// What V2 to V4 add.
    Bounds32, 12, { firstsect: U32, lastsect: U32, reloccount: I32 }
);
layout!(
    /// What V4 adds to [`Bounds32`].
    V4Tail, 308, {
        enc_cipher: U16, csum_type: U16, enc_iv: [u8; 32], checksum: [u8; 256], imageid: [u8; 16],
    }
);
layout!(
    /// What V5 adds to [`Bounds32`].
    V5Tail, 36, { pad: [u8; 4], firstsect: U64, lastsect: U64, imageid: [u8; 16] }
);
layout!(
    /// What V6 adds to [`V5Tail`]. The last 4 bytes align the region table.
    V6Tail, 296, {
        enc_cipher: U16, csum_type: U16, enc_iv: [u8; 32], checksum: [u8; 256], pad: [u8; 4],
    }
);
layout!(
    /// A region of V1 to V4, in sectors.
    Region32, 8, { start: U32, size: U32 }
);
layout!(
    /// A region of V5 and V6, in sectors.
    Region64, 16, { start: U64, size: U64 }
);
layout!(
    /// A relocation of V2 to V4.
    Relocation32, 16, { kind: U32, sector: U32, sectoff: U32, size: U32 }
);
layout!(
    /// A relocation of V5, V6 and native.
    Relocation64, 24, { kind: U32, sectoff: U32, sector: U64, size: U64 }
);
layout!(
    /// The native header.
    Native, 256, {
        magic: [u8; 4],
        header_version: U16,
        header_len: U16,
        header_area: U32,
        payload_len: U32,
        chunk_index: U32,
        flags: U32,
        codec: U32,
        logical_sector_bytes: U32,
        image_id: [u8; 16],
        source_bytes: U64,
        allocated_sectors: U64,
        first_sector: U64,
        last_sector: U64,
        region_count: U32,
        relocation_count: U32,
        header_check: [u8; 8],
        digest: [u8; 32],
        signature: [u8; 64],
        key_id: [u8; 16],
        cipher: U32,
        signature_kind: U32,
        nonce: [u8; 24],
        reserved: [u8; 16],
    }
);
layout!(
    /// A native region: sectors, and what they hold.
    NativeRegion, 16, { start: U64, count: U32, kind: U16, reserved: U16 }
);

/// Where the check of the header area stands in a native header: zero while it is computed.
pub(super) const NATIVE_CHECK: std::ops::Range<usize> = 88..96;
/// Where the digest stands in a native header: zero while the digest is computed.
pub(super) const NATIVE_DIGEST: std::ops::Range<usize> = 96..128;
/// Where the signature stands in a native header: zero while the digest is computed.
pub(super) const NATIVE_SIGNATURE: std::ops::Range<usize> = 128..192;
const _: () = assert!(std::mem::offset_of!(Native, header_check) == NATIVE_CHECK.start);
const _: () = assert!(std::mem::offset_of!(Native, digest) == NATIVE_DIGEST.start);
const _: () = assert!(std::mem::offset_of!(Native, signature) == NATIVE_SIGNATURE.start);

/// Where V4 keeps its digest.
pub(super) const V4_CHECKSUM: std::ops::Range<usize> = 72..328;
/// Where V6 keeps its digest.
pub(super) const V6_CHECKSUM: std::ops::Range<usize> = 108..364;
