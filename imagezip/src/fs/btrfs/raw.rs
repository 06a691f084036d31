//! Structures as they stand on the disk, with the names of the on-disk format pages.
//!
//! What it owns: layouts and magic numbers. All integers are little-endian. Fields without a
//! meaning for the allocation map are `_at_` their offset.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian as le};

/// Byte offset of the primary superblock.
pub(super) const SUPERBLOCK_OFFSET: u64 = 64 << 10;
/// Byte offsets of its copies, where the device is that long.
pub(super) const SUPERBLOCK_COPIES: [u64; 2] = [64 << 20, 256 << 30];
/// Bytes in a superblock.
pub(super) const SUPERBLOCK_LEN: usize = 4096;

/// The superblock.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    /// Of all bytes from 32 on.
    pub(super) csum: [u8; 32],
    pub(super) fsid: [u8; 16],
    /// Its own place on the device.
    pub(super) bytenr: le::U64,
    pub(super) flags: le::U64,
    pub(super) magic: [u8; 8],
    pub(super) generation: le::U64,
    /// The root of the tree of roots.
    pub(super) root: le::U64,
    pub(super) chunk_root: le::U64,
    /// The root of the trees of logs, which say what was synced since the last commit; 0 for none.
    pub(super) log_root: le::U64,
    _at_68: [u8; 32],
    pub(super) num_devices: le::U64,
    pub(super) sectorsize: le::U32,
    pub(super) nodesize: le::U32,
    _at_98: [u8; 8],
    pub(super) sys_chunk_array_size: le::U32,
    pub(super) chunk_root_generation: le::U64,
    _at_ac: [u8; 8],
    pub(super) compat_ro_flags: le::U64,
    pub(super) incompat_flags: le::U64,
    pub(super) csum_type: le::U16,
    pub(super) root_level: u8,
    pub(super) chunk_root_level: u8,
    _at_c8: u8,
    pub(super) dev_item: DeviceItem,
    pub(super) label: [u8; 256],
    _at_22b: [u8; 16],
    /// The UUID in all tree blocks, when the user has changed `fsid`.
    pub(super) metadata_uuid: [u8; 16],
    _at_24b: [u8; 224],
    pub(super) sys_chunk_array: [u8; 2048],
    _at_b2b: [u8; 1237],
}

const _: () = assert!(size_of::<Superblock>() == SUPERBLOCK_LEN);

/// Magic number of the superblock.
pub(super) const MAGIC: [u8; 8] = *b"_BHRfS_M";

/// What the filesystem knows of one of its devices.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DeviceItem {
    pub(super) devid: le::U64,
    pub(super) total_bytes: le::U64,
    _at_10: [u8; 82],
}

const _: () = assert!(size_of::<DeviceItem>() == 98);

/// The key of an item.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Key {
    pub(super) objectid: le::U64,
    pub(super) kind: u8,
    pub(super) offset: le::U64,
}

const _: () = assert!(size_of::<Key>() == 17);

/// The start of a tree block.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) csum: [u8; 32],
    pub(super) fsid: [u8; 16],
    /// Its own logical address.
    pub(super) bytenr: le::U64,
    _at_38: [u8; 24],
    pub(super) generation: le::U64,
    /// The tree it belongs to.
    pub(super) owner: le::U64,
    pub(super) nritems: le::U32,
    pub(super) level: u8,
}

const _: () = assert!(size_of::<Header>() == 101);

/// Bytes before those that a checksum covers.
pub(super) const CHECKSUM_LEN: usize = 32;

/// An entry of an inner block.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Pointer {
    pub(super) key: Key,
    pub(super) blockptr: le::U64,
    pub(super) generation: le::U64,
}

const _: () = assert!(size_of::<Pointer>() == 33);

/// An entry of a leaf. Its data stands `offset` bytes after the header.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) offset: le::U32,
    pub(super) size: le::U32,
}

const _: () = assert!(size_of::<Item>() == 25);

/// A chunk, before its stripes.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Chunk {
    pub(super) length: le::U64,
    _at_8: [u8; 16],
    pub(super) kind: le::U64,
    _at_20: [u8; 12],
    pub(super) num_stripes: le::U16,
    _at_2e: [u8; 2],
}

const _: () = assert!(size_of::<Chunk>() == 48);

/// A stripe of a chunk.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Stripe {
    pub(super) devid: le::U64,
    /// Byte offset on the device.
    pub(super) offset: le::U64,
    _at_10: [u8; 16],
}

const _: () = assert!(size_of::<Stripe>() == 32);

/// The start of the item that says where a tree is.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RootItem {
    _at_0: [u8; 160],
    pub(super) generation: le::U64,
    _at_a8: [u8; 8],
    pub(super) bytenr: le::U64,
    _at_b8: [u8; 54],
    pub(super) level: u8,
}

const _: () = assert!(size_of::<RootItem>() == 239);

/// A block group.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BlockGroup {
    pub(super) used: le::U64,
    _at_8: [u8; 8],
    pub(super) flags: le::U64,
}

const _: () = assert!(size_of::<BlockGroup>() == 24);

/// The start of an extent item.
#[derive(Clone, FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Extent {
    _at_0: [u8; 16],
    pub(super) flags: le::U64,
}

const _: () = assert!(size_of::<Extent>() == 24);

/// `BTRFS_EXTENT_FLAG_TREE_BLOCK`.
pub(super) const EXTENT_TREE_BLOCK: u64 = 2;

/// Key types.
pub(super) const ROOT_ITEM: u8 = 132;
pub(super) const EXTENT_ITEM: u8 = 168;
pub(super) const METADATA_ITEM: u8 = 169;
pub(super) const BLOCK_GROUP_ITEM: u8 = 192;
pub(super) const DEVICE_ITEM: u8 = 216;
pub(super) const CHUNK_ITEM: u8 = 228;

/// Trees.
pub(super) const ROOT_TREE: u64 = 1;
pub(super) const EXTENT_TREE: u64 = 2;
pub(super) const CHUNK_TREE: u64 = 3;
pub(super) const BLOCK_GROUP_TREE: u64 = 11;

/// Profiles of chunks: copies of all data (`RAID1`, `DUP`, `RAID1C3`, `RAID1C4`).
pub(super) const PROFILES_OF_COPIES: u64 = 0x10 | 0x20 | 0x200 | 0x400;
/// Profiles of chunks: striped (`RAID0`, `RAID10`, `RAID5`, `RAID6`).
pub(super) const PROFILES_STRIPED: u64 = 0x8 | 0x40 | 0x80 | 0x100;
/// What a chunk may hold: data, system, metadata.
pub(super) const KINDS: u64 = 0x1 | 0x2 | 0x4;
