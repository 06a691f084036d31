//! A querier's decisions: when to ask who is a member, and when to leave that to another querier.
//!
//! What it owns: the timers of RFC 2236, sections 3, 7 and 8. What it never does: read a clock, open
//! a socket, or remember members (it forwards nothing).
//!
//! Packets and the time go in, queries and the next deadline come out, as with the sessions of the
//! frisbee protocol.

use crate::igmp::packet::{ALL_SYSTEMS, Message, Packet, Query, Version};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Groups whose last member may be leaving at one time; leaves beyond that are not followed up, and
/// such a group goes on until its membership ages. Bounds what forged leaves can cause.
const LEAVING_MAX: usize = 32;

/// Another querier is believed to be there for this long after its last query, whatever interval it
/// claims: a forged packet must not silence us for hours.
const OTHER_PRESENT_MAX: Duration = Duration::from_secs(15 * 60);

/// Settings of a querier. The defaults are those of RFC 2236, section 8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// The form of our queries. Version 2 by default: every switch that snoops understands it, while
    /// some do not know version 3; hosts answer a version 2 query with version 2 reports, and those
    /// go to the group itself, where every snooping switch looks. Only sources (which nothing here
    /// uses) need version 3.
    pub version: Version,
    /// From one general query to the next.
    pub interval: Duration,
    /// Members spread their answers over this time; less than `interval`.
    pub max_response: Duration,
    /// Losses that are survived: queries and reports are counted on this often.
    pub robustness: u8,
    /// From one general query to the next at the start, `robustness` times.
    pub startup_interval: Duration,
    /// From one query to the next after somebody left a group, and the time for others to answer.
    pub last_member_interval: Duration,
}

impl Config {
    /// The defaults around an interval between general queries, which is taken as at least 200 ms.
    pub fn with_interval(interval: Duration) -> Self {
        let interval = interval.max(Duration::from_millis(200));
        Self {
            version: Version::V2,
            interval,
            // It must be less than the interval (RFC 2236, section 8.3).
            max_response: Duration::from_secs(10).min(interval / 2),
            robustness: 2,
            startup_interval: interval / 4,
            last_member_interval: Duration::from_secs(1),
        }
    }

    /// How long another querier that asks at `interval`, and counts on `robustness` losses, is
    /// believed to be there after a query (RFC 2236, section 8.5).
    fn other_present(&self, interval: Duration, robustness: u8) -> Duration {
        let span = interval.saturating_mul(u32::from(robustness.max(1)));
        span.saturating_add(self.max_response / 2).min(OTHER_PRESENT_MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::with_interval(Duration::from_secs(125))
    }
}

#[derive(Clone, Copy, Debug)]
enum Role {
    /// We ask: next at this time, and this often still at the interval of the start.
    Asking { next: Instant, startup_left: u8 },
    /// Another one does, and is believed to until then.
    Quiet { other: Ipv4Addr, until: Instant },
}

/// A group that somebody left: is anybody else in it?
#[derive(Clone, Copy, Debug)]
struct Leaving {
    group: Ipv4Addr,
    left: u8,
    next: Instant,
}

/// The querier of one network, seen from one machine.
#[derive(Debug)]
pub struct Querier {
    own: Ipv4Addr,
    config: Config,
    role: Role,
    leaving: Vec<Leaving>,
}

impl Querier {
    /// A querier with this address on the network; its first query is due at once.
    pub const fn new(own: Ipv4Addr, config: Config, now: Instant) -> Self {
        let role = Role::Asking { next: now, startup_left: config.robustness };
        Self { own, config, role, leaving: Vec::new() }
    }

    /// The querier that is asking instead of us; `None` while we are.
    pub const fn other(&self) -> Option<Ipv4Addr> {
        match self.role {
            Role::Asking { .. } => None,
            Role::Quiet { other, .. } => Some(other),
        }
    }

    /// Takes a packet that arrived.
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet) {
        match &packet.message {
            Message::Query(query) => self.handle_query(now, packet.source, query),
            Message::Leave(group) => self.handle_leave(now, *group),
            Message::ReportV3(records) => {
                for record in records.iter().filter(|record| record.is_leave()) {
                    self.handle_leave(now, record.group);
                }
            }
            Message::ReportV1(_) | Message::ReportV2(_) => {}
        }
    }

