//! frisbee-server in threads of this process.

use crossbeam_channel::{Receiver, bounded};
use frisbee_server::report::Started;
use frisbee_server::{Image, Network, Report, Server, Settings, Summary};
use imagezip::interrupt::Interrupt;
use mcast::Waker;
use std::path::Path;
use std::thread::JoinHandle;

/// A running server. It ends when it is told to, or by its own rules.
#[derive(Debug)]
pub struct RealServer {
    started: Started,
    interrupt: Interrupt,
    waker: Waker,
    /// What it reports.
    pub reports: Receiver<Report>,
    thread: JoinHandle<Summary>,
}

impl RealServer {
    /// Starts a server in the namespace of the calling thread.
    ///
    /// # Panics
    /// When it does not start; its own errors are panics of its thread.
    pub fn start(file: &Path, network: &Network, settings: &Settings) -> Self {
        let image = Image::open(file, false, &Interrupt::never()).unwrap();
        let socket = network.open().unwrap();
        let server = Server::new(image, socket, settings).unwrap();
        let (started, waker) = (server.started().clone(), server.waker());
        let interrupt = Interrupt::never();
        let (to_us, reports) = bounded(10_000);
        let stop = interrupt.clone();
        let thread = std::thread::spawn(move || server.run(&stop, &to_us).unwrap());
        Self { started, interrupt, waker, reports, thread }
    }

    /// The port it took.
    pub fn port(&self) -> u16 {
        self.started.port
    }

    /// Ends it as a signal would.
    ///
    /// # Panics
    /// When the server did.
    pub fn stop(self) -> Summary {
        self.interrupt.set();
        self.waker.wake();
        self.wait()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When the server did.
    pub fn wait(self) -> Summary {
        self.thread.join().unwrap()
    }
}
