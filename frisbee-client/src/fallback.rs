//! When the network brings nothing: telling the host, and asking it for unicast.
//!
//! What it owns: when silence is trouble, and the thread that speaks with the host meanwhile. What
//! it never does: touch the session or its socket; it says where to go.

use crate::host::{Found, Host, Seen};
use proto::time::Instant;
use rendezvous::client::ClientError;
use rendezvous::frame::What;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

/// The wait doubles so often at most.
const DOUBLINGS_MAX: u32 = 4;

/// What the network did until now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Blocks that came from the server so far.
    pub(crate) blocks: u64,
    /// The server has answered.
    pub(crate) has_joined: bool,
    /// Nothing is expected: chunks wait for the disk, or the load is over.
    pub(crate) is_busy: bool,
}

/// What became of a silence.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Half of the time has passed: a switch may have forgotten that this machine is a member.
    Renew,
    /// The host names another session.
    GoTo(Box<Found>),
    /// The host names the session that brings nothing.
    Stay,
    /// The host was told, and asked for nothing.
    Told,
    /// The host cannot be asked, or refuses.
    Failed(ClientError),
}

/// Watches for silence.
#[derive(Debug)]
pub(crate) struct Watch {
    host: Host,
    after: Duration,
    may_fall_back: bool,
    blocks: u64,
    /// Since when nothing came that was expected.
    silent_since: Instant,
    /// The membership was renewed in this silence.
    has_renewed: bool,
    /// When the host was asked last.
    asked_at: Option<Instant>,
    /// Times it was asked in this silence.
    asked: u32,
    pending: Option<(Seen, Receiver<Outcome>)>,
}

impl Watch {
    /// Silence of `after` is trouble. Without `may_fall_back` the host only hears of it.
    pub(crate) fn new(host: Host, after: Duration, may_fall_back: bool) -> Self {
        Self {
            host,
            after,
            may_fall_back,
            blocks: 0,
            silent_since: Instant::ZERO,
            has_renewed: false,
            asked_at: None,
            asked: 0,
            pending: None,
        }
    }

    /// Looks at what came; tells when something has to be done.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        moment: Moment,
        group: SocketAddr,
    ) -> Option<(Seen, Outcome)> {
        if moment.blocks != self.blocks || moment.is_busy {
            // Whatever the host says now comes too late.
            (self.blocks, self.silent_since) = (moment.blocks, now);
            (self.has_renewed, self.asked_at, self.asked) = (false, None, 0);
            self.pending = None;
            return None;
        }
        if let Some((seen, answer)) = &self.pending {
            let (seen, answer) = (*seen, answer.try_recv());
            let outcome = match answer {
                Err(TryRecvError::Empty) => return None,
                // The thread did not come to its end: as good as no answer.
                Err(TryRecvError::Disconnected) => Outcome::Failed(ClientError::Stopped),
                Ok(Outcome::GoTo(found)) if found.group == group => Outcome::Stay,
                Ok(outcome) => outcome,
            };
            self.pending = None;
            self.asked_at = Some(now);
            return Some((seen, outcome));
        }
        let what = match () {
            () if !moment.has_joined => What::NoReply,
            () if moment.blocks == 0 => What::NoData,
            () => What::Stopped,
        };
        let silent = now.since(self.silent_since).into();
        let seen = Seen { group, what, silent, blocks: moment.blocks };
        if !self.has_renewed && silent >= self.after / 2 {
            self.has_renewed = true;
            return Some((seen, Outcome::Renew));
        }
        let wait = self.after * 2_u32.pow(self.asked.min(DOUBLINGS_MAX));
        let quiet = now.since(self.asked_at.unwrap_or(self.silent_since));
        if Duration::from(quiet) < wait {
            return None;
        }
        self.asked = self.asked.saturating_add(1);
        self.ask(seen);
        None
    }

    /// Speaks with the host in a thread of its own, which ends by itself.
    fn ask(&mut self, seen: Seen) {
        let (answered, answer) = channel();
        let (host, may_fall_back) = (self.host.clone(), self.may_fall_back);
        std::thread::spawn(move || {
            // A deployed host cannot be told, but asked.
            match host.report(&seen, may_fall_back) {
                Ok(()) | Err(ClientError::Old { .. }) => {}
                Err(error) => tracing::info!("the trouble could not be reported: {error}"),
            }
            let outcome = match may_fall_back.then(|| host.find_unicast()) {
                None => Outcome::Told,
                Some(Ok(found)) => Outcome::GoTo(Box::new(found)),
                Some(Err(error)) => Outcome::Failed(error),
            };
            // The load may be over.
            let _ = answered.send(outcome);
        });
        self.pending = Some((seen, answer));
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }
}

