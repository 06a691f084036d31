//! What a socket did, in numbers.
//!
//! What it owns: counters that several threads add to without waiting for each other. What it never
//! does: reset one.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a socket did since it was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams handed to the kernel.
    pub datagrams_sent: u64,
    /// System calls that took.
    pub send_calls: u64,
    /// Sends that found the socket's buffer full.
    pub socket_full: u64,
    /// Sends that the device's full queue dropped: back-pressure.
    pub device_full: u64,
    /// Sends that the system refused (no route, interface down, firewall).
    pub refused: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// System calls that brought some.
    pub receive_calls: u64,
    /// Errors that came back by ICMP (servers only).
    pub icmp_errors: u64,
}

#[derive(Debug, Default)]
pub(crate) struct AtomicCounters {
    pub(crate) datagrams_sent: AtomicU64,
    pub(crate) send_calls: AtomicU64,
    pub(crate) socket_full: AtomicU64,
    pub(crate) device_full: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) datagrams_received: AtomicU64,
    pub(crate) receive_calls: AtomicU64,
    pub(crate) icmp_errors: AtomicU64,
}

impl AtomicCounters {
    /// All of them at about one moment.
    pub(crate) fn snapshot(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            datagrams_sent: read(&self.datagrams_sent),
            send_calls: read(&self.send_calls),
            socket_full: read(&self.socket_full),
            device_full: read(&self.device_full),
            refused: read(&self.refused),
            datagrams_received: read(&self.datagrams_received),
            receive_calls: read(&self.receive_calls),
            icmp_errors: read(&self.icmp_errors),
        }
    }
}

/// Adds to a counter; costs nothing when there is nothing to add.
pub(crate) fn add(counter: &AtomicU64, number: u64) {
    if number > 0 {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

/// A count as the counters hold it.
pub(crate) fn widen(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
