//! The lab's control server, which does as a test says.
//!
//! What it owns: where it listens. What it hears and says is of `frisbee_agent::control::testing`.

use crate::console::PATIENCE;
use crate::lab::Lab;
use frisbee_agent::control::testing::ControlServer;
use std::net::TcpListener;

/// Where agents look for one.
const PORT: u16 = 64496;

/// Listens on the lab's host.
///
/// # Panics
/// When that cannot be.
#[must_use]
pub fn listen(lab: &Lab) -> ControlServer {
    let listener = lab.host().enter(|| TcpListener::bind((lab.address(), PORT)));
    ControlServer::on(listener.expect("nobody else listens there"), PATIENCE)
}
