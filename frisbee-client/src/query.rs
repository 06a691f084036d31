//! `-Q`: what a host says of an image, and nothing more.

use crate::args::Args;
use crate::error::ClientError;
use crate::host::Host;
use imagezip::cli::{Exit, print};
use imagezip::interrupt::Interrupt;
use imagezip::units::HumanBytes;
use rendezvous::record::Signature;
use serde_json::json;

/// Asks for the status of an image, prints it on standard output, and returns the exit status.
///
/// # Errors
/// When the host cannot be asked, or has no such image.
pub fn query(args: &Args, interrupt: &Interrupt) -> Result<Exit, ClientError> {
    let Some(host) = Host::of(args, interrupt) else { return Ok(Exit::Usage) };
    let answer = host.status()?;
    let image = args.image.as_ref().map(ToString::to_string).unwrap_or_default();
    let modified = match answer.signature {
        Signature::Modified(seconds) => Some(seconds),
        _ => None,
    };
    let text = if args.json {
        let object = json!({
            "event": "status",
            "server": host.server().to_string(),
            "image": image,
            "bytes": answer.bytes,
            "modified": modified,
            "methods": answer.methods.to_string(),
            "running": answer.session.is_some(),
            "group": answer.session.map(|session| session.group),
            "port": answer.session.map(|session| session.port),
        });
        format!("{object}\n")
    } else {
        let size = HumanBytes(answer.bytes);
        let session = match answer.session {
            Some(session) => format!("running on {} port {}", session.group, session.port),
            None => "not running".into(),
        };
        let time = modified.map(|seconds| format!(", modified @{seconds}")).unwrap_or_default();
        format!("{image}: {size}{time}, by {}, {session}\n", answer.methods)
    };
    // Whoever asked may have gone.
    let _ = print(&text);
    Ok(Exit::Done)
}
