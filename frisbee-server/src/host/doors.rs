//! Limits of a TCP service: connections in all, and of one address.
//!
//! What it owns: the counts. What it never does: read from a connection.

use crate::host::config::Limits;
use crate::host::guard;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets connections in, as many as are allowed.
#[derive(Debug)]
pub(crate) struct Doors {
    all: Arc<Semaphore>,
    per_address: usize,
    addresses: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// Permission for one connection; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Pass {
    _permit: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Doors {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections)),
            per_address: limits.connections_per_address,
            addresses: Arc::default(),
        }
    }

    /// Waits for the next connection that may come in; `None` for one that may not, and was
    /// closed. While all places are taken, connections wait in the kernel.
    pub(crate) async fn accept(
        &self,
        listener: &TcpListener,
    ) -> Option<(TcpStream, SocketAddr, Pass)> {
        let permit = Arc::clone(&self.all).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let pass = self.enter(peer.ip().to_canonical(), permit)?;
                Some((stream, peer, pass))
            }
            Err(error) => {
                // Out of descriptors, most likely: some will be closed soon.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }

    fn enter(&self, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Pass> {
        let mut addresses = guard(&self.addresses);
        let count = addresses.entry(address).or_default();
        if *count >= self.per_address {
            tracing::debug!("{address} has {count} connections; one more was closed");
            return None;
        }
        *count += 1;
        let addresses = Arc::clone(&self.addresses);
        Some(Pass { _permit: permit, address, addresses })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut addresses = guard(&self.addresses);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_gets_so_many_and_room_comes_back() {
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let doors = Doors::new(limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let _clients = [
            TcpStream::connect(to).await.unwrap(),
            TcpStream::connect(to).await.unwrap(),
            TcpStream::connect(to).await.unwrap(),
            TcpStream::connect(to).await.unwrap(),
        ];
        let first = doors.accept(&listener).await.unwrap();
        let _second = doors.accept(&listener).await.unwrap();
        assert!(doors.accept(&listener).await.is_none(), "a third is too many");
        drop(first);
        assert!(doors.accept(&listener).await.is_some());
    }
}
