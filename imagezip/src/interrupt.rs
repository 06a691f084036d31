//! Stopping on a signal without leaving half a file behind.
//!
//! What it owns: the reaction to SIGINT, SIGTERM and SIGHUP, and the list of temporary files that
//! exist. The first signal raises a flag that pipelines look at; the second removes the temporary
//! files and ends the program at once. What it never does: work inside a signal handler; an
//! ordinary thread waits for signals.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Temporary files to remove when the program ends early. A global, because a signal is.
static TEMPORARY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Says whether the work shall stop. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    /// The first signal that came; 0 for none.
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    /// One that no signal sets, for tests and for callers with their own way to stop.
    pub fn never() -> Self {
        Self::default()
    }

    /// True once the work shall stop. Cheap: ask for every piece of work.
    pub fn is_set(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0
    }

    /// Asks the work to stop, as SIGTERM does.
    pub fn set(&self) {
        self.note(SIGTERM);
    }

    fn note(&self, signal: i32) {
        let _ = self.signal.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends the program the way the signal would have, so that a shell sees it; returns when no
    /// signal came. Call it last, when everything is cleaned up.
    pub fn finish(&self) {
        let signal = self.signal.load(Ordering::Relaxed);
        if signal != 0 {
            end(signal);
        }
    }
}

/// Reacts to SIGINT, SIGTERM and SIGHUP from now on, except those the program was started with
/// ignored (`nohup`).
///
/// # Errors
/// When the system refuses a handler or a thread.
pub fn install() -> io::Result<Interrupt> {
    let ignored = ignored_signals();
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored(*signal));
    let mut signals = Signals::new(wanted)?;
    let interrupt = Interrupt::default();
    let shared = interrupt.clone();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if shared.is_set() {
                end(signal);
            }
            shared.note(signal);
        }
    })?;
    Ok(interrupt)
}

fn end(signal: i32) {
    // Kept to the end, so that no other thread creates one more.
    let temporary = temporary();
    for path in &*temporary {
        // It may be gone already; there is nothing else to do about it.
        let _ = std::fs::remove_file(path);
    }
    let _ = emulate_default_handler(signal);
    // Not reached: the default of these signals ends the program.
    std::process::exit(128_i32.saturating_add(signal));
}

fn temporary() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates a file that is removed when a signal ends the program. No signal comes between.
pub(crate) fn create_registered<T>(
    path: &Path,
    create: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let mut temporary = temporary();
    let created = create()?;
    temporary.insert(path.into());
    Ok(created)
}

/// Leaves `path` alone again. `change` runs before, while no signal can end the program, so that
/// a name is never removed after it has got another meaning.
pub(crate) fn unregister_after<T>(path: &Path, change: impl FnOnce() -> T) -> T {
    let mut temporary = temporary();
    let result = change();
    temporary.remove(path);
    result
}

/// Removes `path` if it is still registered.
pub(crate) fn remove_registered(path: &Path) {
    let mut temporary = temporary();
    if temporary.remove(path) {
        // Nothing can be done about a file that will not go.
        let _ = std::fs::remove_file(path);
    }
}

/// Tells which signals this program was started with ignored.
fn ignored_signals() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = parse_ignored(&status).unwrap_or(0);
    move |signal| {
        u32::try_from(signal - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
    }
}

/// The `SigIgn` mask of `/proc/self/status`: bit 0 is signal 1.
fn parse_ignored(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_kept() {
        let interrupt = Interrupt::never();
        interrupt.finish();
        assert!(!interrupt.is_set());
        interrupt.clone().note(SIGINT);
        interrupt.set();
        assert!(interrupt.is_set());
        assert_eq!(interrupt.signal.load(Ordering::Relaxed), SIGINT);
    }

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        assert_eq!(parse_ignored("Name:\tx\nSigIgn:\t0000000000000001\n"), Some(1));
        assert_eq!(parse_ignored("Name:\tx\n"), None);
    }
}
