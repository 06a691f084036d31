//! What the user may ask of the readers.
//!
//! What it owns: the options and what they mean. What it never does: weaken a check that finds
//! structures in contradiction; what is corrupt is kept whole whatever was asked.

use super::refusal::Refusal;

/// How [`probe_with`](super::probe_with) judges. The default is the careful way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProbeOptions {
    /// Trust the map of a filesystem that is not at rest: dirty, hibernated, with work in its log.
    pub force: bool,
    /// Call the content of `pagefile.sys`, `swapfile.sys` and `hiberfil.sys` in the root directory
    /// of an NTFS volume free; the files stay, their content is lost. The same of the swap partitions
    /// of a BSD disklabel.
    pub leave_out_page_files: bool,
}

impl ProbeOptions {
    /// Refuses a filesystem that is not at rest, unless told to trust it all the same; `reason`
    /// completes "kept whole: ..." and says what to do about it.
    pub(crate) fn refuse_unclean(self, reason: impl Into<String>) -> Result<(), Refusal> {
        if self.force { Ok(()) } else { Err(Refusal::unsupported(reason)) }
    }
}
