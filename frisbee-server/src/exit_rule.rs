//! When a server has nothing left to do.
//!
//! What it owns: the rule over all sessions of a server; a session alone knows only its own
//! clients, and is told never to end. What it never does: look at a clock.

use proto::server::IDLE_DEFAULT;
use proto::time::{Duration, Instant};

pub use proto::server::IdleExit;

/// What a server has seen, summed over its sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Activity {
    /// Clients that joined and did not leave.
    pub(crate) present: usize,
    /// Joins and requests heard, blocks sent: any change is work.
    pub(crate) work: u64,
    /// True once somebody joined.
    pub(crate) joined_ever: bool,
}

/// Why the server may end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Over {
    /// Nobody asked for anything for the idle time.
    Idle,
    /// The last client left.
    Empty,
}

/// Decides when a server ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExitRule {
    rule: IdleExit,
    last: Activity,
    last_work: Instant,
}

impl ExitRule {
    pub(crate) fn new(rule: IdleExit, now: Instant) -> Self {
        Self { rule, last: Activity::default(), last_work: now }
    }

    /// Takes notice of what has happened up to now; says whether it is over.
    pub(crate) fn look(&mut self, now: Instant, activity: Activity) -> Option<Over> {
        if activity.work != self.last.work {
            self.last_work = now;
        }
        self.last = activity;
        let idle = now.since(self.last_work);
        match self.rule {
            IdleExit::Never => None,
            IdleExit::After(span) => (idle >= span).then_some(Over::Idle),
            IdleExit::WhenEmpty if activity.joined_ever && activity.present == 0 => {
                Some(Over::Empty)
            }
            // A client that crashed never leaves.
            IdleExit::WhenEmpty => (idle >= IDLE_DEFAULT).then_some(Over::Idle),
        }
    }
}

/// The rule that the deployed `-T` option asks for: seconds of silence, 0 for never, negative for
/// when the last client left.
pub const fn idle_exit_from_secs(secs: i64) -> IdleExit {
    match secs {
        0 => IdleExit::Never,
        ..0 => IdleExit::WhenEmpty,
        _ => IdleExit::After(Duration::from_secs(secs.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn activity(present: usize, work: u64) -> Activity {
        Activity { present, work, joined_ever: work > 0 }
    }

    #[test]
    fn the_option_has_three_meanings() {
        assert_eq!(idle_exit_from_secs(0), IdleExit::Never);
        assert_eq!(idle_exit_from_secs(-1), IdleExit::WhenEmpty);
        assert_eq!(idle_exit_from_secs(5), IdleExit::After(Duration::from_secs(5)));
    }

    #[test]
    fn silence_ends_a_server_and_work_puts_it_off() {
        let mut rule = ExitRule::new(idle_exit_from_secs(10), at(0));
        assert_eq!(rule.look(at(9), activity(0, 0)), None);
        assert_eq!(rule.look(at(9), activity(1, 1)), None);
        assert_eq!(rule.look(at(18), activity(1, 1)), None);
        assert_eq!(rule.look(at(19), activity(1, 1)), Some(Over::Idle));
    }

    #[test]
    fn the_last_client_ends_a_server_that_waits_for_it() {
        let mut rule = ExitRule::new(IdleExit::WhenEmpty, at(0));
        assert_eq!(rule.look(at(60), activity(0, 0)), None, "nobody came yet");
        assert_eq!(rule.look(at(61), activity(2, 2)), None);
        assert_eq!(rule.look(at(62), activity(1, 3)), None);
        assert_eq!(rule.look(at(63), activity(0, 4)), Some(Over::Empty));
        let mut rule = ExitRule::new(IdleExit::WhenEmpty, at(0));
        assert_eq!(rule.look(at(1), activity(1, 1)), None);
        let late = at(1) + IDLE_DEFAULT;
        assert_eq!(rule.look(late, activity(1, 1)), Some(Over::Idle), "it crashed");
    }

    #[test]
    fn never_is_never() {
        let mut rule = ExitRule::new(IdleExit::Never, at(0));
        assert_eq!(rule.look(at(u64::from(u32::MAX)), activity(0, 0)), None);
    }
}
