//! Positions and lengths on a disk, in sectors.
//!
//! What it owns: the only place where sectors become bytes and bytes become sectors. A *sector* is
//! always 512 bytes here, also on a disk whose own logical sectors are 4096 bytes long. What it
//! never does: overflow. A position is below [`SECTORS_MAX`], so its byte offset fits an `i64`, the
//! kernel's file offset.

use std::fmt;

/// Bytes in a sector, the unit of every disk address in this crate and in the ndz format.
pub const SECTOR_SIZE: u64 = 512;

/// [`SECTOR_SIZE`] as a buffer length.
pub const SECTOR_LEN: usize = 512;

/// No position or length is larger: 2^53 sectors (4 EiB), so that bytes, and the sum of any two
/// lengths in bytes, fit an `i64`.
pub const SECTORS_MAX: u64 = 1 << 53;

/// A position on a disk: the index of a 512-byte sector, counted from 0.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sector(u64);

/// A length: a number of 512-byte sectors.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SectorCount(u64);

/// A run of sectors, `start` included, `end` not.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SectorRange {
    start: Sector,
    end: Sector,
}

impl Sector {
    /// The first sector of a disk.
    pub const ZERO: Self = Self(0);

    /// The sector with this index, or `None` above [`SECTORS_MAX`].
    pub const fn new(index: u64) -> Option<Self> {
        if index <= SECTORS_MAX { Some(Self(index)) } else { None }
    }

    /// The sector with this index; every 32-bit index is valid.
    pub const fn from_u32(index: u32) -> Self {
        // A widening that `From` cannot do in a const fn.
        Self(index as u64)
    }

    /// The sector that holds this byte.
    pub const fn containing_byte(offset: u64) -> Option<Self> {
        Self::new(offset / SECTOR_SIZE)
    }

    /// The index.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Offset of the sector's first byte from the start of the disk.
    pub const fn byte_offset(self) -> u64 {
        self.0 * SECTOR_SIZE
    }

    /// This position moved forward, or `None` above [`SECTORS_MAX`].
    pub const fn checked_add(self, count: SectorCount) -> Option<Self> {
        Self::new(self.0 + count.0)
    }

    /// This position moved back, or `None` before sector 0.
    pub const fn checked_sub(self, count: SectorCount) -> Option<Self> {
        match self.0.checked_sub(count.0) {
            Some(index) => Some(Self(index)),
            None => None,
        }
    }

    /// Sectors from `earlier` to here, or `None` when `earlier` is later.
    pub const fn distance_from(self, earlier: Self) -> Option<SectorCount> {
        match self.0.checked_sub(earlier.0) {
            Some(count) => Some(SectorCount(count)),
            None => None,
        }
    }
}

impl SectorCount {
    /// No sectors.
    pub const ZERO: Self = Self(0);

    /// This many sectors, or `None` above [`SECTORS_MAX`].
    pub const fn new(count: u64) -> Option<Self> {
        if count <= SECTORS_MAX { Some(Self(count)) } else { None }
    }

    /// This many sectors; every 32-bit count is valid.
    pub const fn from_u32(count: u32) -> Self {
        Self(Sector::from_u32(count).0)
    }

    /// Whole sectors in this many bytes; a rest is dropped.
    pub const fn whole_in_bytes(bytes: u64) -> Option<Self> {
        Self::new(bytes / SECTOR_SIZE)
    }

    /// Sectors needed to hold this many bytes.
    pub const fn holding_bytes(bytes: u64) -> Option<Self> {
        Self::new(bytes.div_ceil(SECTOR_SIZE))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The length in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 * SECTOR_SIZE
    }

