//! What the replies to a join do, one's own and those overheard.

use std::net::{IpAddr, SocketAddr};

use super::asking::Asking;
use super::event::Event;
use super::marks::Marks;
use super::report::ReportTimer;
use super::session::{Load, Session};
use crate::geometry::{BLOCK_SIZE, Geometry};
use crate::time::Instant;
use crate::wire::{self, Announcement, Join2};

/// Replies that describe another image before a client believes it.
const DOUBTS_MAX: u32 = 2;

impl Session {
    /// The file is to be had from another group from now on, for example from its server's unicast
    /// address. The caller's socket is there already; `local` is the address it sends from. The
    /// session joins there, keeps all it has, and asks for the rest. A server there that sends
    /// another file ends the session with [`Event::ImageChanged`].
    pub fn redirect(&mut self, now: Instant, group: IpAddr, port: u16, local: IpAddr) {
        if self.over {
            return;
        }
        (self.config.group, self.config.port, self.config.local) = (group, port, local);
        self.srcip = wire::source_ip_field(local);
        // Blocks are taken from whoever answers, and from nobody until then.
        self.server = None;
        if let Some(announced) = &mut self.announced {
            announced.server_run = None;
        }
        self.doubts = 0;
        self.outbox.clear();
        self.report = ReportTimer::default();
        if let Some(load) = &mut self.load {
            load.asking.forget(&mut load.marks);
        }
        (self.last_heard, self.last_progress) = (now, now);
        self.join.stop();
        if !self.finished {
            self.join.start(now);
        }
    }

    /// A JOIN reply carries no id: it may answer another client's join, and says as much.
    pub(super) fn join_reply(&mut self, now: Instant, from: SocketAddr, blocks: u32) {
        let bytes = u64::from(blocks) * u64::from(BLOCK_SIZE);
        match Geometry::deployed(bytes) {
            Ok(geometry) => {
                let asked = self.join.attempts() > 1;
                self.joined(now, from, geometry, None, asked);
            }
            // A client that waits for a JOIN2 reply need not fail because of a forged JOIN reply.
            Err(_) => self.counters.out_of_geometry += 1,
        }
    }

    /// A reply to another client describes the same file: the load can begin at once. This
    /// client's own join goes on until it is answered, so that the server knows of it.
    pub(super) fn join2_reply(&mut self, now: Instant, from: SocketAddr, body: &Join2<'_>) {
        let asked = body.client_id == self.config.client_id;
        let announced = match body.extensions.bytes() {
            [] => None,
            _ => Some(body.extensions.announcement()),
        };
        match body.geometry() {
            Ok(geometry) => self.joined(now, from, geometry, announced, asked),
            Err(error) if self.load.is_none() && asked => self.stop(Event::Refused(error)),
            Err(_) => self.counters.out_of_geometry += 1,
        }
    }

    fn joined(
        &mut self,
        now: Instant,
        from: SocketAddr,
        geometry: Geometry,
        announced: Option<Announcement>,
        asked: bool,
    ) {
        self.last_heard = now;
        let Some(load) = &mut self.load else {
            self.load = Some(Load {
                geometry,
                marks: Marks::new(&geometry, self.config.slots, self.config.keep_slot_for_first),
                asking: Asking::new(geometry.chunks()),
                sweeping: None,
            });
            self.server = Some(from);
            self.announced = announced;
            self.last_progress = now;
            if asked {
                self.join.stop();
            }
            let image_id = announced.and_then(|a| a.image_id);
            self.events.push_back(Event::Joined { geometry, server: from, image_id });
            return;
        };
        let was = load.geometry;
        if geometry != was {
            self.changed(now, asked, was, Some(geometry));
            return;
        }
        if !self.join.is_running() {
            return;
        }
        let (old, new) = (self.announced.unwrap_or_default(), announced.unwrap_or_default());
        if old.image_id.is_some() && new.image_id.is_some() && old.image_id != new.image_id {
            self.changed(now, asked, was, None);
            return;
        }
        if asked {
            self.doubts = 0;
            self.join.stop();
        }
        let restarted = old.server_run.is_some()
            && new.server_run.is_some()
            && old.server_run != new.server_run;
        // After a redirection there is no server yet, and nothing it could have forgotten.
        if restarted || self.server.is_some_and(|server| server != from) {
            load.asking.forget(&mut load.marks);
            self.events.push_back(Event::ServerRestarted);
        }
        self.server = Some(from);
        self.announced = announced.or(self.announced);
    }

    /// A reply describes another image. Believed when this client asked for it and was told so
    /// more than once: a load of an hour does not end because of one bad datagram.
    fn changed(&mut self, now: Instant, asked: bool, was: Geometry, geometry: Option<Geometry>) {
        if asked && self.join.is_running() {
            self.doubts += 1;
        }
        self.join.start(now);
        if self.doubts >= DOUBTS_MAX {
            self.stop(Event::ImageChanged { geometry: was, now: geometry });
        }
    }
}
