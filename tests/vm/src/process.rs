//! Programs that run beside a test and end with it.
//!
//! What it owns: their processes, and showing what they said when a test fails.

use crate::transcript::Transcript;
use std::io::Read;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How many lines of its output are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// How often it is asked whether it has ended; a process cannot be waited for with a deadline.
const PERIOD: Duration = Duration::from_millis(20);

/// A running program. It is killed when this value goes, and its last words are printed if that is
/// because the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Everything it printed, to both streams.
    pub output: Arc<Transcript>,
}

impl Process {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = Arc::new(Transcript::new());
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for mut stream in streams.into_iter().flatten() {
            let output = Arc::clone(&output);
            output.open();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    output.add(buffer.get(..count).unwrap_or_default());
                }
                output.close();
            });
        }
        Self { name: name.to_owned(), child, output }
    }

    /// What it is called here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it reads. `None` once it was taken.
    pub fn input(&mut self) -> Option<&mut ChildStdin> {
        self.child.stdin.as_mut()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within this time.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let give_up = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < give_up, "{} still runs after {patience:?}", self.name);
            thread::sleep(PERIOD);
        }
    }

    /// Ends it, as pulling the plug would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("---- {} said:\n{}", self.name, self.output.tail(SHOWN_LINES));
        }
    }
}
