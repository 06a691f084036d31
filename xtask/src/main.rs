//! Chores of the project that need more than a line of shell.
//!
//! What it never does: use the libraries of the project. It runs the programs as a user does.

mod demo;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask demo

  demo  make a disk, save it, restore it, prove that nothing is missing (`make demo` builds the
        programs first)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["demo"] => demo::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
