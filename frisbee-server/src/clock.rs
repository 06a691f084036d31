//! The one place that reads the clock.

use proto::time::{Duration, Instant};

/// Time as sessions count it: nanoseconds since shortly before the program began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// Never [`Instant::ZERO`], which sessions take for "long ago".
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + Duration::from_secs(1) + self.origin.elapsed().into()
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.origin.elapsed()
    }
}
