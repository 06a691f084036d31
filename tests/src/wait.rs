//! Waiting for something to be so.

use std::time::{Duration, Instant};

/// What takes longer than this will never be; tests run on busy machines.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again this often.
const PERIOD: Duration = Duration::from_millis(2);

/// Returns as soon as `is_so` is.
///
/// # Panics
/// When it is not after two minutes, naming `what` was waited for.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "waited {PATIENCE:?} in vain: {what}");
        std::thread::sleep(PERIOD);
    }
}
