//! frisbee-server: serve an image to many machines at once, or be an image host.

mod args;
mod show;

use anyhow::Result;
use args::Args;
use clap::Parser;
use crossbeam_channel::bounded;
use frisbee_server::host::{self, ConfigError, Listening, RunError};
use frisbee_server::network::write_address;
use frisbee_server::{Ended, Image, ImageError, Server, Summary};
use imagezip::cli::{Exit, catch_signals, init_log, print};
use imagezip::interrupt::Interrupt;
use proto::server::Config as SessionConfig;
use show::Show;
use std::path::Path;
use std::process::ExitCode;

/// Reports that may wait to be printed; more are lost rather than keep the network waiting.
const REPORTS_MAX: usize = 1024;

fn main() -> ExitCode {
    if let Some(args) = doctor::asked::<doctor::ServerArgs>("frisbee-server", std::env::args_os()) {
        init_log(0);
        return doctor::server::main(&args);
    }
    let args = Args::parse();
    // What a host does is told in its log; one image has its own lines.
    init_log(args.debug.max(u8::from(args.host.is_asked_for() && !args.quiet)));
    let done = match &args.image {
        _ if args.host.print_config => {
            print(host::config::EXAMPLE).map(|()| Exit::Done).map_err(Into::into)
        }
        Some(image) => {
            let interrupt = match catch_signals("frisbee-server") {
                Ok(interrupt) => interrupt,
                Err(exit) => return exit.into(),
            };
            serve_one(&args, image, &interrupt)
        }
        None => serve_many(&args),
    };
    let exit = done.unwrap_or_else(|error| {
        eprintln!("frisbee-server: {error:#}");
        exit_of(&error)
    });
    exit.into()
}

fn exit_of(error: &anyhow::Error) -> Exit {
    let refused = error.downcast_ref::<ImageError>().is_some_and(ImageError::is_refusal);
    let usage =
        error.is::<ConfigError>() || matches!(error.downcast_ref(), Some(RunError::Config(_)));
    match () {
        () if refused => Exit::Refused,
        () if usage => Exit::Usage,
        () => Exit::Failed,
    }
}

/// Serves one image to whoever comes.
fn serve_one(args: &Args, image: &Path, interrupt: &Interrupt) -> Result<Exit> {
    let image = Image::open(image, args.force, interrupt)?;
    let socket = args.network().open()?;
    let (group, local) = (socket.group(), socket.local_addr().ip());
    let config = SessionConfig::new(image.geometry(), group.ip(), group.port(), local);
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

/// Is an image host.
fn serve_many(args: &Args) -> Result<Exit> {
    let config = args.host_config()?;
    if args.host.check_config {
        host::check(&config)?;
        println!("the configuration is right: {}", config.dir);
        return Ok(Exit::Done);
    }
    let dir = config.dir.clone();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let ready = |listening: Listening| {
        let Listening { rendezvous, http, streams } = listening;
        let page = http.map_or(String::new(), |at| format!(", page and API at {scheme}://{at}/"));
        let plain = streams.map_or(String::new(), |at| format!(", plain streams at {at}"));
        let text = format!("serving {dir}: rendezvous at {rendezvous}{page}{plain}");
        if args.json {
            let (http, streams) = (http.map(|at| at.to_string()), streams.map(|at| at.to_string()));
            let start = serde_json::json!({
                "event": "start", "dir": dir, "rendezvous": rendezvous.to_string(), "http": http,
                "streams": streams,
            });
            println!("{start}");
        } else if !args.quiet {
            eprintln!("{text}");
        }
    };
    let reread = || args.host_config();
    host::run(config, reread, ready)?;
    Ok(Exit::Done)
}
