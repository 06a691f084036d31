//! Somebody else on a group: hears everything and says what a test makes it say.
//!
//! What it owns: a thread and a socket, bound as a client's is. What it never does: speak without
//! having been spoken to, so that a test needs no pauses; or hear itself.

use crate::raw_client::{open, send};
use mcast::{InterfaceSelector, ReceiveBatch, Received};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

/// A bystander; it goes when this is dropped.
#[derive(Debug)]
pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Somebody at the address `local` of this machine. `answer` is given each datagram heard, who
    /// sent it, and a list for what to say to the group.
    ///
    /// # Panics
    /// When the socket cannot be opened.
    pub fn start(
        group: IpAddr,
        port: u16,
        local: IpAddr,
        mut answer: impl FnMut(SocketAddr, &[u8], &mut Vec<Vec<u8>>) + Send + 'static,
    ) -> Self {
        let socket = open(group, port, &InterfaceSelector::ByAddress(local)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut batch, mut answers) = (ReceiveBatch::new(), Vec::new());
            while !stopped.load(Relaxed) {
                let received = socket.receive(&mut batch, Some(Duration::from_millis(50)));
                if received.unwrap() == Received::TimedOut {
                    continue;
                }
                for datagram in batch.datagrams().filter(|d| d.source.ip() != local) {
                    answer(datagram.source, datagram.bytes, &mut answers);
                }
                for text in answers.drain(..) {
                    send(&socket, &text, socket.group_addr()).unwrap();
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        // A test that fails already should say its own words.
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the bystander died");
    }
}
