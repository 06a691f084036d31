//! The server of a simulation: ours, or the model of a deployed one.

use std::net::SocketAddr;

use proto::server::{Config, RateConfig, Session, Transmit};
use proto::time::Instant;

use crate::deployed_server::DeployedServer;

/// A server under simulation.
#[derive(Debug)]
pub enum Server {
    /// Our session.
    New(Box<Session>),
    /// The model of a deployed server.
    Deployed(Box<DeployedServer>),
}

impl Server {
    /// A server with these settings.
    pub fn new(config: Config, deployed: bool) -> Self {
        if !deployed {
            return Self::New(Box::new(Session::new(config)));
        }
        let rate = match config.rate {
            RateConfig::Fixed(rate) => rate,
            RateConfig::Automatic { link } => link.unwrap_or(100_000_000),
        };
        Self::Deployed(Box::new(DeployedServer::new(
            config.geometry,
            config.local,
            config.block_wire_bits(),
            rate,
        )))
    }

    /// See [`Session::handle_datagram`].
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        match self {
            Self::New(s) => s.handle_datagram(now, from, bytes),
            Self::Deployed(s) => s.handle_datagram(now, bytes),
        }
    }

    /// See [`Session::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Self::New(s) = self {
            s.handle_timeout(now);
        }
    }

    /// See [`Session::poll_transmit`].
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        match self {
            Self::New(s) => s.poll_transmit(now, buffer),
            Self::Deployed(s) => s.poll_transmit(now, buffer),
        }
    }

    /// See [`Session::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::New(s) => s.poll_timeout(),
            Self::Deployed(s) => s.poll_timeout(),
        }
    }
}
