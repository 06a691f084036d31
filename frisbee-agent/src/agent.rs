//! The agent: what is done when, and who is told.
//!
//! What it owns: the job in progress, the result of the last one, and how it all ends. Everything
//! that happens is an [`Event`], and one is handled after the other. What it never does: wait for
//! anything but the next event.

use crate::cancel::Cancel;
use crate::control::reply::Facts;
use crate::control::{Command, Connector, Incoming, Link, Reply, Request};
use crate::disks::Disk;
use crate::failure::{Class, Failure};
use crate::launch::Programs;
use crate::machine::{Finish, Machine};
use crate::orders::{Job, Orders, Then};
use crate::program_line::Progress;
use crate::say::Console;
use crate::worker::{Done, Told, Worker};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// From the control server.
    Control(Incoming),
    /// From the job in progress.
    Job(Told),
    /// A signal asks to end.
    Signal,
}

/// Events that wait, at most. Whoever reports one more waits.
pub const EVENTS_MAX: usize = 256;

/// How the agent ended, for whoever started it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// There is nothing more to do.
    Nothing,
    /// Somebody wants a shell.
    Shell,
    /// It failed, or was told to end.
    Failed,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a program to end when it is told to.
    pub grace: Duration,
    /// For a control server to hear the last result before the machine goes down.
    pub farewell: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { grace: Duration::from_secs(20), farewell: Duration::from_secs(20) }
    }
}

/// What an agent is made of.
pub struct Setting {
    /// Where it speaks.
    pub console: Console,
    /// The machine.
    pub machine: Arc<dyn Machine>,
    /// The programs.
    pub programs: Arc<Programs>,
    /// Who the node is.
    pub facts: Facts,
    /// How long things may take.
    pub patience: Patience,
}

/// A job that is being done.
struct Running {
    job: Job,
    /// It came with the kernel's command line.
    is_first: bool,
    cancel: Cancel,
    disk: Option<Disk>,
    progress: Option<Progress>,
}

/// The end that was decided, while the control server is told.
struct Leaving {
    last: Last,
    deadline: Instant,
}

/// The very last thing.
#[derive(Clone)]
enum Last {
    Finish(Finish),
    End(Ending),
}

/// The agent.
pub struct Agent {
    setting: Setting,
    orders: Orders,
    sender: SyncSender<Event>,
    link: Option<Box<dyn Link>>,
    is_online: bool,
    running: Option<Running>,
    /// The result of the last job, and what it was called.
    result: Option<(Option<String>, Reply)>,
    reboot_at: Option<Instant>,
    leaving: Option<Leaving>,
    /// A signal asked to end.
    is_stopping: bool,
}

impl Agent {
    /// An agent; events reach it by `sender`.
    pub fn new(setting: Setting, orders: Orders, sender: SyncSender<Event>) -> Self {
        Self {
            setting,
            orders,
            sender,
            link: None,
            is_online: false,
            running: None,
            result: None,
            reboot_at: None,
            leaving: None,
            is_stopping: false,
        }
    }

