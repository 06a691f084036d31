//! frisbee-agent: the program.

use clap::Parser;
use frisbee_agent::agent::{Agent, EVENTS_MAX, Ending, Event, Patience, Setting};
use frisbee_agent::args::Args;
use frisbee_agent::check;
use frisbee_agent::command_line::{parse, remains};
use frisbee_agent::control::Connector;
use frisbee_agent::control::reply::Facts;
use frisbee_agent::control::session::Times;
use frisbee_agent::control::tcp::TcpConnector;
use frisbee_agent::launch::Programs;
use frisbee_agent::machine::{Machine, StayingMachine, ThisMachine};
use frisbee_agent::orders::{Orders, hostname};
use frisbee_agent::say::Console;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Says that the kernel's orders are carried out; it lies in memory, so it is gone after a restart.
const MARK: &str = "/run/frisbee/obeyed";

fn main() -> ExitCode {
    let args = Args::parse();
    // Orders that are given by hand are obeyed each time.
    let mark = args.command_line.is_none().then(|| MARK.into());
    let machine = ThisMachine { roots: args.roots(), mark };
    if args.list_disks {
        return check::list_disks(&machine, args.json);
    }
    let line = match &args.command_line {
        Some(line) => Ok(line.clone()),
        None => std::fs::read("/proc/cmdline").map(|b| String::from_utf8_lossy(&b).into_owned()),
    };
    let line = match line {
        Ok(line) => line,
        Err(error) => {
            eprintln!("frisbee-agent: cannot read the kernel's command line: {error}");
            return ExitCode::FAILURE;
        }
    };
    if args.check_orders {
        return check::check_orders(&machine, &line);
    }
    let (mut orders, wrong) = match parse(&line) {
        Ok(orders) => (orders, None),
        Err(failure) => (remains(&line), Some(failure)),
    };
    name_node(&mut orders);
    let (sender, events) = sync_channel(EVENTS_MAX);
    if let Err(error) = take_signals(sender.clone()) {
        eprintln!("frisbee-agent: cannot react to signals: {error}");
    }
    let connector = orders.control.clone().map(|server| -> Box<dyn Connector> {
        let usual = orders.settings.clone();
        Box::new(TcpConnector { server, times: Times::default(), usual })
    });
    let machine: Arc<dyn Machine> = match args.stay {
        true => Arc::new(StayingMachine(machine)),
        false => Arc::new(machine),
    };
    let setting = Setting {
        console: Console::System,
        machine,
        programs: Arc::new(programs(&args)),
        facts: facts(),
        patience: Patience::default(),
    };
    match Agent::new(setting, orders, sender).run(wrong, connector, &events) {
        Ending::Nothing => ExitCode::SUCCESS,
        Ending::Shell => ExitCode::from(10),
        Ending::Failed => ExitCode::FAILURE,
    }
}

/// A fact that init found out; empty if it did not.
fn fact(name: &str) -> String {
    std::env::var(name).unwrap_or_default().trim().to_owned()
}

fn facts() -> Facts {
    let own = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = fact("FRISBEE_HOSTNAME");
    Facts {
        node: if name.is_empty() { own().unwrap_or_default() } else { name },
        ip: fact("FRISBEE_IP"),
        mac: fact("FRISBEE_MAC"),
        interface: fact("FRISBEE_INTERFACE"),
    }
}

/// The name that DHCP gave, where the orders give none.
fn name_node(orders: &mut Orders) {
    let Ok(name) = hostname(&fact("FRISBEE_HOSTNAME")) else { return };
    let job = orders.job.iter_mut().map(|job| &mut job.settings);
    for settings in job.chain([&mut orders.settings]) {
        settings.hostname.get_or_insert_with(|| name.clone());
    }
}

fn programs(args: &Args) -> Programs {
    let interface = Some(fact("FRISBEE_INTERFACE")).filter(|name| !name.is_empty());
    let usual = || "/usr/lib/frisbee/run-hooks".into();
    let run_hooks = args.programs.as_ref().map_or_else(usual, |folder| folder.join("run-hooks"));
    Programs { folder: args.programs.clone(), run_hooks, interface }
}

fn take_signals(sender: SyncSender<Event>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            if sender.send(Event::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
