//! A disk that the system has: a block device or a regular file.
//!
//! What it owns: positional reads and writes, complete or with the exact place of the failure, and
//! the choice between the page cache and IO past it. What it never does: move a file position that
//! anybody relies on, or open anything by name after [`open`](super::open) has.

use super::aligned::{ALIGNMENT, AlignedBuf, is_aligned};
use super::positional::{
    Failure, is_invalid, is_unsupported, read_all, read_some, read_up_to, retry, retry_errno,
    u64_len, write_all,
};
use super::{DiskError, Operation, ReadDisk, WriteDisk, sys};
use crate::units::{SECTOR_SIZE, Sector, SectorRange};
use rustix::fs::{Advice, FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Bytes bounced or zeroed in one piece.
const PIECE_LEN: usize = 1 << 20;

/// How often, and how far apart, the kernel is asked to read a partition table that is in use.
const REREAD_TRIES: u32 = 5;
const REREAD_PAUSE: Duration = Duration::from_millis(100);

/// What a [`FileDisk`] stands on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A disk, a partition, a loop device and so on.
    BlockDevice,
    /// An image of a disk, byte for byte.
    RegularFile,
}

/// A block device or a regular file.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    kind: Kind,
    /// Reads and writes through the page cache.
    file: File,
    /// The same, past the page cache, when that was asked for and is possible.
    direct: Option<File>,
    /// Past the page cache, opened when a read has failed, to find the exact sector.
    exact: OnceLock<Option<File>>,
    size_bytes: AtomicU64,
    logical_sector_bytes: u32,
    writable: bool,
    /// Buffers for direct IO of memory that is not aligned.
    spare: Mutex<Vec<AlignedBuf>>,
}

/// How a disk is read back past what the kernel remembers of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Uncached {
    /// Every read goes to the device (`O_DIRECT`).
    Direct,
    /// The kernel was asked to forget the disk's pages; it does so for all that nobody uses.
    CacheDropped,
}

/// The kernel did not read the partition table again; the data is written nevertheless.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: the kernel still uses the old partition table ({source}); \
     run `partprobe` or `blockdev --rereadpt`, or reboot, before using its partitions",
    path.display()
)]
pub struct RereadWarning {
    /// The disk.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl FileDisk {
    pub(super) fn new(
        path: PathBuf,
        kind: Kind,
        file: File,
        size_bytes: u64,
        logical_sector_bytes: u32,
        writable: bool,
    ) -> Self {
        Self {
            path,
            kind,
            file,
            direct: None,
            exact: OnceLock::new(),
            size_bytes: AtomicU64::new(size_bytes),
            logical_sector_bytes,
            writable,
            spare: Mutex::new(Vec::new()),
        }
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True when IO goes past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    pub(super) fn cached_file(&self) -> &File {
        &self.file
    }

    /// Goes past the page cache from now on, or says why not.
    pub(super) fn enable_direct(&mut self) {
        match self.reopen_direct(self.writable) {
            Ok(file) => self.direct = Some(file),
            Err(error) => tracing::warn!(
                "{}: direct IO is not possible here ({error}); using the page cache",
                self.path.display()
            ),
        }
    }

    /// The open file once more, past the page cache. Not by name: the name may mean another by now.
    fn reopen_direct(&self, writable: bool) -> io::Result<File> {
        let same = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(same, flags, Mode::empty())?);
        // Some filesystems take the flag and refuse the first read.
        let mut probe = AlignedBuf::zeroed(ALIGNMENT.max(self.sector_len()));
        read_some(&file, &mut probe, 0)?;
        Ok(file)
    }

    fn sector_len(&self) -> usize {
        usize::try_from(self.logical_sector_bytes).unwrap_or(ALIGNMENT)
    }

    /// Bytes from `offset` to the end of the disk, or to the end of `len`.
    fn check_span(&self, operation: Operation, offset: u64, len: u64) -> Result<(), DiskError> {
        let size = self.size_bytes();
        if offset.checked_add(len).is_some_and(|end| end <= size) {
            return Ok(());
        }
        let kind = match operation {
            Operation::Read => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::StorageFull,
        };
        let text = format!("{len} bytes wanted here, but the disk ends at byte {size}");
        Err(DiskError::new(operation, offset, io::Error::new(kind, text)))
    }

