//! Counting what arrives of one test, on one or several interfaces.
//!
//! What it owns: the loop around the receivers, and its end. What it never does: wait longer than
//! the server needs to send, and a moment.

use crate::datagram::{TestDatagram, parse_nonce};
use crate::tally::{Stretch, Tally};
use mcast::ProbeReceiver;
use rendezvous::frame::TestStart;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// What is on the way when the server says that it has sent everything arrives within this time.
const LINGER: Duration = Duration::from_millis(400);

/// A server may be this late with its word that all was sent.
pub(crate) const LATE_MAX: Duration = Duration::from_millis(1500);

/// Fewer datagrams missing in a row mean nothing.
const FEW: u64 = 20;

/// Datagrams read from one receiver before the next has its turn.
const TURN: usize = 256;

/// A receiver with its count.
#[derive(Debug)]
pub(crate) struct Place {
    /// The interface, or `unicast`.
    pub(crate) name: String,
    receiver: ProbeReceiver,
    drops_before: u32,
}

impl Place {
    pub(crate) fn new(name: impl Into<String>, receiver: ProbeReceiver) -> Self {
        Self { name: name.into(), receiver, drops_before: 0 }
    }

    /// Datagrams that the kernel dropped since the last call.
    fn new_drops(&mut self) -> u64 {
        let all = self.receiver.kernel_drops().unwrap_or(self.drops_before);
        let new = all.wrapping_sub(self.drops_before);
        self.drops_before = all;
        u64::from(new)
    }
}

/// How long the datagrams of a test take to send.
pub(crate) fn duration(start: &TestStart, datagram_bytes: u32) -> Duration {
    let bits = u128::from(start.datagrams) * u128::from(datagram_bytes) * 8;
    let millis = bits * 1000 / u128::from(start.bits_per_sec.max(1));
    // Whatever a server claims: no test lasts longer.
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).min(Duration::from_secs(10))
}

/// As many datagrams as are sent in half a second; as many missing in a row are an interruption.
pub(crate) fn half_second(start: &TestStart, takes: Duration) -> u64 {
    let millis = u64::try_from(takes.as_millis()).unwrap_or(u64::MAX).max(1);
    (start.datagrams.saturating_mul(500) / millis).max(FEW)
}

/// Counts until the test is over; the numbers of each place, in their order.
pub(crate) fn measure(
    places: &mut [Place],
    start: &TestStart,
    began: Instant,
    takes: Duration,
    done: &Receiver<u64>,
) -> io::Result<Vec<Stretch>> {
    let nonce = parse_nonce(&start.nonce);
    let mut tallies: Vec<Tally> = places.iter().map(|_| Tally::default()).collect();
    let hard_end = Instant::now() + takes + LATE_MAX;
    let mut end = hard_end;
    let (mut sent, mut waiting) = (start.datagrams, true);
    let mut buffer = [0; crate::datagram::DATAGRAM_LEN_MIN];
    loop {
        for (place, tally) in places.iter().zip(&mut tallies) {
            for _ in 0..TURN {
                let Some(arrival) = place.receiver.receive(&mut buffer)? else { break };
                // A datagram shorter than the buffer leaves there what was before.
                let bytes = buffer.get(..arrival.len.min(buffer.len())).unwrap_or_default();
                let datagram = TestDatagram::parse(bytes);
                if let Some(datagram) = datagram.filter(|d| Some(d.nonce) == nonce) {
                    tally.count(datagram.sequence, arrival.len, arrival.ttl, began.elapsed());
                }
            }
        }
        let now = Instant::now();
        if waiting {
            match done.try_recv() {
                Ok(told) => {
                    (sent, waiting) = (told, false);
                    end = hard_end.min(now + LINGER);
                }
                Err(TryRecvError::Disconnected) => waiting = false,
                Err(TryRecvError::Empty) => {}
            }
        }
        let last = sent.checked_sub(1);
        let all = |tally: &Tally| tally.highest().map(u64::from) == last;
        // The last one has come: nothing but stragglers can follow.
        if !waiting && tallies.first().is_some_and(all) || now >= end {
            break;
        }
        let wait = Duration::from_millis(20).min(end.saturating_duration_since(now));
        ProbeReceiver::wait_any(places.iter().map(|place| &place.receiver), wait)?;
    }
    Ok(places
        .iter_mut()
        .zip(&tallies)
        .map(|(place, tally)| tally.stretch(sent, place.new_drops(), half_second(start, takes)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::sync::mpsc::channel;

    fn start(datagrams: u64) -> TestStart {
        TestStart {
            group: Ipv4Addr::LOCALHOST.into(),
            port: 1,
            datagrams,
            bits_per_sec: 1_000_000,
            ttl: 64,
            interface: "lo".into(),
            querier: None,
            nonce: "6162636465666768".into(),
        }
    }

    #[test]
    fn only_datagrams_of_this_test_count_and_its_end_is_noticed() {
        let receiver = ProbeReceiver::at(Ipv4Addr::LOCALHOST.into()).unwrap();
        let to = receiver.local_addr().unwrap();
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut bytes = [0; 100];
        for sequence in [0, 1, 3, 9] {
            TestDatagram { nonce: *b"abcdefgh", sequence }.write(&mut bytes);
            other.send_to(&bytes, to).unwrap();
        }
        TestDatagram { nonce: *b"abcdefgX", sequence: 5 }.write(&mut bytes);
        other.send_to(&bytes, to).unwrap();
        other.send_to(b"FTST", to).unwrap();
        let (tell, told) = channel();
        tell.send(10).unwrap();
        let (began, takes) = (Instant::now(), Duration::from_secs(600));
        let mut places = [Place::new("lo", receiver)];
        let found = measure(&mut places, &start(10), began, takes, &told).unwrap();
        assert!(began.elapsed() < Duration::from_secs(60), "did not wait for the hard end");
        let [stretch] = found[..] else { panic!("{found:?}") };
        assert_eq!((stretch.received, stretch.missing_between, stretch.sent), (4, 6, 10));
        assert_eq!(stretch.ttl, Some(64));
    }

    #[test]
    fn the_time_of_a_test_is_bounded_whatever_a_server_claims() {
        assert_eq!(duration(&start(1000), 1250), Duration::from_secs(10));
        assert_eq!(duration(&start(100), 1250), Duration::from_secs(1));
        let absurd = TestStart { bits_per_sec: 0, ..start(u64::MAX) };
        assert_eq!(duration(&absurd, u32::MAX), Duration::from_secs(10));
    }
}