/// For people: what the trouble is.
pub(crate) fn in_words(what: What) -> &'static str {
    match what {
        What::NoReply => "no server answered",
        What::NoData => "no data came",
        What::Stopped => "the data stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser;
    use imagezip::interrupt::Interrupt;
    use rendezvous::ErrorCode;
    use rendezvous::frame::{Message, Trouble, TroubleReply};
    use rendezvous::record::{GetAnswer, GetReply, Methods, SessionAddress, Signature};
    use rendezvous::testing::{FakeHost, Step, step};
    use std::net::Ipv4Addr;

    const UNICAST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn multicast() -> SocketAddr {
        ([239, 1, 2, 3], 7001).into()
    }

    fn hears(what: What, fallback: bool) -> Step {
        step(move |peer| {
            let heard = peer.hear();
            let Some(Message::Trouble(Trouble { what: w, fallback: f, address, .. })) = heard
            else {
                panic!("expected TROUBLE, found {heard:?}");
            };
            assert_eq!((w, f, address), (what, fallback, multicast().ip()));
            peer.say(&Message::TroubleReply(TroubleReply {}));
        })
    }

    fn names(reply: Result<u16, ErrorCode>) -> Step {
        step(move |peer| {
            assert_eq!(peer.hear_get().methods, Methods::UNICAST);
            peer.answer_get(match reply {
                Err(code) => GetReply::Error(code),
                Ok(port) => GetReply::Found(GetAnswer {
                    methods: Methods::UNICAST,
                    session: Some(SessionAddress { server: UNICAST, group: UNICAST, port }),
                    signature: Signature::None,
                    bytes: 1 << 20,
                }),
            });
        })
    }

    fn watch(host: &FakeHost, may_fall_back: bool) -> Watch {
        let server = host.address().to_string();
        let args = Args::parse_from(["frisbee-client", "-S", &server, "-F", "image", "disk"]);
        let host = Host::of(&args, &Interrupt::never()).unwrap();
        Watch::new(host, Duration::from_secs(10), may_fall_back)
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + proto::time::Duration::from_secs(seconds)
    }

    fn moment(blocks: u64) -> Moment {
        Moment { blocks, has_joined: true, is_busy: false }
    }

    /// Looks at one time until the host has answered.
    fn outcome(watch: &mut Watch, now: Instant, moment: Moment) -> (Seen, Outcome) {
        let start = std::time::Instant::now();
        loop {
            match watch.look(now, moment, multicast()) {
                Some((_, Outcome::Renew)) => continue,
                Some(found) => return found,
                None => {}
            }
            assert!(watch.pending.is_some(), "it is not trouble yet");
            assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
            std::thread::yield_now();
        }
    }

    #[test]
    fn silence_is_trouble_and_unicast_the_way_out() {
        let host = FakeHost::start(vec![
            hears(What::NoReply, true),
            names(Err(ErrorCode::TryAgain)),
            hears(What::NoData, true),
            names(Ok(7002)),
        ]);
        let mut watch = watch(&host, true);
        let alone = Moment { has_joined: false, ..moment(0) };
        assert!(watch.look(at(4), alone, multicast()).is_none());
        let renewed = watch.look(at(5), alone, multicast());
        assert!(matches!(renewed, Some((_, Outcome::Renew))), "{renewed:?}");
        assert!(watch.look(at(9), alone, multicast()).is_none() && watch.pending.is_none());
        let (seen, first) = outcome(&mut watch, at(10), alone);
        assert!(matches!(first, Outcome::Failed(_)), "{first:?}");
        assert_eq!((seen.what, seen.silent.as_secs()), (What::NoReply, 10));
        // Twice as long until it is asked again.
        assert!(watch.look(at(29), moment(0), multicast()).is_none() && watch.pending.is_none());
        let (_, second) = outcome(&mut watch, at(30), moment(0));
        let Outcome::GoTo(found) = second else { panic!("{second:?}") };
        assert_eq!(found.group, (UNICAST, 7002).into());
        host.finish();
    }

    #[test]
    fn whatever_comes_ends_the_silence() {
        let host = FakeHost::start(vec![hears(What::Stopped, false)]);
        let mut watch = watch(&host, false);
        let busy = Moment { is_busy: true, ..moment(5) };
        for (seconds, moment) in [(0, moment(0)), (4, moment(5)), (18, busy), (22, moment(5))] {
            assert!(watch.look(at(seconds), moment, multicast()).is_none());
            assert!(watch.pending.is_none(), "{seconds}");
        }
        let (seen, told) = outcome(&mut watch, at(28), moment(5));
        assert!(matches!(told, Outcome::Told), "{told:?}");
        assert_eq!(seen.blocks, 5);
        assert!(watch.look(at(29), moment(6), multicast()).is_none());
        assert_eq!(watch.asked, 0);
        host.finish();
    }

    #[test]
    fn an_answer_that_comes_too_late_or_changes_nothing_is_not_followed() {
        let host = FakeHost::start(vec![hears(What::NoData, true), names(Ok(7002))]);
        let mut watch = watch(&host, true);
        assert!(watch.look(at(5), moment(0), multicast()).is_some());
        assert!(watch.look(at(10), moment(0), multicast()).is_none() && watch.pending.is_some());
        assert!(watch.look(at(11), moment(1), multicast()).is_none());
        assert!(watch.look(at(12), moment(1), multicast()).is_none() && watch.pending.is_none());

        let (answered, answer) = channel();
        let seen =
            Seen { group: multicast(), what: What::NoData, silent: Duration::ZERO, blocks: 1 };
        watch.pending = Some((seen, answer));
        let found = Found {
            host: "boss".into(),
            image: "image".into(),
            group: multicast(),
            server: multicast().ip(),
            methods: Methods::UNICAST,
            bytes: 1,
        };
        answered.send(Outcome::GoTo(Box::new(found))).unwrap();
        let (_, outcome) = watch.look(at(13), moment(1), multicast()).unwrap();
        assert!(matches!(outcome, Outcome::Stay), "{outcome:?}");
    }
}