    /// The lowest address asks (RFC 2236, section 3). 0.0.0.0 is a switch that helps itself, no
    /// querier (RFC 4541, section 2.1.1).
    fn handle_query(&mut self, now: Instant, source: Ipv4Addr, query: &Query) {
        if source.is_unspecified() || source >= self.own {
            return;
        }
        let config = &self.config;
        let told = (query.interval, query.robustness);
        let (interval, robustness) =
            if told.0.is_zero() { (config.interval, config.robustness) } else { told };
        let until = now + config.other_present(interval, robustness);
        self.role = Role::Quiet { other: source, until };
        self.leaving.clear();
    }

    /// Asks the group's other members to speak up, or a switch would cut them off with the one that
    /// left (RFC 2236, section 3).
    fn handle_leave(&mut self, now: Instant, group: Ipv4Addr) {
        let asking = matches!(self.role, Role::Asking { .. });
        let known = self.leaving.iter().any(|leaving| leaving.group == group);
        if asking && !known && self.leaving.len() < LEAVING_MAX {
            self.leaving.push(Leaving { group, left: self.config.robustness, next: now });
        }
    }

    /// Tells that a deadline of [`Querier::poll_timeout`] has come: takes over from a querier that
    /// fell silent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Role::Quiet { until, .. } = self.role
            && until <= now
        {
            self.role = Role::Asking { next: now, startup_left: 0 };
        }
    }

    /// A query that is due, if any; ask again until there is none.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Packet> {
        let Role::Asking { next, startup_left } = &mut self.role else { return None };
        let config = &self.config;
        let packet = |destination, query| {
            Some(Packet { source: self.own, destination, message: Message::Query(query) })
        };
        let general = Query {
            robustness: config.robustness,
            interval: config.interval,
            ..Query::general(config.version, config.max_response)
        };
        if *next <= now {
            *startup_left = startup_left.saturating_sub(1);
            let pause = if *startup_left > 0 { config.startup_interval } else { config.interval };
            *next = now + pause;
            return packet(ALL_SYSTEMS, general);
        }
        let due = self.leaving.iter_mut().find(|leaving| leaving.next <= now)?;
        let group = due.group;
        due.left = due.left.saturating_sub(1);
        due.next = now + config.last_member_interval;
        self.leaving.retain(|leaving| leaving.left > 0);
        let max_response = config.last_member_interval;
        packet(group, Query { group: Some(group), max_response, ..general })
    }

    /// When to call [`Querier::handle_timeout`] and [`Querier::poll_transmit`] again.
    pub fn poll_timeout(&self) -> Instant {
        let next = match self.role {
            Role::Asking { next, .. } => next,
            Role::Quiet { until, .. } => until,
        };
        self.leaving.iter().map(|leaving| leaving.next).fold(next, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::igmp::packet::{ALL_ROUTERS, GroupRecord, RecordKind};

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    const LOWER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const HIGHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 70, 83);

    /// A querier, and the time in seconds since it began.
    struct Bench {
        querier: Querier,
        start: Instant,
        secs: u64,
    }

    impl Bench {
        fn new() -> Self {
            let start = Instant::now();
            Self { querier: Querier::new(OWN, Config::default(), start), start, secs: 0 }
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_secs(self.secs)
        }

        fn hear(&mut self, source: Ipv4Addr, destination: Ipv4Addr, message: Message) {
            let packet = Packet { source, destination, message };
            self.querier.handle_packet(self.now(), &packet);
        }

        fn hear_query(&mut self, source: Ipv4Addr) {
            let query = Query::general(Version::V2, Duration::from_secs(10));
            self.hear(source, ALL_SYSTEMS, Message::Query(query));
        }

        /// Lets time pass; at which seconds queries went out, and for which group.
        fn run(&mut self, secs: u64) -> Vec<(u64, Option<Ipv4Addr>)> {
            let end = self.secs + secs;
            let mut sent = Vec::new();
            loop {
                let now = self.now();
                self.querier.handle_timeout(now);
                while let Some(packet) = self.querier.poll_transmit(now) {
                    let Message::Query(query) = packet.message else { panic!("{packet:?}") };
                    assert_eq!(packet.source, OWN);
                    assert_eq!(packet.destination, query.group.unwrap_or(ALL_SYSTEMS));
                    sent.push((self.secs, query.group));
                }
                let next = self.querier.poll_timeout().duration_since(self.start);
                assert!(next > Duration::from_secs(self.secs), "no progress");
                let next = next.as_secs() + u64::from(next.subsec_nanos() > 0);
                if next > end {
                    self.secs = end;
                    return sent;
                }
                self.secs = next;
            }
        }
    }

    #[test]
    fn asks_twice_at_the_start_and_then_each_interval() {
        let mut bench = Bench::new();
        let general: Vec<_> = [0, 32, 157, 282].map(|at| (at, None)).to_vec();
        assert_eq!(bench.run(300), general);
    }

    #[test]
    fn leaves_the_asking_to_a_lower_address_until_it_falls_silent() {
        let mut bench = Bench::new();
        bench.run(10);
        bench.hear_query(LOWER);
        assert_eq!(bench.querier.other(), Some(LOWER));
        assert_eq!(bench.run(200), []);
        bench.hear_query(LOWER);
        assert_eq!(bench.run(254), [], "each query extends the belief");
        // 2 * 125 + 10 / 2 seconds after its last query (RFC 2236, section 8.5).
        assert_eq!(bench.run(10), [(465, None)]);
        assert_eq!(bench.querier.other(), None);
        assert_eq!(bench.run(125), [(590, None)]);
    }

    #[test]
    fn higher_addresses_and_helpers_without_one_change_nothing() {
        let mut bench = Bench::new();
        for source in [HIGHER, OWN, Ipv4Addr::UNSPECIFIED] {
            bench.hear_query(source);
            assert_eq!(bench.querier.other(), None, "{source}");
        }
        assert_eq!(bench.run(1), [(0, None)]);
    }

    #[test]
    fn a_querier_of_version_3_tells_its_own_interval_but_not_for_ever() {
        let mut bench = Bench::new();
        let told = |secs, robustness| {
            let interval = Duration::from_secs(secs);
            let general = Query::general(Version::V3, Duration::from_secs(10));
            Message::Query(Query { interval, robustness, ..general })
        };
        bench.hear(LOWER, ALL_SYSTEMS, told(20, 3));
        assert_eq!(bench.run(100).first(), Some(&(65, None)));
        let mut bench = Bench::new();
        bench.hear(LOWER, ALL_SYSTEMS, told(31_744, 7));
        assert_eq!(bench.run(1000).first(), Some(&(900, None)), "bounded");
    }

    #[test]
    fn a_leave_makes_it_ask_the_group_twice() {
        let mut bench = Bench::new();
        bench.run(5);
        bench.hear(HIGHER, ALL_ROUTERS, Message::Leave(GROUP));
        bench.hear(HIGHER, ALL_ROUTERS, Message::Leave(GROUP));
        assert_eq!(bench.run(10), [(5, Some(GROUP)), (6, Some(GROUP))]);
        let record = GroupRecord { kind: RecordKind::ToInclude, group: GROUP, sources: Vec::new() };
        bench.hear(HIGHER, ALL_ROUTERS, Message::ReportV3(vec![record]));
        assert_eq!(bench.run(3), [(15, Some(GROUP)), (16, Some(GROUP))]);
        bench.hear_query(LOWER);
        bench.hear(HIGHER, ALL_ROUTERS, Message::Leave(GROUP));
        assert_eq!(bench.run(100), [], "that is for the other one to do");
    }

    #[test]
    fn forged_leaves_are_bounded() {
        let mut bench = Bench::new();
        bench.run(5);
        for number in 0..2000 {
            let group = Ipv4Addr::from_bits(GROUP.to_bits() + number);
            bench.hear(HIGHER, ALL_ROUTERS, Message::Leave(group));
        }
        assert_eq!(bench.run(10).len(), 2 * LEAVING_MAX);
    }

    #[test]
    fn the_response_time_is_below_the_interval_whatever_is_configured() {
        for millis in [0, 1, 200, 1000, 15_000, 125_000] {
            let config = Config::with_interval(Duration::from_millis(millis));
            assert!(config.max_response < config.interval, "{millis}");
            assert!(config.max_response >= Duration::from_millis(100), "{millis}");
        }
        assert_eq!(Config::default().startup_interval, Duration::from_millis(31_250));
    }
}
