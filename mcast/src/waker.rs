//! Waking a thread that waits for datagrams.
//!
//! What it owns: the event descriptor and a flag, so that a wake-up is seen both while waiting and
//! while datagrams keep coming. What it never does: say why it woke somebody.

use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
struct Shared {
    event: EventFd,
    raised: AtomicBool,
}

/// Makes [`crate::GroupSocket::receive`] return [`crate::Received::Woken`] from another thread. A
/// wake-up is never lost; several before one return count as one.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { shared: Arc::new(Shared { event, raised: AtomicBool::new(false) }) })
    }

    /// Wakes the receiver.
    pub fn wake(&self) {
        // The flag first: whoever sees the event must also see the flag.
        self.shared.raised.store(true, Ordering::Release);
        // It fails only when 2^64 - 1 wake-ups are pending, and then the event is set already.
        let _ = self.shared.event.write(1);
    }

    /// True when somebody called [`Waker::wake`] since the last time; cheap when not.
    pub(crate) fn take(&self) -> bool {
        if !self.shared.raised.load(Ordering::Relaxed) {
            return false;
        }
        // The flag before the event: a wake-up in between leaves the flag set, to be seen next time.
        self.shared.raised.swap(false, Ordering::Acquire);
        // It fails only when there is nothing to read.
        let _ = self.shared.event.read();
        true
    }

    /// Sets the flag of an event that was seen while waiting: its flag may have been taken before
    /// the event was there.
    pub(crate) fn raise_again(&self) {
        self.shared.raised.store(true, Ordering::Release);
    }

    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.shared.event.as_fd(), PollFlags::POLLIN)
    }
}