    /// Works until there is nothing more to do. `wrong` is what makes the orders useless, if
    /// anything does.
    pub fn run(
        mut self,
        wrong: Option<Failure>,
        connector: Option<Box<dyn Connector>>,
        events: &Receiver<Event>,
    ) -> Ending {
        if let Some(connector) = connector {
            self.say(format_args!("orders come from the control server {}", connector.name()));
            let sender = self.sender.clone();
            // When the agent has ended, nobody listens.
            let sink = move |event| drop(sender.send(Event::Control(event)));
            self.link = Some(connector.start(Box::new(sink)));
        }
        let mut ending = match (wrong, self.orders.job.clone()) {
            (Some(failure), _) => self.failed(None, failure, true),
            (None, Some(_)) if self.setting.machine.has_obeyed() => {
                self.say("the orders of the kernel's command line are carried out already");
                self.idle()
            }
            (None, Some(job)) => {
                self.begin(job, true);
                None
            }
            (None, None) => None,
        };
        loop {
            if let Some(ending) = ending {
                return ending;
            }
            let event = match self.deadline() {
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            ending = match event {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => self.time_is_up(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => Some(Ending::Failed),
            };
        }
    }

    fn say(&self, line: impl std::fmt::Display) {
        self.setting.console.say(line);
    }

    fn tell(&self, reply: Reply) {
        if let Some(link) = &self.link
            && self.is_online
        {
            link.send(reply);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.as_ref().map(|leaving| leaving.deadline);
        leaving.into_iter().chain(self.reboot_at).min()
    }

    fn time_is_up(&mut self, now: Instant) -> Option<Ending> {
        if let Some(leaving) = self.leaving.take_if(|leaving| now >= leaving.deadline) {
            self.say("the control server did not hear the last report");
            return self.end(leaving.last);
        }
        self.reboot_at.take_if(|at| now >= *at)?;
        self.leave(Last::Finish(Finish::Reboot))
    }

    fn handle(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::Job(told) => self.job_told(told),
            Event::Control(Incoming::Connected) => self.connected(),
            Event::Control(Incoming::Request(request)) => self.obey(request),
            Event::Control(Incoming::Rejected(rejected)) => {
                self.say(format_args!("the control server's order: {}", rejected.failure.message));
                let (failure, id) = (rejected.failure, rejected.id);
                self.tell(Reply::Failed { failure, id, again: false });
                None
            }
            Event::Control(Incoming::Lost(why)) => {
                self.is_online = false;
                self.say(format_args!("control server: {why}; trying again until it answers"));
                None
            }
            Event::Control(Incoming::Closed) => {
                self.is_online = false;
                let leaving = self.leaving.take()?;
                self.end(leaving.last)
            }
            Event::Signal => self.stop(),
        }
    }

    /// Starts a job in a thread of its own.
    fn begin(&mut self, job: Job, is_first: bool) {
        let cancel = Cancel::default();
        let (machine, programs) =
            (Arc::clone(&self.setting.machine), Arc::clone(&self.setting.programs));
        let (sender, stop, grace) =
            (self.sender.clone(), cancel.clone(), self.setting.patience.grace);
        let work = job.clone();
        self.reboot_at = None;
        self.running = Some(Running { job, is_first, cancel, disk: None, progress: None });
        std::thread::spawn(move || {
            let tell = |told| drop(sender.send(Event::Job(told)));
            let worker = Worker {
                machine: &*machine,
                programs: &programs,
                grace,
                cancel: &stop,
                tell: &tell,
            };
            let result = worker.work(&work);
            tell(Told::Over(Box::new(result)));
        });
    }

    fn job_told(&mut self, told: Told) -> Option<Ending> {
        let running = self.running.as_mut()?;
        match told {
            Told::Begins(text, disk) => {
                running.disk = Some(disk);
                running.progress = None;
                self.note(text);
            }
            Told::Progress(progress) => {
                running.progress = Some(progress);
                let id = running.job.id.clone();
                let Progress { percent, seconds, chunks_left } = progress;
                self.say(format_args!("Progress: {percent}% {seconds:06} {chunks_left:06}"));
                self.tell(Reply::Progress(progress, id));
            }
            Told::Say(text) => self.note(text),
            Told::Relay(line) => self.setting.console.relay(&line),
            Told::Over(result) => {
                let running = self.running.take()?;
                return match *result {
                    Ok(done) => self.done(&running, done),
                    Err(failure) => {
                        let is_first = running.is_first && !self.is_stopping;
                        let ending = self.failed(running.job.id, failure, is_first);
                        match self.is_stopping {
                            true => self.leave(Last::End(Ending::Failed)),
                            false => ending,
                        }
                    }
                };
            }
        }
        None
    }

    /// For the console and the control server.
    fn note(&self, text: String) {
        self.say(&text);
        self.tell(Reply::Note(text));
    }

    fn done(&mut self, running: &Running, done: Done) -> Option<Ending> {
        if running.is_first
            && let Err(error) = self.setting.machine.note_obeyed()
        {
            self.say(format_args!("cannot note that the orders are carried out: {error}"));
        }
        let (work, then) = (running.job.work.name(), running.job.then);
        let mut line = format!(
            "DONE.OK {work} {} in {} s, {} bytes {}, peak {} MiB",
            done.disk.path.display(),
            done.time.as_secs(),
            done.summary.bytes,
            if work == "load" { "written" } else { "of image" },
            done.memory.peak.div_ceil(1 << 20)
        );
        if let Some(available) = done.memory.available {
            line += &format!(", at least {} MiB were free", available >> 20);
        }
        self.say(line);
        let (id, disk) = (running.job.id.clone(), done.disk.clone());
        let reply = Reply::JobDone { work, done: Box::new(done), id: id.clone(), again: false };
        self.tell(reply.clone());
        self.result = Some((id, reply));
        match then {
            Then::Reboot => self.leave(Last::Finish(Finish::Reboot)),
            Then::PowerOff => self.leave(Last::Finish(Finish::PowerOff)),
            Then::Kexec => self.leave(Last::Finish(Finish::Kexec(disk))),
            Then::Shell => self.leave(Last::End(Ending::Shell)),
            Then::Wait => self.idle(),
        }
    }

    /// There is nothing to do, unless somebody has orders.
    fn idle(&self) -> Option<Ending> {
        if self.link.is_some() {
            return None;
        }
        self.say("nothing more to do");
        Some(Ending::Nothing)
    }

    fn failed(&mut self, id: Option<String>, failure: Failure, is_first: bool) -> Option<Ending> {
        self.say(format_args!("DONE.ERR {failure}"));
        let reply = Reply::Failed { failure, id: id.clone(), again: false };
        self.tell(reply.clone());
        self.result = Some((id, reply));
        if !is_first {
            return None;
        }
        match self.orders.reboot_after {
            Some(time) => {
                let hint =
                    if self.link.is_some() { " unless the control server has orders" } else { "" };
                self.note(format!("the machine is rebooted in {} s{hint}", time.as_secs()));
                self.reboot_at = Some(Instant::now() + time);
            }
            None => self.say("waiting for somebody to look (frisbee.reboot-after=0)"),
        }
        None
    }

    /// Says who we are, what came of the last job, and how we are.
    fn connected(&mut self) -> Option<Ending> {
        self.is_online = true;
        self.say("connected to the control server");
        self.tell(Reply::Hello(self.setting.facts.clone()));
        for disk in self.setting.machine.disks().unwrap_or_default() {
            self.tell(Reply::Disk(Box::new(disk)));
        }
        if let Some((_, reply)) = &self.result {
            self.tell(reply.clone().again());
        }
        self.tell(self.status());
        if self.leaving.is_some()
            && let Some(link) = &self.link
        {
            link.close();
        }
        None
    }

    fn status(&self) -> Reply {
        match &self.running {
            None => Reply::Idle,
            Some(running) => Reply::Busy {
                work: running.job.work.name(),
                disk: running.disk.as_ref().map(|disk| disk.path.display().to_string()),
                progress: running.progress,
                id: running.job.id.clone(),
            },
        }
    }

    fn obey(&mut self, request: Request) -> Option<Ending> {
        let Request { id, command } = request;
        match command {
            Command::Ping => self.tell(Reply::Pong(id)),
            Command::Status => self.tell(self.status()),
            Command::Cancel => match &self.running {
                Some(running) => {
                    running.cancel.set("by the control server");
                    self.note("the control server cancels the job".into());
                    self.tell(Reply::Accepted("cancel", id));
                }
                None => self.refuse(id, Failure::order("there is nothing to cancel")),
            },
            _ if self.is_known(id.as_deref()) => {}
            _ if self.running.is_some() || self.leaving.is_some() => {
                let what =
                    self.running.as_ref().map_or("the end", |running| running.job.work.name());
                let text = format!("one thing at a time: a {what} is in progress; CANCEL ends it");
                self.refuse(id, Failure::passing(Class::Busy, text));
            }
            Command::Do(job) => {
                self.tell(Reply::Accepted(job.work.name(), id));
                self.begin(*job, false);
            }
            Command::Reboot => return self.go("reboot", id, Finish::Reboot),
            Command::PowerOff => return self.go("poweroff", id, Finish::PowerOff),
        }
        None
    }

    /// An order that a server repeats because it did not hear the answer is not obeyed twice: its
    /// state is told again.
    fn is_known(&self, id: Option<&str>) -> bool {
        let Some(id) = id else { return false };
        if let Some(running) = &self.running
            && running.job.id.as_deref() == Some(id)
        {
            self.tell(Reply::Accepted(running.job.work.name(), Some(id.to_owned())));
            return true;
        }
        match &self.result {
            Some((Some(known), reply)) if known == id => {
                self.tell(reply.clone().again());
                true
            }
            _ => false,
        }
    }

    fn refuse(&self, id: Option<String>, failure: Failure) {
        self.say(format_args!("an order is refused: {failure}"));
        self.tell(Reply::Failed { failure, id, again: false });
    }

    fn go(&mut self, what: &'static str, id: Option<String>, finish: Finish) -> Option<Ending> {
        self.say(format_args!("the control server orders: {what}"));
        self.tell(Reply::Done(what, id));
        self.leave(Last::Finish(finish))
    }

    /// Ends it, after the control server has heard everything.
    fn leave(&mut self, last: Last) -> Option<Ending> {
        let Some(link) = &self.link else { return self.end(last) };
        if self.is_online {
            link.close();
        }
        let deadline = Instant::now() + self.setting.patience.farewell;
        self.leaving = Some(Leaving { last, deadline });
        None
    }

    fn end(&mut self, last: Last) -> Option<Ending> {
        let finish = match last {
            Last::End(ending) => return Some(ending),
            Last::Finish(finish) => finish,
        };
        self.say(match finish {
            Finish::Reboot => "rebooting",
            Finish::PowerOff => "powering off",
            Finish::Kexec(_) => "starting the loaded system (kexec)",
        });
        match self.setting.machine.finish(&finish) {
            Ok(()) => Some(Ending::Nothing),
            Err(error) if matches!(finish, Finish::Kexec(_)) => {
                self.say(format_args!("{error}; it is started by a reboot instead"));
                self.end(Last::Finish(Finish::Reboot))
            }
            Err(error) => {
                self.say(error);
                Some(Ending::Failed)
            }
        }
    }

    /// A signal: the job is stopped, and the control server told. A second one is not waited for.
    fn stop(&mut self) -> Option<Ending> {
        if std::mem::replace(&mut self.is_stopping, true) {
            return Some(Ending::Failed);
        }
        self.say("a signal asks to end");
        match &self.running {
            Some(running) => {
                running.cancel.set("by a signal");
                None
            }
            None => self.leave(Last::End(Ending::Failed)),
        }
    }
}
