//! What the agent tells without doing anything: the disks, and what orders mean.

use crate::choose::choose;
use crate::command_line::parse;
use crate::disks::Disk;
use crate::machine::Machine;
use crate::orders::{Job, Orders, Work};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

fn print(text: &str) {
    // A reader who has seen enough is no error.
    let _ = stdout().lock().write_all(text.as_bytes());
}

/// `--list-disks`.
pub fn list_disks(machine: &dyn Machine, json: bool) -> ExitCode {
    let disks = match machine.disks() {
        Ok(disks) => disks,
        Err(error) => {
            eprintln!("frisbee-agent: cannot list the disks: {error}");
            return ExitCode::FAILURE;
        }
    };
    for disk in &disks {
        print(&match json {
            true => format!("{}\n", object(disk)),
            false => format!("{disk}\n"),
        });
    }
    if disks.is_empty() {
        eprintln!("frisbee-agent: the kernel knows no disk of this machine; is the driver there?");
    }
    ExitCode::SUCCESS
}

fn object(disk: &Disk) -> Value {
    json!({
        "name": disk.name,
        "path": disk.path,
        "bytes": disk.bytes,
        "logical_sector_bytes": disk.sector_bytes,
        "model": disk.model,
        "serial": disk.serial,
        "wwn": disk.wwn,
        "transport": disk.transport,
        "never": disk.unfit.map(|why| why.to_string()),
    })
}

/// `--check-orders`.
pub fn check_orders(machine: &dyn Machine, line: &str) -> ExitCode {
    let orders = match parse(line) {
        Ok(orders) => orders,
        Err(failure) => {
            eprintln!("frisbee-agent: {failure}");
            return ExitCode::FAILURE;
        }
    };
    print(&explain(&orders));
    let Some(job) = &orders.job else { return ExitCode::SUCCESS };
    let disks = machine.disks().unwrap_or_default();
    match choose(&disks, &job.disk, &|link| machine.link(link)) {
        Ok(disk) => {
            print(&format!("disk: {disk}\n"));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("frisbee-agent: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Orders as sentences, a line each.
fn explain(orders: &Orders) -> String {
    let mut text = String::new();
    if let Some(job) = &orders.job {
        text += &explain_job(job);
    }
    if let Some(server) = &orders.control {
        let _ = writeln!(text, "orders come from the control server {server}");
    }
    let _ = match orders.reboot_after {
        Some(time) => {
            writeln!(text, "a failure is shown for {} s, then the machine reboots", time.as_secs())
        }
        None => writeln!(text, "a failure is shown until somebody comes"),
    };
    text
}

fn explain_job(job: &Job) -> String {
    let mut text = match &job.work {
        Work::Load { from, verify, hooks } => {
            let mut text = format!("load {from} to the disk {}", job.disk);
            if *verify {
                text += ", read it back";
            }
            if !hooks.is_empty() {
                text += &format!(", then run the hooks {}", hooks.join(", "));
            }
            text
        }
        Work::Save { to } => format!("save the disk {} to {to}", job.disk),
    };
    let settings = &job.settings;
    let _ = writeln!(text, "; afterwards: {}", job.then.name());
    let (tries, pause) = (settings.tries, settings.retry_after.as_secs());
    let _ = writeln!(text, "up to {tries} tries, {pause} s between them");
    if !settings.options.is_empty() {
        let _ = writeln!(text, "more arguments: {}", settings.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_told_as_sentences() {
        let line = "frisbee.load=boss/x frisbee.hooks=grow frisbee.verify frisbee.control=c frisbee.options=-z";
        assert_eq!(
            explain(&parse(line).unwrap()),
            "load boss:64494/x to the disk auto, read it back, then run the hooks grow; afterwards: reboot\n\
             up to 3 tries, 10 s between them\nmore arguments: -z\n\
             orders come from the control server c:64496\n\
             a failure is shown for 600 s, then the machine reboots\n"
        );
    }
}
