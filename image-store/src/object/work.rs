//! Asynchronous work for callers that block.
//!
//! What it owns: the threads on which requests to the object store run. A call waits on a channel,
//! not inside the runtime, so that it may come from any thread, also one of another runtime. What
//! it never does: block one of its own threads.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use tokio::runtime::{Builder, Runtime};

/// Threads for requests: they wait most of the time.
const THREADS: usize = 2;

/// A small runtime. Dropped, it forgets what is still under way.
#[derive(Debug)]
pub(super) struct Work(Option<Runtime>);

/// The result of something under way.
pub(super) type Pending<T> = Receiver<T>;

impl Work {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("object-store")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Starts something.
    pub(super) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pending<T> {
        let (sender, receiver) = sync_channel(1);
        if let Some(runtime) = &self.0 {
            runtime.spawn(async move {
                // Nobody may be waiting any more.
                let _ = sender.send(work.await);
            });
        }
        receiver
    }

    /// Does something and waits for it.
    pub(super) fn run<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, io::Error>
    where
        T: Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        wait(&self.start(work))
    }
}

/// Waits for the result of something under way.
pub(super) fn wait<T, E>(pending: &Pending<Result<T, E>>) -> Result<T, io::Error>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match pending.recv() {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("the object store's threads have ended")),
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Waiting for the threads would be an error on a thread of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
