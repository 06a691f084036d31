//! frisbee-client: the program.

use clap::Parser;
use frisbee_client::{Args, Show, Status, load, print, print_failed, query};
use imagezip::cli::{Exit, catch_signals, init_log};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    if let Some(args) = doctor::asked("frisbee-client", std::env::args_os()) {
        init_log(0);
        return doctor::client::main(&args);
    }
    let args = Args::parse();
    init_log(args.debug);
    let interrupt = match catch_signals("frisbee-client") {
        Ok(interrupt) => interrupt,
        Err(exit) => return exit.into(),
    };
    let status = Arc::new(Status::new());
    if args.query {
        let exit = query(&args, &interrupt).unwrap_or_else(|error| {
            let exit = error.exit(false);
            print_failed(&args, &error, &status, exit);
            exit
        });
        interrupt.finish();
        return exit.into();
    }
    let show = Show::start(Arc::clone(&status), args.shown());
    let loaded = load(&args, &status, &interrupt);
    drop(show);
    let exit = match loaded {
        Ok(report) => {
            print(&args, &report);
            Exit::Done
        }
        Err(error) => {
            let exit = error.exit(status.is_touched());
            print_failed(&args, &error, &status, exit);
            exit
        }
    };
    interrupt.finish();
    exit.into()
}