    fn take_spare(&self) -> AlignedBuf {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| AlignedBuf::zeroed(PIECE_LEN))
    }

    fn put_spare(&self, buf: AlignedBuf) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buf);
    }

    /// Reads past the page cache, through an aligned buffer where the caller's is not.
    /// The kernel is only asked for multiples of `grid` bytes.
    fn read_direct(
        &self,
        file: &File,
        buf: &mut [u8],
        offset: u64,
        grid: usize,
    ) -> Result<(), Failure> {
        if is_aligned(buf) && offset.is_multiple_of(u64_len(grid)) && buf.len().is_multiple_of(grid)
        {
            return read_all(file, buf, offset);
        }
        let mut bounce = self.take_spare();
        let result = read_bounced(file, buf, offset, grid, &mut bounce);
        self.put_spare(bounce);
        result
    }

    /// Reads what a large read could not: in halves down to one logical sector, past the page
    /// cache if possible, so that a page with one bad sector still gives its good ones.
    fn read_narrowing(&self, buf: &mut [u8], offset: u64) -> Result<(), Failure> {
        let exact = self.exact.get_or_init(|| self.reopen_direct(false).ok());
        let sector = self.sector_len();
        let sector_bytes = u64_len(sector);
        let (mut done, mut step) = (0, PIECE_LEN);
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + u64_len(done);
            // Steps end on the sector grid.
            let past = usize::try_from(at % sector_bytes).unwrap_or(0);
            let take = (step - past.min(step - 1)).min(rest.len());
            let (part, _) = rest.split_at_mut(take);
            let directly = exact.as_ref().map(|file| self.read_direct(file, part, at, sector));
            let read = match directly {
                Some(Err(failure)) if !is_invalid(&failure.source) => Err(failure),
                Some(Ok(())) => Ok(()),
                _ => read_all(&self.file, part, at),
            };
            match read {
                Ok(()) => done += take,
                Err(_) if step > sector => step = (step / 2).max(sector),
                Err(failure) => return Err(Failure::at(at - at % sector_bytes, failure.source)),
            }
        }
        Ok(())
    }

    /// Writes past the page cache what lies on whole pages, the edges through it. Edges never go
    /// directly: the cached half of a page, written back later, would undo the direct half.
    fn write_direct(&self, file: &File, data: &[u8], offset: u64) -> Result<(), Failure> {
        let grid = ALIGNMENT.max(self.sector_len()).max(rustix::param::page_size());
        let page = u64_len(grid);
        let head_bytes = (offset.next_multiple_of(page) - offset).min(u64_len(data.len()));
        let head_len = usize::try_from(head_bytes).unwrap_or(data.len());
        let (head, rest) = data.split_at(head_len);
        let (middle, tail) = rest.split_at(rest.len() - rest.len() % grid);
        let middle_at = offset + head_bytes;
        write_all(&self.file, head, offset)?;
        if is_aligned(middle) {
            write_all(file, middle, middle_at)?;
        } else {
            let mut bounce = self.take_spare();
            let mut at = middle_at;
            let result = middle.chunks(PIECE_LEN).try_for_each(|piece| {
                let part = bounce.get_mut(..piece.len()).unwrap_or_default();
                part.copy_from_slice(piece);
                write_all(file, part, at)?;
                at += u64_len(piece.len());
                Ok(())
            });
            self.put_spare(bounce);
            result?;
        }
        write_all(&self.file, tail, middle_at + u64_len(middle.len()))
    }

    fn write_zeros(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        let zeros = AlignedBuf::zeroed(PIECE_LEN.min(usize::try_from(len).unwrap_or(PIECE_LEN)));
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let take = usize::try_from(end - at).unwrap_or(PIECE_LEN).min(zeros.len());
            let piece = zeros.get(..take).unwrap_or_default();
            self.write_at(piece, at).map_err(|e| DiskError { operation: Operation::Zero, ..e })?;
            at += u64_len(take);
        }
        Ok(())
    }

    /// Asks the kernel to make bytes zero without sending zeros; false when it cannot.
    fn zero_in_kernel(&self, offset: u64, len: u64) -> Result<bool, DiskError> {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Hole first: a thin device or a sparse file gets its space back. On a block device it
        // fails when the hardware cannot; zeroing a range works always, but costs writes.
        let ways: &[FallocateFlags] = match self.kind {
            Kind::BlockDevice => &[punch, FallocateFlags::ZERO_RANGE],
            Kind::RegularFile => &[punch],
        };
        for way in ways {
            match retry(|| Ok(rustix::fs::fallocate(&self.file, *way, offset, len)?)) {
                Ok(()) => return Ok(true),
                Err(e) if is_unsupported(&e) => {}
                Err(e) => return Err(DiskError::new(Operation::Zero, offset, e)),
            }
        }
        Ok(false)
    }

    /// The part of a byte range that lies on whole logical sectors, as start and end.
    fn whole_sectors(&self, offset: u64, len: u64) -> Option<(u64, u64)> {
        let grid = u64::from(self.logical_sector_bytes);
        let (start, end) = (offset.next_multiple_of(grid), (offset + len) / grid * grid);
        (start < end).then_some((start, end))
    }

    /// Makes a regular file this long; what is new is a hole. A block device cannot change.
    ///
    /// # Errors
    /// When the filesystem refuses.
    pub fn set_len(&self, size_bytes: u64) -> Result<(), DiskError> {
        let failed = |e| DiskError::new(Operation::Write, size_bytes, e);
        if self.kind == Kind::BlockDevice {
            let text = "a block device cannot be made longer or shorter";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        self.file.set_len(size_bytes).map_err(failed)?;
        self.size_bytes.store(size_bytes, Ordering::Release);
        Ok(())
    }

    /// Flushes a range and asks the kernel to forget it, so that it is read from the device again.
    ///
    /// # Errors
    /// When the flush fails.
    pub fn drop_cache(&self, range: SectorRange) -> Result<(), DiskError> {
        if self.writable {
            self.sync()?;
        }
        let len = std::num::NonZeroU64::new(range.byte_len());
        if len.is_some() {
            rustix::fs::fadvise(&self.file, range.byte_offset(), len, Advice::DontNeed)
                .map_err(|e| DiskError::new(Operation::Sync, range.byte_offset(), e.into()))?;
        }
        Ok(())
    }

    /// The same disk for reading back what has been written, from the device and not from the
    /// cache; and how.
    ///
    /// # Errors
    /// When what was written cannot be flushed.
    pub fn reopen_uncached(&self) -> Result<(Self, Uncached), DiskError> {
        self.drop_cache(SectorRange::whole(self.sectors()))?;
        let failed = |e| DiskError::new(Operation::Read, 0, e);
        let (file, direct, how) = match self.reopen_direct(false) {
            Ok(direct) => (direct.try_clone(), Some(direct), Uncached::Direct),
            Err(_) => (self.file.try_clone(), None, Uncached::CacheDropped),
        };
        let file = file.map_err(failed)?;
        let (size, sector) = (self.size_bytes(), self.logical_sector_bytes);
        let mut disk = Self::new(self.path.clone(), self.kind, file, size, sector, false);
        disk.direct = direct;
        Ok((disk, how))
    }

    /// Makes the kernel read the partition table again; nothing to do for a regular file, or for a
    /// device that has no partitions.
    ///
    /// # Errors
    /// A warning rather than an error: the disk is written, but the kernel still sees the old
    /// partitions.
    pub fn reread_partition_table(&self) -> Result<(), RereadWarning> {
        if self.kind == Kind::RegularFile {
            return Ok(());
        }
        let mut tries_left = REREAD_TRIES;
        loop {
            tries_left -= 1;
            match sys::reread_partitions(&self.file) {
                // Programs that watch for new disks open partitions for a moment.
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && tries_left > 0 => {
                    std::thread::sleep(REREAD_PAUSE);
                }
                Err(e) if !is_invalid(&e) && !is_unsupported(&e) => {
                    return Err(RereadWarning { path: self.path.clone(), source: e });
                }
                _ => return Ok(()),
            }
        }
    }
}

