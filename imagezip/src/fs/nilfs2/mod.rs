//! NILFS2.
//!
//! What it owns: the allocation map of filesystems that were unmounted cleanly, with blocks of
//! 1024 bytes to 64 KiB. What it never does: look for logs behind the last checkpoint, or at files
//! of users.
//!
//! The filesystem is a log in segments, and a segment is clean or not as a whole. Which are clean
//! says the segment usage file. Its inode is in the super root of the last log, which the
//! superblock names; its blocks are virtual, and another metadata file, the DAT, says where they
//! are. All segments that are not clean are kept, whatever checkpoint or snapshot needs them. So
//! are the segment of the last log and the one that comes next.
//!
//! Read in this order: `raw`, `superblock`, `log`, `mapping`.

mod log;
mod mapping;
mod raw;
mod superblock;

use crate::disk::{DiskError, ReadDisk};
use crate::fs::Filesystem;
use crate::fs::areas::{part, sectors};
use crate::fs::identity::{label_text, uuid_text};
use crate::fs::refusal::{Refusal, settle};
use crate::sector_set::{SectorSet, SectorSetBuilder};
use crate::units::SectorCount;
use log::LastLog;
use mapping::Files;
use superblock::{Geometry, Superblock};
use zerocopy::FromBytes;

/// Recognises NILFS2 and reads the allocation map.
///
/// # Errors
/// When the disk cannot be read.
pub fn probe(disk: &dyn ReadDisk) -> Result<Option<Filesystem>, DiskError> {
    let Some(superblock) = Superblock::read(disk)? else {
        return Ok(None);
    };
    let raw = superblock.raw();
    Ok(Some(Filesystem {
        name: "nilfs2",
        label: label_text(&raw.s_volume_name),
        uuid: uuid_text(raw.s_uuid),
        features: superblock.features(),
        size: SectorCount::whole_in_bytes(raw.s_dev_size.get()).unwrap_or_default(),
        volumes: Vec::new(),
        allocation: settle(allocated(disk, &superblock))?,
    }))
}

fn allocated(disk: &dyn ReadDisk, superblock: &Superblock) -> Result<SectorSet, Refusal> {
    let g = superblock.geometry(disk)?;
    let last = log::read_last(disk, &g)?;
    let files = Files::new(disk, &g, last.dat.clone());
    let usage = Usage { g: &g, files: &files, last: &last };
    usage.allocated()
}

/// The segment usage file.
struct Usage<'a> {
    g: &'a Geometry,
    files: &'a Files<'a>,
    last: &'a LastLog,
}

impl Usage<'_> {
    fn allocated(&self) -> Result<SectorSet, Refusal> {
        let g = self.g;
        let mut builder = SectorSetBuilder::new();
        let blocks = |from: u64, to: u64| sectors(from * g.block_bytes, to * g.block_bytes);
        builder.push(blocks(0, g.first_data_block.max(1)));
        // The superblock, also where blocks are so small that it has one of its own.
        builder.push(sectors(0, 2048));
        let per_block = g.block_bytes / g.usage_bytes;
        // The header takes the room of some entries.
        let first_entry = 24u64.div_ceil(g.usage_bytes);
        let header = self.files.block(&self.last.sufile, 0)?;
        let header = header.as_deref().map(|block| raw::SufileHeader::read_from_prefix(block));
        let Some(Ok((header, _))) = header else {
            return Err(self.corrupt("a header", "none"));
        };
        let (mut clean, mut dirty) = (0, 0);
        let mut segment = 0;
        while segment < g.segments {
            let entry = segment + first_entry;
            let block = self.files.block(&self.last.sufile, entry / per_block)?;
            let in_block = (per_block - entry % per_block).min(g.segments - segment);
            for number in segment..segment + in_block {
                let at = (number + first_entry) % per_block * g.usage_bytes;
                // A hole in the file stands for clean segments.
                let bytes = block.as_ref().map_or(&[0; 16][..], |block| part(block, at, 16));
                let flags = raw::SegmentUsage::read_from_bytes(bytes).map(|u| u.su_flags.get());
                let Ok(flags) = flags else { return Err(self.corrupt("16 bytes", "less")) };
                match flags {
                    0 => clean += 1,
                    _ if flags & 2 != 0 => dirty += 1,
                    _ => {}
                }
                if flags != 0 || self.last.segments.contains(&number) {
                    let (from, to) = g.segment(number);
                    builder.push(blocks(from, to));
                }
            }
            segment += in_block;
        }
        let said = (header.sh_ncleansegs.get(), header.sh_ndirtysegs.get());
        if said != (clean, dirty) {
            let expected = format!("{} clean and {} dirty, as its header says", said.0, said.1);
            return Err(self.corrupt(&expected, &format!("{clean} and {dirty}")));
        }
        // Behind the last segment: a rest, and the second superblock.
        builder.push(sectors(g.end_block() * g.block_bytes, g.bytes));
        let second = superblock::second_offset(g.bytes);
        let second = SectorSet::from_range(sectors(second, second + 1024));
        Ok(builder.finish().union(&second))
    }

    fn corrupt(&self, expected: &str, found: &str) -> Refusal {
        let at = self.g.last_log * self.g.block_bytes;
        Refusal::corrupt("segment usage file", at, expected, found)
    }
}
