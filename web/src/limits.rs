//! How many connections and requests a peer may have.
//!
//! What it owns: the counts by address, in tables of bounded size, as pure functions of the time
//! they are given. IPv6 peers are counted by /64, because one host has as many addresses as it likes
//! there.

use crate::config::Config;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses whose rate is remembered. Whoever comes when the table is full of busy addresses
/// shares one bucket with the others that came too late.
const ADDRESSES_MAX: usize = 16_384;

/// What counts as one peer.
pub(crate) fn peer_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        v4 => v4,
    }
}

/// Connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: AtomicUsize,
    by_peer: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

/// One connection; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    connections: Arc<Connections>,
    peer: IpAddr,
}

impl Connections {
    /// Counts a connection, or refuses it.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        config: &Config,
    ) -> Option<ConnectionPermit> {
        let peer = peer_key(address);
        let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = by_peer.get(&peer).copied().unwrap_or(0);
        let all = self.all.load(Ordering::Relaxed);
        if all >= config.connections_max || of_peer >= config.connections_per_address_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        by_peer.insert(peer, of_peer + 1);
        self.all.fetch_add(1, Ordering::Relaxed);
        Some(ConnectionPermit { connections: Arc::clone(self), peer })
    }

    pub(crate) fn open(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut by_peer = self.connections.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_peer.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_peer.remove(&self.peer);
            }
        }
        self.connections.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests by address: each has a bucket of tokens that fills at a steady rate.
#[derive(Debug)]
pub(crate) struct Requests {
    per_sec: f64,
    burst: f64,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    by_peer: HashMap<IpAddr, Bucket>,
    /// For those who come when the table is full.
    latecomers: Bucket,
    swept: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, per_sec: f64, burst: f64) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_sec).min(burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / per_sec))
    }
}

impl Requests {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        let burst = f64::from(config.requests_burst.max(1));
        Self {
            per_sec: f64::from(config.requests_per_sec.max(1)),
            burst,
            table: Mutex::new(Table {
                by_peer: HashMap::new(),
                latecomers: Bucket { tokens: burst, at: now },
                swept: now,
            }),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// There were too many; the time until the next may come.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { by_peer, latecomers, swept } = &mut *table;
        let full_after = Duration::from_secs_f64(self.burst / self.per_sec);
        let old = |bucket: &Bucket| now.saturating_duration_since(bucket.at) >= full_after;
        let peer = peer_key(address);
        if by_peer.len() >= ADDRESSES_MAX
            && !by_peer.contains_key(&peer)
            && now.saturating_duration_since(*swept) >= Duration::from_secs(1)
        {
            // A bucket that is full again says nothing.
            by_peer.retain(|_, bucket| !old(bucket));
            *swept = now;
        }
        let is_full = by_peer.len() >= ADDRESSES_MAX;
        let bucket = match by_peer.get_mut(&peer) {
            Some(bucket) => bucket,
            None if is_full => latecomers,
            None => by_peer.entry(peer).or_insert(Bucket { tokens: self.burst, at: now }),
        };
        bucket.take(now, self.per_sec, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    #[test]
    fn connections_are_counted_by_peer_and_in_all() {
        let config =
            Config { connections_max: 3, connections_per_address_max: 2, ..Config::default() };
        let connections = Arc::new(Connections::default());
        let first = connections.admit(address(1), &config).unwrap();
        let _second = connections.admit(address(1), &config).unwrap();
        assert!(connections.admit(address(1), &config).is_none(), "two of one address are enough");
        let _third = connections.admit(address(2), &config).unwrap();
        assert!(connections.admit(address(3), &config).is_none(), "three are enough");
        assert_eq!((connections.open(), connections.refused()), (3, 2));
        drop(first);
        let _fourth = connections.admit(address(1), &config).unwrap();
        assert_eq!(connections.open(), 3);
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_ipv4() {
        let key = |text: &str| peer_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::7"), key("2001:db8:1:2:ffff::8"));
        assert_ne!(key("2001:db8:1:2::7"), key("2001:db8:1:3::7"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let start = Instant::now();
        let config = Config { requests_per_sec: 10, requests_burst: 5, ..Config::default() };
        let requests = Requests::new(&config, start);
        for _ in 0..5 {
            requests.take(address(1), start).unwrap();
        }
        let wait = requests.take(address(1), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        requests.take(address(2), start).unwrap();
        requests.take(address(1), start + wait).unwrap();
        assert!(requests.take(address(1), start + wait).is_err());
    }

    #[test]
    fn the_table_does_not_grow_without_end() {
        let start = Instant::now();
        let config = Config { requests_per_sec: 1, requests_burst: 2, ..Config::default() };
        let requests = Requests::new(&config, start);
        let many = u32::try_from(ADDRESSES_MAX).unwrap();
        for number in 0..many {
            requests.take(address(number), start).unwrap();
        }
        // Those who come now share a bucket of two.
        requests.take(address(many), start).unwrap();
        requests.take(address(many + 1), start).unwrap();
        assert!(requests.take(address(many + 2), start).is_err());
        assert_eq!(requests.table.lock().unwrap().by_peer.len(), ADDRESSES_MAX);
        // Later the old ones are forgotten.
        let later = start + Duration::from_secs(2);
        requests.take(address(many + 2), later).unwrap();
        assert_eq!(requests.table.lock().unwrap().by_peer.len(), 1);
    }
}
