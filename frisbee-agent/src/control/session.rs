//! The node's end of the line protocol, without IO.
//!
//! What it owns: when to connect, what is sent and when, what was received. Bytes and the time go in;
//! actions and events come out. What it never does: read a clock, open a socket, wait.

use super::lines::Lines;
use super::{Incoming, Rejected, Reply, Request};
use crate::failure::Failure;
use crate::orders::Settings;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Times of a session.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Pause before the second try to connect; it doubles.
    pub pause_min: Duration,
    /// ... up to this.
    pub pause_max: Duration,
    /// After so long without a line the node says that it is there.
    pub alive_after: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { pause_min: seconds(1), pause_max: seconds(30), alive_after: seconds(30) }
    }
}

/// What is to be done with the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Open it.
    Connect,
    /// Send this.
    Transmit(String),
    /// Close the sending half; the server then closes the other.
    HalfClose,
    /// Nothing before this time, or before something comes.
    Wait(Instant),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Offline { connect_at: Instant, pause: Duration },
    Online { alive_at: Instant, half_closed: bool },
}

/// Lines that wait to be sent, at most.
const QUEUE_MAX: usize = 256;

/// The session. It lives as long as the agent, through all its connections.
#[derive(Debug)]
pub struct Session {
    times: Times,
    usual: Settings,
    state: State,
    lines: Lines,
    queue: VecDeque<String>,
    events: VecDeque<Incoming>,
    is_closing: bool,
    /// That it is lost was told.
    was_told: bool,
}

