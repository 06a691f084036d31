//! The smallest possible client: a session on a socket, the file in memory.
//!
//! What it is: the other side for tests of the server, so that they do not depend on the client
//! program. What it never does: write a disk, start a thread, or check what is in an image.

use anyhow::{Context, Result, bail, ensure};
use mcast::{GroupSocket, InterfaceSelector, Options, ReceiveBatch, Received, Role, SendBatch};
use proto::client::{self, Config, Counters, Destination, Event, JoinKind, Session};
use proto::geometry::Geometry;
use proto::time::Instant;
use proto::wire::CONTROL_LEN_MAX;
use std::net::IpAddr;
use std::time::Duration;

/// A load that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a load.
#[derive(Debug)]
pub struct Loaded {
    /// The file.
    pub bytes: Vec<u8>,
    /// What the session counted.
    pub counters: Counters,
    /// Identity of the image, if the server told it.
    pub image_id: Option<[u8; 16]>,
}

/// Opens a client's socket.
///
/// # Errors
/// When that fails.
pub fn open(group: IpAddr, port: u16, interface: &InterfaceSelector) -> Result<GroupSocket> {
    Ok(GroupSocket::set_up(Role::Client, group, port, interface, &Options::default())?)
}

/// Loads what is served, and leaves. `on_chunk` is told how many chunks are complete after each;
/// the client dies without a word when it returns false, and the result is `None`.
///
/// # Errors
/// When the load does not end in time, or the socket fails.
pub fn load(
    socket: &GroupSocket,
    join: JoinKind,
    client_id: u32,
    on_chunk: &mut dyn FnMut(u32) -> bool,
) -> Result<Option<Loaded>> {
    let (group, local) = (socket.group(), socket.local_addr().ip());
    let seed = u64::from(client_id);
    let config = Config { join, ..Config::new(group.ip(), group.port(), local, client_id, seed) };
    let client = Client {
        socket,
        session: Session::new(config),
        geometry: None,
        slots: Vec::new(),
        origin: std::time::Instant::now(),
        loaded: Loaded { bytes: Vec::new(), counters: Counters::default(), image_id: None },
    };
    client.run(on_chunk)
}

struct Client<'a> {
    socket: &'a GroupSocket,
    session: Session,
    geometry: Option<Geometry>,
    slots: Vec<Vec<u8>>,
    origin: std::time::Instant,
    loaded: Loaded,
}

impl Client<'_> {
    fn now(&self) -> Instant {
        Instant::from_nanos(1) + self.origin.elapsed().into()
    }

    fn run(mut self, on_chunk: &mut dyn FnMut(u32) -> bool) -> Result<Option<Loaded>> {
        let mut batch = ReceiveBatch::new();
        loop {
            let (elapsed, counters) = (self.origin.elapsed(), *self.session.counters());
            let done = self.session.chunks_done();
            ensure!(elapsed < PATIENCE, "{done} chunks after {elapsed:?}: {counters:?}");
            self.session.handle_timeout(self.now());
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Left => {
                        self.loaded.counters = *self.session.counters();
                        return Ok(Some(self.loaded));
                    }
                    Event::ChunkComplete { chunk, slot, .. } => {
                        self.take(chunk, slot)?;
                        if !on_chunk(self.session.chunks_complete()) {
                            return Ok(None);
                        }
                        self.session.chunk_done(self.now(), chunk);
                    }
                    other => self.event(other)?,
                }
            }
            self.transmit()?;
            let next = self.session.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
            let wait = Duration::from(next.since(self.now())).min(Duration::from_millis(100));
            if let Received::Datagrams(_) = self.socket.receive(&mut batch, Some(wait))? {
                let now = self.now();
                for datagram in batch.datagrams() {
                    let received =
                        self.session.handle_datagram(now, datagram.source, datagram.bytes);
                    if let client::Received::Block { block, slot, payload, .. } = received {
                        place(&mut self.slots, slot, block, payload)?;
                    }
                }
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Joined { geometry, image_id, .. } => {
                self.geometry = Some(geometry);
                self.loaded.image_id = image_id;
                self.loaded.bytes = vec![0xee; usize::try_from(geometry.bytes())?];
            }
            Event::Finished => self.session.leave(self.now()),
            // The load just goes on.
            Event::ServerRestarted => {}
            other => bail!("{other:?}"),
        }
        Ok(())
    }

    /// A chunk's buffer into the file.
    fn take(&mut self, chunk: u32, slot: u32) -> Result<()> {
        let geometry = self.geometry.context("a chunk before the join")?;
        let len = usize::try_from(geometry.bytes_in(chunk))?;
        let offset = usize::try_from(geometry.offset(chunk, 0))?;
        let bytes = self.slots.get(usize::try_from(slot)?).context("an unknown slot")?;
        self.loaded.bytes[offset..offset + len].copy_from_slice(&bytes[..len]);
        Ok(())
    }

    fn transmit(&mut self) -> Result<()> {
        let mut buffer = [0; CONTROL_LEN_MAX];
        while let Some(transmit) = self.session.poll_transmit(self.now(), &mut buffer) {
            let to = match transmit.to {
                Destination::Group => self.socket.group_addr(),
                Destination::Address(address) => address,
            };
            send(self.socket, &buffer[..transmit.len], to)?;
        }
        Ok(())
    }
}

/// Sends one datagram.
///
/// # Errors
/// When the socket fails for good.
pub fn send(socket: &GroupSocket, bytes: &[u8], to: std::net::SocketAddr) -> Result<()> {
    let mut batch = SendBatch::new(bytes.len(), 1);
    batch.push().context("an empty batch has room")?.copy_from_slice(bytes);
    socket.send(&mut batch, to)?;
    Ok(())
}

fn place(slots: &mut Vec<Vec<u8>>, slot: u32, block: u32, payload: &[u8]) -> Result<()> {
    let slot = usize::try_from(slot)?;
    if slots.len() <= slot {
        slots.resize_with(slot + 1, || vec![0; 1 << 20]);
    }
    let offset = usize::try_from(block)? * payload.len();
    slots[slot][offset..offset + payload.len()].copy_from_slice(payload);
    Ok(())
}
