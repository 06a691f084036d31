//! What an image host does when a client's doctor asks for test datagrams.
//!
//! What it owns: the limits of a test, one test at a time, and the sending. What it never does: send
//! to an address other than the one that asked (by TCP, so that it cannot be forged), to a group
//! other than the one for tests, or to a group and port in use.
//!
//! ```text
//! TEST ─► Sender::begin ─► Planned::reply ─► TEST_REPLY ─► Planned::run ─► TEST_DONE
//! ```

use crate::datagram::{DATAGRAM_LEN_MIN, TestDatagram, nonce_text};
use mcast::clock::{sleep_until, tighten_timer_slack};
use mcast::{GroupAddress, GroupKind, Interface, InterfaceSelector, ProbeSender};
use rendezvous::ErrorCode;
use rendezvous::frame::{Failure, Test, TestDone, TestReply, TestStart};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The group for tests, unless configured otherwise: next to the default group of loads, and not
/// flooded by switches.
pub const TEST_GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 70, 83);

/// The UDP port of tests, unless configured or asked otherwise: next to the default port of loads.
pub const TEST_PORT: u16 = 64495;

/// From the reply to the first datagram: time to join the group.
const SETTLE: Duration = Duration::from_millis(200);

/// Datagrams are sent in groups at about this interval.
const TICK: Duration = Duration::from_millis(2);

/// A sender that is late by more does not catch up: the network would see a burst.
const LATE_MAX: Duration = Duration::from_millis(50);

/// Least rate of a test, in bits per second.
const BITS_PER_SEC_MIN: u64 = 64_000;

/// What a client may ask for. More is cut down to it, except where that would mislead.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest test in seconds; the protocol allows 10.
    pub seconds_max: u32,
    /// Fastest test, in bits per second of UDP payload.
    pub bits_per_sec_max: u64,
    /// Longest datagram, in bytes of UDP payload. One that the interface's MTU cannot take is cut
    /// down too.
    pub datagram_bytes_max: u32,
    /// The only group that tests go to.
    pub group: IpAddr,
    /// Their port, unless the client asks for another.
    pub port: u16,
    /// The interface for the group: the one that loads use.
    pub interface: InterfaceSelector,
    /// Routers that test datagrams to the group may cross, plus one: as for loads.
    pub ttl: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            seconds_max: 10,
            bits_per_sec_max: 100_000_000,
            datagram_bytes_max: 8972,
            group: IpAddr::V4(TEST_GROUP),
            port: TEST_PORT,
            interface: InterfaceSelector::ByRoute,
            ttl: mcast::Options::default().ttl,
        }
    }
}

/// Who asks, and what the host knows.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The client's address, as its connection has it.
    pub peer: IpAddr,
    /// Our address, as the connection has it.
    pub local: IpAddr,
    /// The IGMP querier that the host heard, or is.
    pub querier: Option<IpAddr>,
}

/// An image host's end of tests: one at a time.
#[derive(Debug, Default)]
pub struct Sender {
    limits: Limits,
    busy: Arc<AtomicBool>,
}

/// A test that will run: answer the client, then call [`Planned::run`]. No other test can begin
/// until this value is gone.
#[derive(Debug)]
pub struct Planned {
    start: TestStart,
    nonce: [u8; 8],
    datagram_bytes: usize,
    sender: ProbeSender,
    _busy: Busy,
}

