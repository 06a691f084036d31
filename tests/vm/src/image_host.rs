//! The lab's image host: frisbee-server as a process, as in operation.
//!
//! What it owns: starting it, with a folder of images or for one image, and asking for its numbers.

use crate::console::PATIENCE;
use crate::lab::Lab;
use crate::process::Process;
use crate::services::answers;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use tests::programs::built;
use tests::wait::until;

/// Where clients ask for an image.
const RENDEZVOUS: u16 = 64494;

/// Where it tells its numbers.
const HTTP: u16 = 5011;

fn server() -> PathBuf {
    built("frisbee-server", "frisbee-server").unwrap_or_else(|error| panic!("{error:#}"))
}

/// A running image host. It ends with this value.
#[derive(Debug)]
pub struct ImageHost {
    process: Process,
}

impl ImageHost {
    /// Starts it for all images of a folder; machines of the lab may load and save.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(lab: &Lab, images: &Path) -> Self {
        let server = server();
        let mut command = lab.host().command(server.to_str().expect("paths in tests are UTF-8"));
        command.arg("--dir").arg(images).args(["--allow-put", "10.77.0.0/24"]);
        let process = Process::start("frisbee-server", &mut command);
        until("the image host answers", || answers(lab, RENDEZVOUS) && answers(lab, HTTP));
        Self { process }
    }

    /// Kills it, as a power cut would.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

/// What emulated machines can take. The lab's cables say that they are of 10 Gb/s, and a server that
/// believes them has sent the image five times before it has found out.
const BANDWIDTH: &str = "40M";

/// A server of one image to one group.
#[derive(Debug)]
pub struct OneImage {
    process: Process,
}

/// What it did.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Blocks of the image.
    pub image_blocks: u64,
    /// Blocks sent, to all machines together.
    pub blocks: u64,
    /// Machines that it served by multicast, and that have the whole image.
    pub machines: usize,
}

impl OneImage {
    /// Starts it; machines wait for it at this address.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(lab: &Lab, image: &Path, group: SocketAddrV4) -> Self {
        let server = server();
        let mut command = lab.host().command(server.to_str().expect("paths in tests are UTF-8"));
        command.args(["--json", "--timeout", "-1", "--bandwidth", BANDWIDTH]);
        command.args(["--group", &group.ip().to_string(), "--port", &group.port().to_string()]);
        command.arg(image);
        Self { process: Process::start("frisbee-server", &mut command) }
    }

    /// Waits until the last machine has left, which ends it.
    ///
    /// # Panics
    /// When it does not end, or not well.
    #[must_use]
    pub fn wait(mut self) -> Sent {
        let status = self.process.wait(PATIENCE);
        assert!(status.success(), "frisbee-server: {status}");
        self.summary().expect("the server sums up")
    }

    fn summary(&self) -> Option<Sent> {
        let text = self.process.output.text();
        let line = text.lines().find(|line| line.starts_with(r#"{"event":"summary""#))?;
        let summary: serde_json::Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| summary.get(name)?.as_u64();
        let clients = summary.get("clients")?.as_array()?;
        let well = |client: &&serde_json::Value| {
            let number = |name: &str| client.get(name)?.as_u64();
            client.get("unicast").and_then(serde_json::Value::as_bool) == Some(false)
                && number("chunks_done") == number("chunks")
        };
        Some(Sent {
            image_blocks: number("image_blocks")?,
            blocks: number("blocks_sent")?,
            machines: clients.iter().filter(well).count(),
        })
    }
}
