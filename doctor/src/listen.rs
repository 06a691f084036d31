//! Listening to IGMP beside everything else.
//!
//! What it owns: a thread that does, and what it heard. What it never does: fail the doctor when it
//! may not listen; that is told.

use mcast::Interface;
use mcast::igmp::{Heard, IgmpError, Listener};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No test lasts longer; the thread ends by itself then.
const LISTEN_MAX: Duration = Duration::from_secs(24 * 3600);

/// An ear on one interface until [`Ear::finish`].
pub(crate) struct Ear {
    waker: mcast::Waker,
    thread: JoinHandle<Heard>,
}

impl Ear {
    /// Begins to listen.
    pub(crate) fn open(interface: &Interface) -> Result<Self, IgmpError> {
        let mut listener = Listener::open(interface)?;
        let waker = listener.waker();
        let run = move || match listener.listen(Instant::now() + LISTEN_MAX, |_| false) {
            Ok(heard) => heard.clone(),
            Err(error) => {
                tracing::warn!("listening to IGMP ended: {error}");
                Heard::default()
            }
        };
        Ok(Self { waker, thread: thread::spawn(run) })
    }

    /// Ends it; what was heard.
    pub(crate) fn finish(self) -> Heard {
        self.waker.wake();
        self.thread.join().unwrap_or_default()
    }
}
