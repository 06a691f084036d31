//! `$LogFile`: whether it holds work that is not done yet.
//!
//! What it owns: its two restart pages. What it never does: replay the log.

use super::boot::Geometry;
use super::mft::Mapped;
use super::{fixup, raw};
use crate::disk::ReadDisk;
use crate::fs::ProbeOptions;
use crate::fs::refusal::Refusal;
use zerocopy::FromBytes;

/// Where the two restart pages may stand: behind each other, in pages of the system that made them.
const PAGE_BYTES_MAX: u64 = 64 << 10;

/// `client_in_use` when nobody has the log open.
const NO_CLIENT: u16 = 0xFFFF;

/// `flags` of a restart area: unmounted cleanly.
const VOLUME_IS_CLEAN: u16 = 2;

/// What a restart page says.
#[derive(Clone, Copy, Debug)]
struct Restart {
    lsn: u64,
    major: u16,
    clean: bool,
}

/// Refuses a volume whose log holds work.
pub(super) fn check(
    disk: &dyn ReadDisk,
    geometry: &Geometry,
    log: &Mapped,
    options: ProbeOptions,
) -> Result<(), Refusal> {
    let len = log.bytes.min(2 * PAGE_BYTES_MAX);
    let mut start = vec![0; usize::try_from(len).unwrap_or_default()];
    if !log.runs.read(disk, geometry, &mut start, 0)? {
        return Err(Refusal::corrupt("$LogFile", 0, "all of its start", "less"));
    }
    // What mkntfs makes, and ntfs-3g after it replayed the log.
    if start.iter().all(|byte| *byte == 0xFF) {
        return Ok(());
    }
    let Some(restart) = newest(&start) else {
        return options.refuse_unclean(
            "its $LogFile has no whole restart page: run chkdsk /f on it in Windows and save again",
        );
    };
    if restart.clean && restart.major < 2 {
        return Ok(());
    }
    options.refuse_unclean(if restart.major >= 2 && restart.clean {
        "its $LogFile is that of a Windows with fast startup, which leaves part of the volume in \
         memory: boot Windows and shut it down with shutdown /s /t 0"
    } else {
        "its $LogFile holds work that is not done yet, or it is mounted now: boot Windows and shut \
         it down with shutdown /s /t 0, or run ntfsfix on it, and save again"
    })
}

/// The newer of the two restart pages, or the whole one.
fn newest(start: &[u8]) -> Option<Restart> {
    let first = restart(start);
    // The first tells where the second is; else try the sizes of pages there are.
    let seconds = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
    let second = seconds.iter().find_map(|at| restart(start.get(*at..)?));
    [first, second].into_iter().flatten().max_by_key(|restart| restart.lsn)
}

fn restart(page: &[u8]) -> Option<Restart> {
    let (header, _) = raw::RestartPage::ref_from_prefix(page).ok()?;
    let len = usize::try_from(header.system_page_bytes.get()).ok()?;
    let whole = len.is_power_of_two() && len >= 512;
    let mut page = page.get(..len).filter(|_| whole)?.to_vec();
    // CHKD: chkdsk has been at it and left its mark.
    fixup::restore(&mut page, &[*b"RSTR", *b"CHKD"]).ok()?;
    let (header, _) = raw::RestartPage::ref_from_prefix(&page).ok()?;
    let area = page.get(usize::from(header.area_offset.get())..)?;
    let (area, _) = raw::RestartArea::ref_from_prefix(area).ok()?;
    Some(Restart {
        lsn: area.current_lsn.get(),
        major: header.major.get(),
        clean: area.client_in_use.get() == NO_CLIENT || area.flags.get() & VOLUME_IS_CLEAN != 0,
    })
}
