//! What befalls a world: crashes, restarts, broken connections, strangers.

use std::net::SocketAddr;

use proto::block_set::BlockSet;
use proto::client;
use proto::wire::{self, CONTROL_LEN_MAX};

use crate::client::Client;
use crate::network::{Link, Network};
use crate::setup::Action;
use crate::world::{GROUP, Happening, PORT, Target, World, flip_bit};

impl World {
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Crash(i, pause) => {
                let seed = self.random.next_u64();
                let start = self.now + pause;
                let Some(client) = self.clients.get_mut(i) else { return };
                if !client.alive || client.finished.is_some() {
                    return;
                }
                let id = u32::try_from(seed >> 32).unwrap_or(0);
                let config = client::Config::new(GROUP, PORT, client.address.ip(), id, seed);
                let mut fresh =
                    Client::new(client.host, config, client.address, self.setup.geometry);
                fresh.link = client.link;
                fresh.may_reject = client.may_reject;
                fresh.life = client.life + 1;
                let life = fresh.life;
                *client = fresh;
                self.plan(start, Happening::ClientStarts(i, life));
            }
            Action::ServerStops => self.server = None,
            Action::ServerStarts => {
                if self.server.is_none() {
                    self.start_server();
                }
            }
            Action::Redirect(i) => {
                let now = self.now;
                if let Some(client) = self.clients.get_mut(i).filter(|client| client.alive) {
                    client.redirect(now);
                    self.pump_client(i);
                }
            }
            Action::Link(i, link) => {
                if let Some(client) = self.clients.get_mut(i) {
                    client.link = link;
                }
            }
            Action::Forge(count) => self.forge(count),
            Action::Noise(count) => {
                let from = SocketAddr::from(([10, 0, 0, 67], PORT));
                for _ in 0..count {
                    let mut bytes = self.block(0, 0);
                    for _ in 0..self.random.below(8) {
                        flip_bit(&mut bytes, self.random.next_u64() | 1);
                    }
                    self.send(from, Target::Everybody, &bytes);
                }
            }
            Action::Kind => {
                self.network = Network { delay: self.network.delay, ..Network::default() };
                for client in &mut self.clients {
                    client.link = Link::default();
                }
                if self.server.is_none() {
                    self.start_server();
                }
            }
        }
    }

    fn forge(&mut self, count: u32) {
        let from = SocketAddr::from(([10, 0, 0, 66], PORT));
        let srcip = wire::source_ip_field(from.ip());
        let g = self.setup.geometry;
        let mut buffer = [0; CONTROL_LEN_MAX];
        for _ in 0..count {
            let chunk = u32::try_from(self.random.below(u64::from(g.chunks()) + 1)).unwrap_or(0);
            let message = match self.random.chance(500_000) {
                true => wire::Message::Request { chunk, first: 0, count: g.blocks_per_chunk() },
                false => wire::Message::PartialRequest {
                    chunk,
                    retries: 3,
                    wanted: BlockSet::first(g.blocks_per_chunk()),
                },
            };
            let datagram = wire::Datagram { srcip, message };
            let len = wire::encode(&datagram, &mut buffer).unwrap_or(0);
            let bytes = buffer.get(..len).unwrap_or(&[]).to_vec();
            self.send(from, Target::Everybody, &bytes);
        }
    }
}