impl Session {
    /// A session that wants to connect; `usual` is for orders.
    pub fn new(now: Instant, times: Times, usual: Settings) -> Self {
        Self {
            times,
            usual,
            state: State::Offline { connect_at: now, pause: times.pause_min },
            lines: Lines::default(),
            queue: VecDeque::new(),
            events: VecDeque::new(),
            is_closing: false,
            was_told: false,
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self, now: Instant) -> Action {
        match &mut self.state {
            State::Offline { connect_at, .. } if now >= *connect_at => Action::Connect,
            State::Offline { connect_at, .. } => Action::Wait(*connect_at),
            State::Online { alive_at, half_closed } => {
                if let Some(line) = self.queue.pop_front() {
                    *alive_at = now + self.times.alive_after;
                    return Action::Transmit(line);
                }
                if self.is_closing && !*half_closed {
                    *half_closed = true;
                    return Action::HalfClose;
                }
                if now < *alive_at || *half_closed {
                    return Action::Wait(now.max(*alive_at) + Duration::from_millis(1));
                }
                *alive_at = now + self.times.alive_after;
                Action::Transmit(Reply::Alive.line())
            }
        }
    }

    /// What the agent should know.
    pub fn poll_event(&mut self) -> Option<Incoming> {
        self.events.pop_front()
    }

    /// The connection is open.
    pub fn handle_connected(&mut self, now: Instant) {
        let alive_at = now + self.times.alive_after;
        self.state = State::Online { alive_at, half_closed: false };
        (self.lines, self.is_closing, self.was_told) = (Lines::default(), false, false);
        self.queue.clear();
        self.events.push_back(Incoming::Connected);
    }

    /// Bytes came.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        for line in self.lines.push(bytes) {
            let event = match line {
                Ok(line) => match Request::parse(&line, &self.usual) {
                    Ok(request) => Incoming::Request(request),
                    Err(rejected) => Incoming::Rejected(rejected),
                },
                Err(error) => {
                    Incoming::Rejected(Rejected { id: None, failure: Failure::order(error) })
                }
            };
            self.events.push_back(event);
        }
    }

    /// The connection is gone, or could not be had; `why` is none if the server closed it in order.
    /// `random` is any number.
    pub fn handle_lost(&mut self, now: Instant, why: Option<&str>, random: u8) {
        let pause = match self.state {
            State::Offline { pause, .. } => pause,
            State::Online { half_closed: true, .. } if why.is_none() => {
                self.events.push_back(Incoming::Closed);
                self.times.pause_max
            }
            State::Online { .. } => self.times.pause_min,
        };
        let wait = pause.saturating_add(pause / 1024 * u32::from(random));
        let pause = pause.saturating_mul(2).min(self.times.pause_max);
        self.state = State::Offline { connect_at: now + wait, pause };
        self.queue.clear();
        if !std::mem::replace(&mut self.was_told, true) {
            let why = why.unwrap_or("the server closed the connection");
            self.events.push_back(Incoming::Lost(why.to_owned()));
        }
    }

    /// Sends something, if there is a connection. A server that reads too slowly gets less.
    pub fn send(&mut self, reply: &Reply) {
        let is_online = matches!(self.state, State::Online { half_closed: false, .. });
        let is_full = self.queue.len() >= QUEUE_MAX;
        if !is_online || self.is_closing || is_full && reply.is_passing() {
            return;
        }
        if is_full {
            self.queue.pop_front();
        }
        self.queue.push_back(reply.line());
    }

    /// Says goodbye, if there is a connection.
    pub fn close(&mut self) {
        self.send(&Reply::Bye);
        self.is_closing = matches!(self.state, State::Online { .. });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Command;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn online() -> (Session, Instant) {
        let now = Instant::now();
        let mut session = Session::new(now, Times::default(), Settings::default());
        assert_eq!(session.poll_action(now), Action::Connect);
        session.handle_connected(now);
        assert!(matches!(session.poll_event(), Some(Incoming::Connected)));
        (session, now)
    }

    #[test]
    fn pauses_double_and_are_told_once() {
        let now = Instant::now();
        let mut session = Session::new(now, Times::default(), Settings::default());
        let mut pauses = Vec::new();
        let mut at = now;
        for _ in 0..8 {
            session.handle_lost(at, Some("refused"), 0);
            let Action::Wait(until) = session.poll_action(at) else { panic!() };
            pauses.push((until - at).as_secs());
            at = until;
            assert_eq!(session.poll_action(at), Action::Connect);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(matches!(session.poll_event(), Some(Incoming::Lost(why)) if why == "refused"));
        assert!(session.poll_event().is_none());
        session.handle_connected(at);
        session.handle_lost(at, None, 255);
        let Action::Wait(until) = session.poll_action(at) else { panic!() };
        assert!(until - at > second(1) && until - at < second(2));
    }

    #[test]
    fn silence_is_broken_by_a_sign_of_life() {
        let (mut session, now) = online();
        session.send(&Reply::Idle);
        assert_eq!(session.poll_action(now), Action::Transmit("STATUS idle\n".into()));
        assert!(matches!(session.poll_action(now + second(29)), Action::Wait(_)));
        assert_eq!(session.poll_action(now + second(30)), Action::Transmit("ALIVE\n".into()));
        assert!(matches!(session.poll_action(now + second(31)), Action::Wait(_)));
    }

    #[test]
    fn a_goodbye_is_over_when_the_server_closes_too() {
        let (mut session, now) = online();
        session.send(&Reply::Idle);
        session.close();
        session.send(&Reply::Alive);
        let lines: Vec<_> = (0..3).map(|_| session.poll_action(now)).collect();
        let sent = |text: &str| Action::Transmit(text.into());
        assert_eq!(lines, [sent("STATUS idle\n"), sent("BYE\n"), Action::HalfClose]);
        assert!(matches!(session.poll_action(now + second(100)), Action::Wait(_)));
        session.handle_lost(now, None, 0);
        assert!(matches!(session.poll_event(), Some(Incoming::Closed)));
        // One that breaks instead is connected again, and what is to be said is said again.
        let (mut session, now) = online();
        session.close();
        session.poll_action(now);
        session.poll_action(now);
        session.handle_lost(now, Some("reset"), 0);
        assert!(matches!(session.poll_event(), Some(Incoming::Lost(_))));
    }

    #[test]
    fn orders_come_out_and_nonsense_does_too() {
        let (mut session, _) = online();
        session.handle_bytes(b"PING id=3\nNO");
        session.handle_bytes(b"NSENSE\n\xff\n");
        let Some(Incoming::Request(request)) = session.poll_event() else { panic!() };
        assert_eq!((request.id.as_deref(), request.command), (Some("3"), Command::Ping));
        assert!(matches!(session.poll_event(), Some(Incoming::Rejected(_))));
        assert!(matches!(session.poll_event(), Some(Incoming::Rejected(_))));
        assert!(session.poll_event().is_none());
    }

    #[test]
    fn a_server_that_does_not_read_costs_no_memory() {
        let (mut session, now) = online();
        for _ in 0..10_000 {
            session.send(&Reply::Alive);
            session.send(&Reply::Idle);
        }
        assert_eq!(session.queue.len(), QUEUE_MAX);
        session.handle_lost(now, Some("x"), 0);
        session.send(&Reply::Idle);
        assert!(session.queue.is_empty());
    }
}
