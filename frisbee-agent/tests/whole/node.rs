//! A node in this process: the whole agent, a machine whose disks are files, and programs that are
//! scripts, or the real ones.

use frisbee_agent::agent::{Agent, EVENTS_MAX, Ending, Event, Patience, Setting};
use frisbee_agent::command_line::{parse, remains};
use frisbee_agent::control::Connector;
use frisbee_agent::control::reply::Facts;
use frisbee_agent::control::session::Times;
use frisbee_agent::control::tcp::TcpConnector;
use frisbee_agent::disks::{Disk, Roots};
use frisbee_agent::finish::FinishError;
use frisbee_agent::launch::Programs;
use frisbee_agent::machine::{Finish, Machine};
use frisbee_agent::say::Console;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// A test hangs no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine whose disks are files.
pub(crate) struct FakeMachine {
    roots: Roots,
    pub(crate) disks: Mutex<Vec<Disk>>,
    finished: Mutex<Vec<String>>,
    kexec_works: bool,
    mark: PathBuf,
}

impl Machine for FakeMachine {
    fn disks(&self) -> io::Result<Vec<Disk>> {
        Ok(self.disks.lock().unwrap().clone())
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }

    fn finish(&self, finish: &Finish) -> Result<(), FinishError> {
        let name = match finish {
            Finish::Kexec(disk) => format!("kexec {}", disk.name),
            other => format!("{other:?}"),
        };
        self.finished.lock().unwrap().push(name);
        match finish {
            Finish::Kexec(_) if !self.kexec_works => {
                Err(FinishError::Refused { what: "start it", source: nix::Error::ENOSYS })
            }
            _ => Ok(()),
        }
    }

    fn has_obeyed(&self) -> bool {
        self.mark.exists()
    }

    fn note_obeyed(&self) -> io::Result<()> {
        fs::write(&self.mark, "")
    }

    fn roots(&self) -> &Roots {
        &self.roots
    }

    fn disk_wait(&self) -> Duration {
        Duration::from_millis(600)
    }

    fn settle(&self) -> Duration {
        Duration::ZERO
    }
}

/// What a node is made of.
pub(crate) struct Kit {
    pub(crate) folder: TempDir,
    pub(crate) disks: Vec<Disk>,
    pub(crate) programs: Option<PathBuf>,
    pub(crate) kexec_works: bool,
}

/// A disk that is a file.
pub(crate) fn disk(name: &str, path: &Path) -> Disk {
    Disk {
        name: name.into(),
        path: path.into(),
        bytes: fs::metadata(path).map_or(1 << 30, |metadata| metadata.len()),
        sector_bytes: 512,
        model: Some("File".into()),
        serial: Some(format!("S-{name}")),
        wwn: None,
        transport: Some("virtio"),
        unfit: None,
    }
}

impl Kit {
    /// One disk `vda`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disks = vec![disk("vda", &folder.path().join("vda"))];
        Self { folder, disks, programs: None, kexec_works: true }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that is a script for sh; `$DIR` is the node's folder.
    pub(crate) fn script(self, name: &str, script: &str) -> Self {
        let path = self.path(name);
        let text = format!("#!/bin/sh\nDIR={}\n{script}\n", self.folder.path().display());
        // By another name first: a file that is open for writing cannot be run.
        fs::write(path.with_extension("new"), text).unwrap();
        fs::set_permissions(path.with_extension("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
        self
    }

    /// Starts the agent with this kernel command line.
    pub(crate) fn boot(self, line: &str) -> Node {
        let machine = Arc::new(FakeMachine {
            roots: Roots::default(),
            disks: Mutex::new(self.disks.clone()),
            finished: Mutex::default(),
            kexec_works: self.kexec_works,
            mark: self.path("obeyed"),
        });
        let (said, lines) = channel();
        let (mut orders, wrong) = match parse(line) {
            Ok(orders) => (orders, None),
            Err(failure) => (remains(line), Some(failure)),
        };
        let millis = Duration::from_millis;
        // Tests need not look at the screen that long.
        orders.reboot_after = orders.reboot_after.map(|time| time / 20);
        let times =
            Times { pause_min: millis(20), pause_max: millis(100), alive_after: millis(200) };
        let connector = orders.control.clone().map(|server| -> Box<dyn Connector> {
            Box::new(TcpConnector { server, times, usual: orders.settings.clone() })
        });
        let folder = self.programs.clone().unwrap_or_else(|| self.folder.path().into());
        let run_hooks = self.path("run-hooks");
        let setting = Setting {
            console: Console::Test(Mutex::new(said)),
            machine: Arc::clone(&machine) as Arc<dyn Machine>,
            programs: Arc::new(Programs { folder: Some(folder), run_hooks, interface: None }),
            facts: Facts { node: "n1".into(), ip: "10.0.0.7".into(), ..Facts::default() },
            patience: Patience { grace: millis(500), farewell: Duration::from_secs(3) },
        };
        let (sender, events) = sync_channel(EVENTS_MAX);
        let to_agent = sender.clone();
        let thread = std::thread::spawn(move || {
            Agent::new(setting, orders, sender).run(wrong, connector, &events)
        });
        Node { kit: self, machine, lines, seen: Vec::new(), to_agent, thread }
    }
}

/// A running agent.
pub(crate) struct Node {
    pub(crate) kit: Kit,
    pub(crate) machine: Arc<FakeMachine>,
    lines: Receiver<String>,
    /// Console lines so far.
    pub(crate) seen: Vec<String>,
    to_agent: SyncSender<Event>,
    thread: JoinHandle<Ending>,
}

impl Node {
    /// Waits for a console line that contains this.
    #[track_caller]
    pub(crate) fn see(&mut self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("no {part:?} ({error}) in {:#?}", self.seen),
            }
        }
    }

    /// A signal to the agent.
    pub(crate) fn signal(&self) {
        self.to_agent.send(Event::Signal).unwrap();
    }

    /// Waits for the agent's end: how it ended, what it did to the machine, and all lines.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.seen),
            }
        }
        let ending = self.thread.join().unwrap();
        let finished = self.machine.finished.lock().unwrap().clone();
        Ended { ending, finished, lines: self.seen, kit: self.kit }
    }
}

/// What became of an agent.
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    pub(crate) finished: Vec<String>,
    pub(crate) lines: Vec<String>,
    pub(crate) kit: Kit,
}

impl Ended {
    #[track_caller]
    pub(crate) fn said(&self, part: &str) -> &Self {
        assert!(
            self.lines.iter().any(|line| line.contains(part)),
            "no {part:?} in {:#?}",
            self.lines
        );
        self
    }

    #[track_caller]
    pub(crate) fn finished(&self, how: &[&str]) -> &Self {
        assert_eq!(self.finished, how, "{:#?}", self.lines);
        self
    }
}
