//! The lab's image host: frisbee-server as a process, as in operation.
//!
//! What it owns: starting it with a folder of images, and its end.

use crate::artifacts::program;
use crate::lab::Lab;
use crate::process::Process;
use crate::services::answers;
use std::path::Path;
use tests::wait::until;

/// Where clients ask for an image.
const RENDEZVOUS: u16 = 64494;

/// Starts it for all images of a folder; machines of the lab may load and save.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn start(lab: &Lab, images: &Path) -> Process {
    let server = program("frisbee-server").unwrap_or_else(|error| panic!("{error:#}"));
    let mut command = lab.host().command(server.to_str().expect("paths in tests are UTF-8"));
    command.arg("--dir").arg(images).args(["--allow-put", "10.77.0.0/24"]);
    let process = Process::start("frisbee-server", &mut command);
    until("the image host answers", || answers(lab, RENDEZVOUS));
    process
}
