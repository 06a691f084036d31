//! A whole load, from the command line to the flushed disk.
//!
//! What it owns: opening target and socket, in this order, and the two halves: the thread that
//! receives and the threads that write. What it never does: print.

use crate::args::Args;
use crate::error::ClientError;
use crate::fallback::Watch;
use crate::host::Host;
use crate::image::load_image;
use crate::raw_file::load_file;
use crate::receiver::Receiver;
use crate::report::Report;
use crate::sockets::{Network, Sockets};
use crate::status::Status;
use crate::work::Verdict;
use crate::workers::Workers;
use crossbeam_channel::{bounded, unbounded};
use imagezip::interrupt::Interrupt;
use imagezip::load::{LoadError, Place};
use mcast::GroupSocket;
use proto::client::{Config, JoinKind};
use proto::time::Duration;
use std::net::SocketAddr;
use uuid::Uuid;

/// Loads what the server sends onto the target. When this returns `Ok`, everything is on stable
/// storage and the server knows that this client is done.
///
/// # Errors
/// See [`ClientError`]; [`Status::is_touched`] tells whether the target is incomplete.
pub fn load(args: &Args, status: &Status, interrupt: &Interrupt) -> Result<Report, ClientError> {
    let place = Place::open(args.target(), args.place(), None)?;
    let host = Host::of(args, interrupt);
    let (group, server) = match &host {
        Some(host) => {
            let found = host.find()?;
            tracing::info!(group = %found.group, methods = %found.methods, "the host answered");
            status.set_found(found.clone());
            (found.group, Some(found.server))
        }
        None => (SocketAddr::new(args.group(), args.port), None),
    };
    let network = Network::new(args, server);
    let socket = network.open(group)?;
    for warning in socket.warnings() {
        tracing::warn!("{warning}");
    }
    let shares = args.shares(machine_bytes());
    let (work, work_taken) = bounded(usize::try_from(shares.slots).unwrap_or(0).saturating_add(1));
    let (verdicts, verdicts_taken) = unbounded();
    let keep_alive = args.keep_alive.map(Duration::from_secs);
    let config = config(args, &socket, shares.slots);
    let workers = Workers::new(verdicts, socket.waker(), status, interrupt);
    let watch = host.map(|host| {
        Watch::new(host, std::time::Duration::from_secs(args.fallback_after), !args.no_fallback)
    });
    let socket = Sockets::new(socket, network);
    let receiver = Receiver::new(socket, config, work, verdicts_taken, status, interrupt)
        .with_keep_alive(keep_alive)
        .with_watch(watch);
    let (written, received) = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receiver.run());
        let written = match args.raw {
            true => load_file(shares, place, &work_taken, &workers),
            false => load_image(args, shares, place, &work_taken, &workers, interrupt),
        };
        workers.tell(Verdict::Over);
        (written, receiving.join())
    });
    let (ended, counted) = received.map_err(|_| LoadError::EndedEarly)?;
    match (written, ended) {
        (Ok(written), Ok(())) => Ok(Report::new(written, counted, status)),
        // A load that is whole stays so when the leave could not be sent.
        (Ok(written), Err(ClientError::Socket(error))) => {
            tracing::warn!("the server could not be told of the end: {error}");
            Ok(Report::new(written, counted, status))
        }
        // Without the network's half the other one only knows that nothing came any more.
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

fn config(args: &Args, socket: &GroupSocket, slots: u32) -> Config {
    let local = socket.local_addr().ip();
    let (id, seed) = Uuid::new_v4().as_u64_pair();
    // The two halves of a random number; the fixed bits of a version 4 UUID lie elsewhere.
    let id = u32::try_from(id >> 32).unwrap_or_default();
    Config {
        join: if args.raw { JoinKind::File } else { JoinKind::Image },
        slots,
        keep_slot_for_first: !args.raw,
        give_up_after: args.timeout.map(Duration::from_secs),
        ..Config::new(socket.group().ip(), socket.group().port(), local, id, seed)
    }
}

/// Memory of the machine in bytes.
fn machine_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}
