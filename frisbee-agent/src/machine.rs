//! What the agent does to the machine, as a trait: tests have a machine of their own.

use crate::disks::{Disk, Roots, inventory};
use crate::finish::{self, FinishError};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How the agent ends its work for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finish {
    /// Start again.
    Reboot,
    /// Switch off.
    PowerOff,
    /// Start the system on this disk without going through the firmware.
    Kexec(Disk),
}

/// The machine.
pub trait Machine: Send + Sync {
    /// Its disks.
    ///
    /// # Errors
    /// When the system does not tell.
    fn disks(&self) -> io::Result<Vec<Disk>>;

    /// Where a link below `/dev/disk` leads: a kernel's name.
    fn link(&self, link: &str) -> Option<String>;

    /// Ends everything. Returns only when that failed, or in a test.
    ///
    /// # Errors
    /// When the system refuses.
    fn finish(&self, finish: &Finish) -> Result<(), FinishError>;

    /// True if the orders of the kernel's command line were carried out since the machine started: an
    /// agent that is started again does not repeat them.
    fn has_obeyed(&self) -> bool {
        false
    }

    /// The orders of the kernel's command line are carried out.
    ///
    /// # Errors
    /// When that cannot be noted.
    fn note_obeyed(&self) -> io::Result<()> {
        Ok(())
    }

    /// Where it tells about memory.
    fn roots(&self) -> &Roots;

    /// How long is waited for a disk to appear.
    fn disk_wait(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// How long no disk may have appeared before "the only disk" is one.
    fn settle(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// The machine that this program runs on.
#[derive(Clone, Debug, Default)]
pub struct ThisMachine {
    /// Where it says what it has.
    pub roots: Roots,
    /// A file that is there when the kernel's orders are carried out, and gone after a restart.
    pub mark: Option<PathBuf>,
}

impl Machine for ThisMachine {
    fn has_obeyed(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.exists())
    }

    fn note_obeyed(&self) -> io::Result<()> {
        let Some(mark) = &self.mark else { return Ok(()) };
        mark.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(mark, "")
    }

    fn disks(&self) -> io::Result<Vec<Disk>> {
        inventory(&self.roots)
    }

    fn link(&self, link: &str) -> Option<String> {
        let disk = fs::canonicalize(self.roots.dev.join("disk").join(link)).ok()?;
        let name = disk.strip_prefix(&self.roots.dev).ok()?;
        Some(name.to_str()?.to_owned())
    }

    fn finish(&self, finish: &Finish) -> Result<(), FinishError> {
        finish::finish(finish, &self.roots)
    }

    fn roots(&self) -> &Roots {
        &self.roots
    }
}

/// The same, but it does not end: for trials on a machine that is in use.
#[derive(Clone, Debug)]
pub struct StayingMachine(pub ThisMachine);

impl Machine for StayingMachine {
    fn disks(&self) -> io::Result<Vec<Disk>> {
        self.0.disks()
    }

    fn link(&self, link: &str) -> Option<String> {
        self.0.link(link)
    }

    fn finish(&self, _: &Finish) -> Result<(), FinishError> {
        Ok(())
    }

    fn roots(&self) -> &Roots {
        self.0.roots()
    }
}
