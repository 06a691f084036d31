//! What the programs of this project share: exit statuses, progress on a terminal, parsing of sizes.
//!
//! What it never does: know what a program is for.

mod class;
mod display;
mod exit;
mod size;
mod speak;

pub use class::Class;
pub use display::{Display, Shown, Stream};
pub use exit::{EXIT_STATUS_HELP, Exit};
pub use size::{default_threads, parse_bandwidth, parse_memory, parse_threads};
pub use speak::{chain, print, say};

use crate::interrupt::{self, Interrupt};

/// Has signals end the work of `program` from now on; when the system does not allow it, says so and
/// returns the status to end with.
///
/// # Errors
/// [`Exit::Failed`], with the reason said.
pub fn catch_signals(program: &str) -> Result<Interrupt, Exit> {
    interrupt::install().map_err(|error| {
        say(format_args!("{program}: cannot react to signals: {error}"));
        Exit::Failed
    })
}

/// Sends log lines to standard error: warnings, more with each `-d`, or what `RUST_LOG` says.
pub fn init_log(debug: u8) {
    use tracing_subscriber::EnvFilter;
    let default = match debug {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(debug > 1);
    // A second call in one process (tests) changes nothing.
    let _ = subscriber.without_time().with_writer(std::io::stderr).try_init();
}
