//! The end: flushing everything, then reboot, power off, or another kernel.
//!
//! What it owns: the order. What it never does: return after it worked.

use crate::disks::Roots;
use crate::kexec::{self, KexecError};
use crate::machine::Finish;
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;
use std::thread::sleep;
use std::time::Duration;
use thiserror::Error;

/// Why the machine goes on as it is.
#[derive(Debug, Error)]
pub enum FinishError {
    /// The kernel does not do it.
    #[error("the kernel refuses to {what}: {source}")]
    Refused {
        /// What.
        what: &'static str,
        /// What it said.
        source: nix::Error,
    },
    /// There is nothing to start, or it cannot be.
    #[error("cannot start the system on the disk: {0}")]
    Kexec(#[from] KexecError),
}

/// What was said last has to get through init's pipe and a serial line before the kernel stops: the reason of a reboot
/// is what people look for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Flushes all disks and ends this system.
///
/// # Errors
/// When the kernel refuses, or there is no system on the disk that can be started.
pub fn finish(finish: &Finish, roots: &Roots) -> Result<(), FinishError> {
    let (what, mode) = match finish {
        Finish::Reboot => ("reboot", RebootMode::RB_AUTOBOOT),
        Finish::PowerOff => ("power off", RebootMode::RB_POWER_OFF),
        Finish::Kexec(disk) => {
            kexec::load(disk, roots)?;
            ("start the loaded kernel", RebootMode::RB_KEXEC)
        }
    };
    sync();
    sleep(LAST_WORDS);
    // Ok is never: the type has no value.
    reboot(mode).map(drop).map_err(|source| FinishError::Refused { what, source })
}