    /// The sum, or `None` above [`SECTORS_MAX`].
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0)
    }

    /// The difference, or `None` when `other` is larger.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(count) => Some(Self(count)),
            None => None,
        }
    }

    /// True for no sectors.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl SectorRange {
    /// From `start` up to, not including, `end`; `None` when `end` is before `start`.
    pub const fn new(start: Sector, end: Sector) -> Option<Self> {
        if start.0 <= end.0 { Some(Self { start, end }) } else { None }
    }

    /// `count` sectors from `start`; `None` when that ends above [`SECTORS_MAX`].
    pub const fn with_count(start: Sector, count: SectorCount) -> Option<Self> {
        match start.checked_add(count) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// All of a disk of this size.
    pub const fn whole(size: SectorCount) -> Self {
        Self { start: Sector::ZERO, end: Sector(size.0) }
    }

    /// The first sector.
    pub const fn start(self) -> Sector {
        self.start
    }

    /// The sector after the last.
    pub const fn end(self) -> Sector {
        self.end
    }

    /// The length.
    pub const fn count(self) -> SectorCount {
        SectorCount(self.end.0 - self.start.0)
    }

    /// Offset of the first byte from the start of the disk.
    pub const fn byte_offset(self) -> u64 {
        self.start.byte_offset()
    }

    /// Offset just past the last byte.
    pub const fn byte_end(self) -> u64 {
        self.end.byte_offset()
    }

    /// The length in bytes.
    pub const fn byte_len(self) -> u64 {
        self.count().bytes()
    }

    /// True for a range of no sectors.
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }

    /// True when `sector` lies inside.
    pub const fn contains(self, sector: Sector) -> bool {
        self.start.0 <= sector.0 && sector.0 < self.end.0
    }

    /// True when all of `other` lies inside.
    pub const fn contains_range(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// What the two have in common; `None` when that is nothing.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }

    /// The first `count` sectors and the rest; all and nothing when it is not that long.
    pub fn split_at(self, count: SectorCount) -> (Self, Self) {
        let middle = Sector(self.start.0 + count.0.min(self.count().0));
        (Self { start: self.start, end: middle }, Self { start: middle, end: self.end })
    }

    /// The range moved forward; `None` when that ends above [`SECTORS_MAX`].
    pub const fn checked_shift(self, by: SectorCount) -> Option<Self> {
        match (self.start.checked_add(by), self.end.checked_add(by)) {
            (Some(start), Some(end)) => Some(Self { start, end }),
            _ => None,
        }
    }

    /// The range as seen from `origin`; `None` when it starts before it.
    pub const fn relative_to(self, origin: Sector) -> Option<Self> {
        let by = SectorCount(origin.0);
        match (self.start.checked_sub(by), self.end.checked_sub(by)) {
            (Some(start), Some(end)) => Some(Self { start, end }),
            _ => None,
        }
    }

    /// The part of the range before `end`; nothing when it starts later.
    pub fn until(self, end: Sector) -> Self {
        Self { start: self.start, end: end.clamp(self.start, self.end) }
    }

    /// The part of the range from `start` on; nothing when it ends earlier.
    pub fn after(self, start: Sector) -> Self {
        Self { start: start.clamp(self.start, self.end), end: self.end }
    }

    /// The range with its end moved forward to `end`; unchanged when that is no longer.
    pub fn extended_to(self, end: Sector) -> Self {
        Self { start: self.start, end: self.end.max(end) }
    }

    /// The range up to the next line of a grid of `cell` sectors, or up to its end.
    pub fn up_to_grid(self, cell: SectorCount) -> Self {
        let cell = cell.0.max(1);
        let line = self.start.0 - self.start.0 % cell + cell; // at most twice SECTORS_MAX
        self.until(Sector(line))
    }

    /// The whole cells of a grid of `cell` sectors that lie inside; `None` when there is none.
    pub fn whole_cells(self, cell: SectorCount) -> Option<Self> {
        let cell = cell.0.max(1);
        let start = Sector(self.start.0.div_ceil(cell).saturating_mul(cell));
        let end = Sector(self.end.0 - self.end.0 % cell);
        (start < end).then_some(Self { start, end })
    }

    /// The smallest range on a grid of `cell` sectors that holds this one, cut at `limit`.
    pub fn widen_to_grid(self, cell: SectorCount, limit: Sector) -> Self {
        let cell = cell.0.max(1);
        let start = Sector(self.start.0 - self.start.0 % cell);
        let end = Sector(self.end.0.div_ceil(cell).saturating_mul(cell)).min(limit).max(self.end);
        Self { start, end }
    }
}

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SectorCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Shows as the first and the last sector, `2048-4095`.
impl fmt::Display for SectorRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            write!(f, "{} (empty)", self.start)
        } else {
            write!(f, "{}-{}", self.start, self.end.0 - 1)
        }
    }
}

/// Bytes as people read them: `1.5 GiB`. Shows, never parses.
#[derive(Clone, Copy, Debug)]
pub struct HumanBytes(pub u64);

impl fmt::Display for HumanBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut tenths = u128::from(self.0) * 10 / 1024;
        for (i, unit) in UNITS.iter().enumerate() {
            if tenths < 10240 || i + 1 == UNITS.len() {
                return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
            }
            tenths /= 1024;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, end: u32) -> SectorRange {
        SectorRange::new(Sector::from_u32(start), Sector::from_u32(end)).unwrap()
    }

    #[test]
    fn nothing_is_above_the_limit() {
        assert_eq!(Sector::new(SECTORS_MAX).unwrap().get(), SECTORS_MAX);
        assert_eq!(Sector::new(SECTORS_MAX + 1), None);
        let last = Sector::new(SECTORS_MAX).unwrap();
        assert_eq!(last.checked_add(SectorCount::from_u32(1)), None);
        assert!(i64::try_from(last.byte_offset()).is_ok());
    }

    #[test]
    fn ranges_are_half_open() {
        let r = range(10, 20);
        assert!(r.contains(Sector::from_u32(10)));
        assert!(!r.contains(Sector::from_u32(20)));
        assert_eq!(r.count().get(), 10);
        assert_eq!(r.to_string(), "10-19");
        assert_eq!(SectorRange::new(Sector::from_u32(2), Sector::from_u32(1)), None);
        assert_eq!(r.intersection(range(20, 30)), None);
        assert_eq!(r.intersection(range(15, 30)), Some(range(15, 20)));
        assert_eq!(r.split_at(SectorCount::from_u32(3)), (range(10, 13), range(13, 20)));
        assert_eq!(r.split_at(SectorCount::from_u32(99)), (r, range(20, 20)));
    }

    #[test]
    fn widening_stays_on_the_disk() {
        let cell = SectorCount::from_u32(8);
        assert_eq!(range(9, 10).widen_to_grid(cell, Sector::from_u32(100)), range(8, 16));
        assert_eq!(range(9, 10).widen_to_grid(cell, Sector::from_u32(12)), range(8, 12));
        assert_eq!(range(9, 30).up_to_grid(cell), range(9, 16));
        assert_eq!(range(9, 12).up_to_grid(cell), range(9, 12));
        assert_eq!(range(9, 31).whole_cells(cell), Some(range(16, 24)));
        assert_eq!(range(9, 23).whole_cells(cell), None);
        assert_eq!(range(9, 20).until(Sector::from_u32(4)), range(9, 9));
        assert_eq!(range(9, 20).after(Sector::from_u32(12)), range(12, 20));
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(HumanBytes(0).to_string(), "0 B");
        assert_eq!(HumanBytes(1536).to_string(), "1.5 KiB");
        assert_eq!(HumanBytes(8 << 30).to_string(), "8.0 GiB");
        assert_eq!(HumanBytes(u64::MAX).to_string(), "15.9 EiB");
    }
}