impl ReadDisk for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    fn logical_sector_bytes(&self) -> u32 {
        self.logical_sector_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), DiskError> {
        self.check_span(Operation::Read, offset, u64_len(buf.len()))?;
        let grid = match self.kind {
            Kind::BlockDevice => self.sector_len(),
            // Its filesystem may want more than what the file calls a sector.
            Kind::RegularFile => ALIGNMENT.max(self.sector_len()),
        };
        let read = match &self.direct {
            Some(file) => self.read_direct(file, buf, offset, grid),
            None => read_all(&self.file, buf, offset),
        };
        read.or_else(|failure| {
            if failure.source.kind() == io::ErrorKind::UnexpectedEof {
                return Err(failure);
            }
            self.read_narrowing(buf, offset)
        })
        .map_err(|failure| failure.of(Operation::Read))
    }

    fn next_data(&self, range: SectorRange) -> Result<Option<SectorRange>, DiskError> {
        if range.is_empty() || self.kind == Kind::BlockDevice {
            return Ok((!range.is_empty()).then_some(range));
        }
        let failed = |offset, e: Errno| DiskError::new(Operation::SeekData, offset, e.into());
        let from = range.byte_offset();
        let data = match retry_errno(|| rustix::fs::seek(&self.file, SeekFrom::Data(from))) {
            Ok(data) => data,
            // No data from here to the end.
            Err(Errno::NXIO) => return Ok(None),
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOTTY) => return Ok(Some(range)),
            Err(e) => return Err(failed(from, e)),
        };
        let hole = match retry_errno(|| rustix::fs::seek(&self.file, SeekFrom::Hole(data))) {
            Ok(hole) => hole,
            // The file became shorter between the two calls.
            Err(Errno::NXIO) => data,
            Err(e) => return Err(failed(data, e)),
        };
        Ok(widen(data, hole.max(data.saturating_add(1))).and_then(|r| r.intersection(range)))
    }
}

