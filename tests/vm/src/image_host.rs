//! The lab's image host: frisbee-server as a process, as in operation.
//!
//! What it owns: starting it with a folder of images, asking it for its numbers, and its end.

use crate::artifacts::program;
use crate::lab::Lab;
use crate::process::Process;
use crate::services::answers;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use tests::wait::until;

/// Where clients ask for an image.
const RENDEZVOUS: u16 = 64494;

/// Where it tells its numbers.
const HTTP: u16 = 5011;

/// A running image host. It ends with this value.
#[derive(Debug)]
pub struct ImageHost<'a> {
    lab: &'a Lab,
    process: Process,
}

impl<'a> ImageHost<'a> {
    /// Starts it for all images of a folder; machines of the lab may load and save.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(lab: &'a Lab, images: &Path) -> Self {
        let server = program("frisbee-server").unwrap_or_else(|error| panic!("{error:#}"));
        let mut command = lab.host().command(server.to_str().expect("paths in tests are UTF-8"));
        command.arg("--dir").arg(images).args(["--allow-put", "10.77.0.0/24"]);
        let process = Process::start("frisbee-server", &mut command);
        until("the image host answers", || answers(lab, RENDEZVOUS) && answers(lab, HTTP));
        Self { lab, process }
    }

    /// Kills it, as a power cut would.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// One of its counters, by the end of its name in `/metrics`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let text = self.metrics().expect("the image host answers");
        let mut numbers = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            key.ends_with(name).then(|| value.trim().parse().ok())?
        });
        numbers.next().unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    fn metrics(&self) -> std::io::Result<String> {
        let mut stream =
            self.lab.host().enter(|| TcpStream::connect((self.lab.address(), HTTP)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
