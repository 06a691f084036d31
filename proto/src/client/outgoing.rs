//! What a client sends: intentions, and the messages made of them when they go out.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::asking::Ask;
use super::event::Counters;
use super::session::Session;
use crate::time::{Duration, Instant};
use crate::wire::{
    ANNOUNCEMENT_LEN_MAX, Announcement, Join2, Message, PROGRESS_STATISTICS, PROGRESS_SUMMARY,
    Progress, ProgressReport, Statistics, Summary,
};

/// Something to be sent. Numbers that change are filled in when it goes out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outgoing {
    Join,
    Join2,
    Ask(Ask),
    Report { to: SocketAddr, seq: u16 },
    Leave,
}

impl Session {
    pub(super) fn message<'a>(
        &self,
        now: Instant,
        outgoing: Outgoing,
        extensions: &'a mut [u8; ANNOUNCEMENT_LEN_MAX],
    ) -> Message<'a> {
        let client_id = self.config.client_id;
        let elapsed = now.since(self.started.unwrap_or(now));
        match outgoing {
            Outgoing::Join => Message::JoinRequest { client_id },
            Outgoing::Join2 => Message::Join2Request(Join2 {
                client_id,
                blocks: 0,
                blocks_per_chunk: 1024,
                block_size: 1024,
                bytes: 0,
                extensions: Announcement { features: Some(0), ..Announcement::default() }
                    .encode(extensions),
            }),
            Outgoing::Ask(Ask::Whole { chunk, .. }) => {
                let count = self.geometry().map_or(0, |g| g.blocks_in(chunk));
                Message::Request { chunk, first: 0, count }
            }
            Outgoing::Ask(Ask::Some { chunk, retries, wanted }) => {
                Message::PartialRequest { chunk, retries, wanted }
            }
            Outgoing::Report { seq, .. } => Message::ProgressReport(ProgressReport {
                head: Progress {
                    client_id,
                    who: self.srcip,
                    when: u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX),
                    what: PROGRESS_SUMMARY | PROGRESS_STATISTICS,
                    seq,
                },
                summary: Some(Summary {
                    chunks_in: self.chunks_complete(),
                    chunks_out: self.chunks_done(),
                    bytes_out: self.statistics.bytes_written,
                }),
                statistics: Some(self.statistics(elapsed)),
            }),
            Outgoing::Leave => Message::Leave2 {
                client_id,
                elapsed: i32::try_from(elapsed.as_secs()).unwrap_or(i32::MAX),
                statistics: self.statistics(elapsed),
            },
        }
    }

    fn statistics(&self, elapsed: Duration) -> Statistics {
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let c = &self.counters;
        let secs = elapsed.as_secs();
        Statistics {
            run_secs: i32::try_from(secs).unwrap_or(i32::MAX),
            run_millis: i32::try_from(elapsed.as_millis() % 1000).unwrap_or(0),
            chunk_buffers: i32::try_from(self.config.slots).unwrap_or(i32::MAX),
            randomize: 1,
            no_free_chunks: count(c.blocks_without_slot),
            duplicate_chunks: count(c.duplicate_chunk_blocks),
            duplicate_blocks: count(c.duplicate_blocks),
            partial_requests: count(c.partial_requests),
            join_attempts: self.join.attempts(),
            requests: count(c.requests + c.partial_requests),
            lost_blocks: count(c.blocks_lost),
            re_requests: count(c.partial_requests_again),
            full_re_requests: count(c.requests_again),
            ..self.statistics
        }
    }
}

/// Turns decisions into datagrams to be, and counts them.
pub(super) struct Outbox<'a> {
    pub(super) outbox: &'a mut VecDeque<Outgoing>,
    pub(super) counters: &'a mut Counters,
}

impl Extend<Ask> for Outbox<'_> {
    fn extend<I: IntoIterator<Item = Ask>>(&mut self, asks: I) {
        for ask in asks {
            match ask {
                Ask::Whole { again, .. } => {
                    self.counters.requests += 1;
                    self.counters.requests_again += u64::from(again);
                }
                Ask::Some { retries, wanted, .. } => {
                    self.counters.partial_requests += 1;
                    self.counters.partial_requests_again += u64::from(retries > 1);
                    self.counters.blocks_lost +=
                        if retries > 0 { u64::from(wanted.count()) } else { 0 };
                }
            }
            self.outbox.push_back(Outgoing::Ask(ask));
        }
    }
}
