//! Workers whose results come out in the order in which the jobs went in.
//!
//! What it owns: the threads' queues. A job travels to the workers together with a one-shot
//! channel for its result; the receiving ends wait in a queue in the order of submission. Both
//! queues are bounded, so memory is bounded and a slow reader of results slows the producer.
//! Errors are results like any other: the first one in order is what the reader sees. What it
//! never does: know what a job is.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::thread::Scope;

/// The producer's end: takes jobs.
pub struct JobSender<J, R> {
    jobs: Sender<(J, Sender<R>)>,
    order: Sender<Receiver<R>>,
}

/// The consumer's end: yields results in the order of their jobs.
pub struct OrderedResults<R> {
    order: Receiver<Receiver<R>>,
}

/// The other side has gone: nobody will read the result, or nobody works any more.
#[derive(Debug)]
pub struct Closed;

/// Starts `workers` threads in `scope`; each runs its own closure made by `make_worker`. At most
/// `depth` jobs are under way at any time.
pub fn start<'scope, J, R, W>(
    scope: &'scope Scope<'scope, '_>,
    workers: usize,
    depth: usize,
    mut make_worker: impl FnMut() -> W,
) -> (JobSender<J, R>, OrderedResults<R>)
where
    J: Send + 'scope,
    R: Send + 'scope,
    W: FnMut(J) -> R + Send + 'scope,
{
    let (jobs, incoming) = bounded::<(J, Sender<R>)>(depth.max(1));
    let (order, results) = bounded(depth.max(1));
    for _ in 0..workers.max(1) {
        let incoming = incoming.clone();
        let mut work = make_worker();
        scope.spawn(move || {
            for (job, reply) in incoming {
                // A reader that has gone wants no more results; drain and end.
                let _ = reply.send(work(job));
            }
        });
    }
    (JobSender { jobs, order }, OrderedResults { order: results })
}

impl<J, R> JobSender<J, R> {
    /// Hands a job to the workers; waits while too many are under way.
    ///
    /// # Errors
    /// When nobody reads results any more.
    pub fn send(&self, job: J) -> Result<(), Closed> {
        let (reply, result) = bounded(1);
        self.order.send(result).map_err(|_| Closed)?;
        self.jobs.send((job, reply)).map_err(|_| Closed)
    }
}

impl<R> Iterator for OrderedResults<R> {
    type Item = R;

    /// The next result; ends when all jobs are done and the sender is gone, or when a worker died.
    fn next(&mut self) -> Option<R> {
        self.order.recv().ok()?.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_jobs() {
        for workers in [1, 2, 7] {
            std::thread::scope(|scope| {
                let (jobs, results) = start(scope, workers, 4, || |n: u64| (n, n * n));
                scope.spawn(move || (0..500).try_for_each(|n| jobs.send(n)));
                let all: Vec<_> = results.collect();
                assert_eq!(all, (0..500).map(|n| (n, n * n)).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn a_reader_that_stops_stops_the_producer() {
        std::thread::scope(|scope| {
            let (jobs, mut results) = start(scope, 2, 4, || |n: u64| n);
            let producer = scope.spawn(move || (0..u64::MAX).find(|n| jobs.send(*n).is_err()));
            assert_eq!(results.next(), Some(0));
            drop(results);
            assert!(producer.join().unwrap().is_some());
        });
    }
}
