//! How sessions went lately, for charts.
//!
//! What it owns: a ring of samples for each running session, bounded in both directions.

use crate::api::Session;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// Samples kept: ten minutes.
const SAMPLES_MAX: usize = 300;

/// Sessions kept; more are not sampled.
const SESSIONS_MAX: usize = 256;

/// A session at one moment. The numbers of blocks count from its start.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    at_secs: u64,
    rate_bits_per_sec: u64,
    sent_bits_per_sec: u64,
    blocks_sent: u64,
    blocks_repeated: u64,
    clients_loading: u64,
}

/// Samples of all sessions.
#[derive(Debug, Default)]
pub(crate) struct History {
    sessions: Mutex<HashMap<String, VecDeque<Sample>>>,
}

/// What the API says of one.
#[derive(Debug, Serialize)]
pub(crate) struct OfSession {
    interval_secs: u64,
    samples: Vec<Sample>,
}

impl History {
    /// Takes a sample of each session, and forgets those that are gone.
    pub(crate) fn sample(&self, at_secs: u64, sessions: &[Session]) {
        let mut kept = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|id, _| sessions.iter().any(|session| session.id == *id));
        for session in sessions {
            if kept.len() >= SESSIONS_MAX && !kept.contains_key(&session.id) {
                continue;
            }
            let samples = kept.entry(session.id.clone()).or_default();
            if samples.len() >= SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back(Sample {
                at_secs,
                rate_bits_per_sec: session.rate_bits_per_sec,
                sent_bits_per_sec: session.sent_bits_per_sec,
                blocks_sent: session.blocks_sent,
                blocks_repeated: session.blocks_repeated,
                clients_loading: session.clients_loading,
            });
        }
    }

    pub(crate) fn of(&self, id: &str) -> OfSession {
        let kept = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = kept.get(id).map(|samples| samples.iter().copied().collect());
        OfSession { interval_secs: INTERVAL.as_secs(), samples: samples.unwrap_or_default() }
    }
}