/// The right to run a test.
#[derive(Debug)]
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn refusal(code: ErrorCode, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

impl Sender {
    /// A host's end with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, busy: Arc::default() }
    }

    /// Plans a test. `in_use` tells whether a session uses a group and port.
    ///
    /// # Errors
    /// What to answer the client instead: another test is running (`TryAgain`), it asks for what is
    /// not allowed (`Invalid`), or this host cannot send (`Failed`).
    pub fn begin(
        &self,
        test: &Test,
        asked: Asked,
        in_use: impl Fn(IpAddr, u16) -> bool,
    ) -> Result<Planned, Failure> {
        let claimed = self.busy.swap(true, Ordering::Acquire);
        if claimed {
            return Err(refusal(
                ErrorCode::TryAgain,
                "another test is running; try again in ten seconds",
            ));
        }
        let busy = Busy(Arc::clone(&self.busy));
        let to = self.destination(test, asked, in_use)?;
        let failed = |error: &dyn std::fmt::Display| refusal(ErrorCode::Failed, error.to_string());
        let unicast = to.kind() != GroupKind::Multicast;
        let (interface, source) = if unicast {
            let local = asked.local.to_canonical();
            (Interface::by_address(local).map_err(|error| failed(&error))?, local)
        } else {
            let selected = Interface::select(&self.limits.interface, &to);
            let interface = selected.map_err(|error| failed(&error))?;
            let source = interface.source_for(&to).map_err(|error| failed(&error))?;
            (interface, source)
        };
        let ttl = if unicast { None } else { Some((&interface, self.limits.ttl)) };
        let sender = ProbeSender::open(to, source, ttl).map_err(|error| failed(&error))?;
        let limits = &self.limits;
        let seconds = u64::from(test.seconds.clamp(1, limits.seconds_max.clamp(1, 10)));
        let bits_per_sec = test
            .bits_per_sec
            .clamp(BITS_PER_SEC_MIN, limits.bits_per_sec_max.max(BITS_PER_SEC_MIN));
        let headers = if to.ip().is_ipv4() { 28 } else { 48 };
        let room = interface.mtu().unwrap_or(1500).saturating_sub(headers);
        let bytes = test.datagram_bytes.min(room).min(limits.datagram_bytes_max);
        let datagram_bytes = usize::try_from(bytes).unwrap_or(0).max(DATAGRAM_LEN_MIN);
        let bits = u64::try_from(datagram_bytes).unwrap_or(u64::MAX).saturating_mul(8);
        let datagrams = (bits_per_sec.saturating_mul(seconds) / bits).max(1);
        let (nonce, _) = uuid::Uuid::new_v4().as_u64_pair();
        let nonce = nonce.to_be_bytes();
        let start = TestStart {
            group: to.ip(),
            port: to.port(),
            datagrams,
            bits_per_sec,
            // Unicast keeps the system's default.
            ttl: u32::from(if unicast { 64 } else { limits.ttl }),
            interface: interface.to_string(),
            querier: asked.querier,
            nonce: nonce_text(nonce),
        };
        Ok(Planned { start, nonce, datagram_bytes, sender, _busy: busy })
    }

    fn destination(
        &self,
        test: &Test,
        asked: Asked,
        in_use: impl Fn(IpAddr, u16) -> bool,
    ) -> Result<GroupAddress, Failure> {
        let invalid = |message: String| refusal(ErrorCode::Invalid, message);
        let group = |ip, port| GroupAddress::new(ip, port).map_err(|e| invalid(e.to_string()));
        if test.port.is_some_and(|port| port < 1024) {
            return Err(invalid("tests go to ports from 1024".into()));
        }
        if test.unicast {
            let port = test.port.ok_or_else(|| invalid("unicast to which port?".into()))?;
            return group(asked.peer, port);
        }
        let ours = self.limits.group;
        if test.group.is_some_and(|wanted| wanted != ours) {
            return Err(invalid(format!("tests of this server go to group {ours} only")));
        }
        let to = group(ours, test.port.unwrap_or(self.limits.port))?;
        if to.kind() != GroupKind::Multicast {
            return Err(invalid(format!("{ours}, configured for tests, is no multicast group")));
        }
        if in_use(to.ip(), to.port()) {
            let message = format!("group {to} is in use by a session; choose another port (-p)");
            return Err(invalid(message));
        }
        Ok(to)
    }
}

impl Planned {
    /// What to answer.
    pub fn reply(&self) -> TestReply {
        TestReply::Start(self.start.clone())
    }

    /// Sends the datagrams, which takes as long as the test and a moment; what to tell the client
    /// then. `stop` is asked often and ends it early.
    pub fn run(self, stop: impl Fn() -> bool) -> TestDone {
        // Without it, sleeps end a little later.
        let _ = tighten_timer_slack();
        thread::sleep(SETTLE);
        let mut buffer = vec![0; self.datagram_bytes];
        let bits = u64::try_from(self.datagram_bytes).unwrap_or(u64::MAX).saturating_mul(8);
        // At most 10 s of them, at least 128 bits each and 64 kb/s.
        let pause = Duration::from_nanos(bits * 1_000_000_000 / self.start.bits_per_sec.max(1));
        let (mut due, mut sent) = (Instant::now(), 0);
        let datagrams = u32::try_from(self.start.datagrams).unwrap_or(u32::MAX);
        for sequence in 0..datagrams {
            let now = Instant::now();
            if due > now + TICK {
                if stop() {
                    break;
                }
                sleep_until(due);
            }
            due = due.max(now.checked_sub(LATE_MAX).unwrap_or(now)) + pause;
            TestDatagram { nonce: self.nonce, sequence }.write(&mut buffer);
            match self.sender.send(&buffer) {
                Ok(()) => sent += 1,
                Err(error) => tracing::debug!(%error, sequence, "a test datagram was not sent"),
            }
        }
        TestDone { sent }
    }
}

#[cfg(test)]
mod tests;
