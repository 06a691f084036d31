//! Waiting until an exact moment, for a thread that paces.
//!
//! What it owns: the trade between sleeping, which is cheap and late, and spinning, which is exact
//! and hot. What it never does: decide when anything should happen.

use std::hint;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// A gap longer than this is slept through, a shorter one is spun. A sleep with the least timer
/// slack wakes 28 us late (median; 200-280 us in the worst hundredth), so that sleeping through a
/// shorter gap would miss its end too often.
pub const SLEEP_GAP_MIN: Duration = Duration::from_micros(150);

/// A sleep is cut this much short and the rest spun: about twice the median lateness.
pub const SLEEP_MARGIN: Duration = Duration::from_micros(60);

/// Asks the kernel to wake the calling thread as exactly as it can: a timer slack of 1 ns instead
/// of 50 us. Call it once, in the thread that paces.
///
/// # Errors
/// What the system said; harmless, sleeps are then 50 us later.
pub fn tighten_timer_slack() -> io::Result<()> {
    nix::sys::prctl::set_timerslack(1).map_err(io::Error::from)
}

/// Returns at `deadline`, not before; at once when it has passed. Costs at most
/// [`SLEEP_GAP_MIN`] of processor time.
pub fn sleep_until(deadline: Instant) {
    let gap = deadline.saturating_duration_since(Instant::now());
    if gap > SLEEP_GAP_MIN {
        thread::sleep(gap.saturating_sub(SLEEP_MARGIN));
    }
    while Instant::now() < deadline {
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_returns_early_for_short_long_and_past_deadlines() {
        tighten_timer_slack().unwrap();
        for gap_us in [0, 1, 50, 149, 150, 151, 300, 2000] {
            let deadline = Instant::now() + Duration::from_micros(gap_us);
            sleep_until(deadline);
            assert!(Instant::now() >= deadline, "{gap_us} us");
        }
        sleep_until(Instant::now());
    }

    #[test]
    fn slack_is_set_for_this_thread_only() {
        let before = nix::sys::prctl::get_timerslack().unwrap();
        let tightened = thread::spawn(|| {
            tighten_timer_slack().unwrap();
            nix::sys::prctl::get_timerslack().unwrap()
        });
        assert_eq!(tightened.join().unwrap(), 1);
        assert_eq!(nix::sys::prctl::get_timerslack().unwrap(), before);
    }
}
