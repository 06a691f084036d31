//! frisbee-server: serve an image to many machines at once.

mod args;
mod show;

use anyhow::Result;
use args::Args;
use clap::Parser;
use crossbeam_channel::bounded;
use frisbee_server::network::write_address;
use frisbee_server::{Ended, Image, ImageError, Server, Summary};
use imagezip::cli::{Exit, catch_signals, init_log};
use imagezip::interrupt::Interrupt;
use proto::server::Config;
use show::Show;
use std::process::ExitCode;

/// Reports that may wait to be printed; more are lost rather than keep the network waiting.
const REPORTS_MAX: usize = 1024;

fn main() -> ExitCode {
    let args = Args::parse();
    init_log(args.debug);
    let interrupt = match catch_signals("frisbee-server") {
        Ok(interrupt) => interrupt,
        Err(exit) => return exit.into(),
    };
    let exit = run(&args, &interrupt).unwrap_or_else(|error| {
        eprintln!("frisbee-server: {error:#}");
        match error.downcast_ref::<ImageError>() {
            Some(error) if error.is_refusal() => Exit::Refused,
            _ => Exit::Failed,
        }
    });
    exit.into()
}

fn run(args: &Args, interrupt: &Interrupt) -> Result<Exit> {
    let image = Image::open(&args.image, args.force, interrupt)?;
    let socket = args.network().open()?;
    let (group, local) = (socket.group(), socket.local_addr().ip());
    let config = Config::new(image.geometry(), group.ip(), group.port(), local);
    let settings = args.settings(config.block_wire_bits());
    if let Some(file) = &args.address_file {
        write_address(file, &socket)?;
    }
    let server = Server::new(image, socket, &settings)?;
    let (reports, to_show) = bounded(REPORTS_MAX);
    let show = Show::start(to_show, args.json, args.quiet)?;
    let summary = server.run(interrupt, &reports);
    drop(reports);
    show.finish();
    Ok(exit_status(&summary?))
}

fn exit_status(summary: &Summary) -> Exit {
    match summary.ended {
        Ended::Idle | Ended::Empty => Exit::Done,
        Ended::Interrupted if summary.loading == 0 => Exit::Done,
        Ended::Interrupted => Exit::Failed,
    }
}
