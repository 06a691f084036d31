//! The flags of a superblock, and whether it is at rest.
//!
//! What it owns: what each flag means, by the names of FreeBSD and NetBSD. What it never does:
//! replay a journal.

use crate::fs::ProbeOptions;
use crate::fs::refusal::Refusal;

const UNCLEAN: u32 = 0x001;
const DOSOFTDEP: u32 = 0x002;
const NEEDSFSCK: u32 = 0x004;
const SUJ: u32 = 0x008;
const ACLS: u32 = 0x010;
const MULTILABEL: u32 = 0x020;
const GJOURNAL: u32 = 0x040;
/// `FS_FLAGS_UPDATED`: a UFS1 whose flags and sizes stand where UFS2 has them.
pub(super) const FLAGS_UPDATED: u32 = 0x080;
/// FreeBSD: `FS_NFS4ACLS`. NetBSD: `FS_DOWAPBL`, a journal of blocks.
const NFS4ACLS_OR_WAPBL: u32 = 0x100;
/// FreeBSD: `FS_METACKHASH`. NetBSD: `FS_DOQUOTA2`.
pub(super) const METACKHASH: u32 = 0x200;
const TRIM: u32 = 0x400;
/// `FS_SUPPORTED`: the flags that systems use; those above were reserved for other formats.
const SUPPORTED: u32 = 0x00FF_FFFF;
/// `FS_INDEXDIRS`: concerns directories only.
const INDEXDIRS: u32 = 0x0100_0000;

/// `fs_clean` after a clean unmount (`FS_ISCLEAN`).
const IS_CLEAN: u8 = 1;

/// What a superblock says of the state of its filesystem.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) flags: u32,
    pub(super) clean: u8,
    /// Whether the field in which NetBSD has the version of its journal is not zero.
    pub(super) maybe_journal: bool,
}

impl State {
    /// The features that are set, in the words of `tunefs`.
    pub(super) fn names(self) -> Vec<String> {
        let wapbl = self.has_wapbl();
        [
            (self.flags & DOSOFTDEP != 0, "soft-updates"),
            (self.flags & SUJ != 0, "soft-updates-journal"),
            (self.flags & GJOURNAL != 0, "gjournal"),
            (self.flags & ACLS != 0, "posix1e-acls"),
            (self.flags & NFS4ACLS_OR_WAPBL != 0 && !wapbl, "nfsv4-acls"),
            (wapbl, "wapbl"),
            (self.flags & MULTILABEL != 0, "multilabel"),
            (self.flags & TRIM != 0, "trim"),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| name.to_owned())
        .collect()
    }

    /// NetBSD clears the flag when it unmounts, so what is set then is a journal with content.
    fn has_wapbl(self) -> bool {
        self.flags & NFS4ACLS_OR_WAPBL != 0 && self.maybe_journal
    }

    /// Refuses a filesystem that is not at rest.
    pub(super) fn check(self, options: ProbeOptions) -> Result<(), Refusal> {
        let unknown = self.flags & !SUPPORTED & !INDEXDIRS;
        if unknown != 0 {
            return Err(Refusal::unsupported(format!(
                "this version does not know its flags {unknown:#x}"
            )));
        }
        if self.clean != IS_CLEAN || self.flags & (UNCLEAN | NEEDSFSCK) != 0 {
            options.refuse_unclean(
                "it was not unmounted cleanly, or is mounted now: unmount it, or run its fsck \
                 (fsck_ffs), and save again",
            )?;
        }
        if self.flags & GJOURNAL != 0 {
            options.refuse_unclean(
                "its changes go through a gjournal, which may hold some that are not on the \
                 filesystem yet: turn the journal off (tunefs -J disable) and save again",
            )?;
        }
        if self.has_wapbl() {
            options.refuse_unclean(
                "its journal (WAPBL) may hold changes that are not on the filesystem yet: mount \
                 and unmount it once, and save again",
            )?;
        }
        Ok(())
    }
}