impl WriteDisk for FileDisk {
    fn write_at(&self, data: &[u8], offset: u64) -> Result<(), DiskError> {
        self.check_span(Operation::Write, offset, u64_len(data.len()))?;
        match &self.direct {
            Some(file) => self.write_direct(file, data, offset),
            None => write_all(&self.file, data, offset),
        }
        .map_err(|failure| failure.of(Operation::Write))
    }

    fn zero(&self, range: SectorRange) -> Result<(), DiskError> {
        let (offset, len) = (range.byte_offset(), range.byte_len());
        self.check_span(Operation::Zero, offset, len)?;
        let (start, end) = match self.kind {
            Kind::RegularFile => (offset, offset + len),
            // The kernel zeroes only whole logical sectors of a device.
            Kind::BlockDevice => self.whole_sectors(offset, len).unwrap_or((offset, offset)),
        };
        if start == end || !self.zero_in_kernel(start, end - start)? {
            return self.write_zeros(offset, len);
        }
        self.write_zeros(offset, start - offset)?;
        self.write_zeros(end, offset + len - end)
    }

    fn discard(&self, range: SectorRange) -> Result<(), DiskError> {
        let (offset, len) = (range.byte_offset(), range.byte_len());
        self.check_span(Operation::Discard, offset, len)?;
        let Some((start, end)) = self.whole_sectors(offset, len) else { return Ok(()) };
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let done = retry(|| match self.kind {
            Kind::BlockDevice => sys::discard(&self.file, start, end - start),
            Kind::RegularFile => Ok(rustix::fs::fallocate(&self.file, punch, start, end - start)?),
        });
        match done {
            Err(e) if !is_unsupported(&e) => Err(DiskError::new(Operation::Discard, start, e)),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), DiskError> {
        retry(|| self.file.sync_all()).map_err(|e| DiskError::new(Operation::Sync, 0, e))
    }
}

/// Reads by way of `bounce`, in multiples of `grid` bytes.
fn read_bounced(
    file: &File,
    buf: &mut [u8],
    offset: u64,
    grid: usize,
    bounce: &mut AlignedBuf,
) -> Result<(), Failure> {
    let (mut rest, mut at) = (buf, offset);
    while !rest.is_empty() {
        let skip = usize::try_from(at % u64_len(grid)).unwrap_or(0);
        let want = (skip + rest.len()).min(bounce.len());
        let start = at - u64_len(skip);
        let padded = want.next_multiple_of(grid).min(bounce.len());
        let part = bounce.get_mut(..padded).unwrap_or_default();
        let got = read_up_to(file, part, start)?;
        let have = part.get(skip..want.min(got)).unwrap_or_default();
        if have.is_empty() {
            return Err(Failure::at(start + u64_len(got), io::ErrorKind::UnexpectedEof.into()));
        }
        let (filled, left) = rest.split_at_mut(have.len());
        filled.copy_from_slice(have);
        at += u64_len(have.len());
        rest = left;
    }
    Ok(())
}

/// The sectors that bytes `from..to` touch.
fn widen(from: u64, to: u64) -> Option<SectorRange> {
    SectorRange::new(Sector::new(from / SECTOR_SIZE)?, Sector::new(to.div_ceil(SECTOR_SIZE))?)
}

#[cfg(test)]
mod tests;
