//! Doing one job: waiting for its disk, the tries, the hooks.
//!
//! What it owns: the order of steps and what is tried again. What it never does: decide what comes
//! after the job.

use crate::cancel::Cancel;
use crate::choose::choose;
use crate::disks::Disk;
use crate::failure::{Class, Failure};
use crate::launch::Programs;
use crate::machine::Machine;
use crate::orders::{Job, Target, Work};
use crate::peak::Memory;
use crate::program_line::{ProgramLine, Progress, Summary};
use crate::run::{Ended, Output, Runner};
use crate::selector::Selector;
use crate::stream::Stream;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ChildStdout;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// `/sys/block` is looked at again this often.
const DISK_PERIOD: Duration = Duration::from_millis(200);

/// What a worker tells while it works.
#[derive(Clone, Debug)]
pub enum Told {
    /// The disk is chosen and the work begins: what, and on which disk.
    Begins(String, Disk),
    /// How far it is.
    Progress(Progress),
    /// Something the agent says itself.
    Say(String),
    /// A line of a program.
    Relay(String),
    /// It is over.
    Over(Box<Result<Done, Failure>>),
}

/// What a job did.
#[derive(Clone, Debug)]
pub struct Done {
    /// With which disk.
    pub disk: Disk,
    /// What.
    pub summary: Summary,
    /// With how much memory.
    pub memory: Memory,
    /// How long all of it took.
    pub time: Duration,
}

/// What a worker works with.
pub struct Worker<'a> {
    /// The machine.
    pub machine: &'a dyn Machine,
    /// The programs.
    pub programs: &'a Programs,
    /// Time that a program has to end when it is told to.
    pub grace: Duration,
    /// Stops it.
    pub cancel: &'a Cancel,
    /// Who hears of it.
    pub tell: &'a dyn Fn(Told),
}

impl Worker<'_> {
    /// Does the job.
    ///
    /// # Errors
    /// Why it came to nothing, the last time it was tried.
    pub fn work(&self, job: &Job) -> Result<Done, Failure> {
        let start = Instant::now();
        let mut tried = 0;
        let (disk, summary, memory) = loop {
            tried += 1;
            let failure = match self.attempt(job, tried) {
                Ok(done) => break done,
                Err(failure) => failure,
            };
            if !failure.may_pass || tried >= job.settings.tries {
                return Err(failure);
            }
            let pause = jittered(job.settings.retry_after);
            let (number, tries) = (tried + 1, job.settings.tries);
            let text = format!("{failure}; try {number} of {tries} in {} s", pause.as_secs());
            (self.tell)(Told::Say(text));
            self.sleep(pause)?;
        };
        let memory = match &job.work {
            Work::Load { hooks, .. } if !hooks.is_empty() => {
                memory.and(self.hooks(job, &disk, hooks)?)
            }
            _ => memory,
        };
        Ok(Done { disk, summary, memory, time: start.elapsed() })
    }

    fn attempt(&self, job: &Job, number: u32) -> Result<(Disk, Summary, Memory), Failure> {
        let disk = self.find_disk(&job.disk)?;
        let path = disk.path.display();
        let mut text = match &job.work {
            Work::Load { from, .. } => format!("load of {from} to {path} begins"),
            Work::Save { to } => format!("save of {path} to {to} begins"),
        };
        if number > 1 {
            text += &format!(" (try {number} of {})", job.settings.tries);
        }
        (self.tell)(Told::Begins(text, disk.clone()));
        let launch = self.programs.launch(&job.work, &disk.path, &job.settings);
        let program = launch.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (ended, sent) = match &job.work {
            Work::Save { to: Target::Stream(server) } => {
                let mut stream = Stream::open(server, job.settings.timeout)
                    .map_err(|error| Failure::passing(Class::Server, error))?;
                let (over, result) = sync_channel(1);
                let take = move |pipe: ChildStdout| {
                    let sent = stream.send(pipe);
                    let _ = over.send((stream, sent));
                };
                let ended = self.run(&launch, Output::Bytes(Box::new(take)))?;
                (ended, Some(result))
            }
            _ => (self.run(&launch, Output::Lines)?, None),
        };
        let verdict = ended.verdict(&program);
        let (Some(result), None) = (sent, &ended.cancelled) else {
            return Ok((disk, verdict?, ended.memory));
        };
        // The pipe is closed, so the sender is done, or waits for the network within its limit.
        let lost = |_| Failure::passing(Class::Failed, "the sender ended without a word");
        let (stream, sent) = result.recv().map_err(lost)?;
        // Why it could not be sent says more than that the pipe was closed.
        sent.map_err(|error| Failure::passing(Class::Network, error))?;
        let is_usable = |failure: &Failure| failure.class == Class::Losses;
        if verdict.as_ref().is_ok() || verdict.as_ref().is_err_and(is_usable) {
            stream.finish().map_err(|error| Failure::passing(Class::Network, error))?;
        }
        Ok((disk, verdict?, ended.memory))
    }

    fn run(&self, launch: &crate::launch::Launch, output: Output) -> Result<Ended, Failure> {
        let runner = Runner { roots: self.machine.roots().clone(), grace: self.grace };
        runner.run(launch, output, self.cancel, &mut |line| match line {
            ProgramLine::Progress(progress) => (self.tell)(Told::Progress(*progress)),
            ProgramLine::Event(text) => (self.tell)(Told::Say(text.clone())),
            ProgramLine::Words(words) => (self.tell)(Told::Relay(words.clone())),
            ProgramLine::Done(_) | ProgramLine::Failed(_) => {}
        })
    }

    fn hooks(&self, job: &Job, disk: &Disk, hooks: &[String]) -> Result<Memory, Failure> {
        (self.tell)(Told::Say(format!("hooks on {}: {}", disk.path.display(), hooks.join(", "))));
        let launch = self.programs.hooks(&disk.path, hooks, &job.settings);
        let ended = self.run(&launch, Output::Lines).map_err(|failure| hook(&failure.message))?;
        if let Some(why) = &ended.cancelled {
            let text = format!("the disk is loaded, but its hooks were interrupted {why}");
            return Err(Failure::lasting(Class::Interrupted, text));
        }
        match ended.status.success() {
            true => Ok(ended.memory),
            false if ended.last_words.is_empty() => Err(hook(&format!("{}", ended.status))),
            false => Err(hook(&ended.last_words)),
        }
    }

    /// The disk that is meant, once it is there.
    fn find_disk(&self, selector: &Selector) -> Result<Disk, Failure> {
        let start = Instant::now();
        let mut said = false;
        // What the choice was when the disks were first as they are now.
        let mut since = None::<(Vec<Disk>, Instant)>;
        loop {
            let disks = self.machine.disks().map_err(|error| {
                Failure::passing(Class::NoDisk, format!("cannot list the disks: {error}"))
            })?;
            let links = |link: &str| self.machine.link(link);
            let chosen = choose(&disks, selector, &links).cloned();
            match chosen {
                // A second one may only be slow.
                Ok(disk) => {
                    let is_by_name = matches!(
                        selector,
                        Selector::Name(_)
                            | Selector::Link(_)
                            | Selector::Serial(_)
                            | Selector::Wwn(_)
                    );
                    let at = match &since {
                        Some((known, at)) if *known == disks => *at,
                        _ => Instant::now(),
                    };
                    if is_by_name || at.elapsed() >= self.machine.settle() {
                        return Ok(disk);
                    }
                    since = Some((disks, at));
                }
                Err(failure) if failure.class != Class::NoDisk => return Err(failure),
                Err(failure) if start.elapsed() >= self.machine.disk_wait() => return Err(failure),
                Err(_) => {
                    if !said {
                        let wait = self.machine.disk_wait().as_secs();
                        let text = format!("no disk {selector} yet; waiting up to {wait} s for it");
                        (self.tell)(Told::Say(text));
                    }
                    said = true;
                }
            }
            self.sleep(DISK_PERIOD)?;
        }
    }

    fn sleep(&self, time: Duration) -> Result<(), Failure> {
        if self.cancel.sleep(time) {
            return Ok(());
        }
        let why = self.cancel.reason().unwrap_or_default();
        Err(Failure::lasting(Class::Interrupted, format!("interrupted {why}")))
    }
}

fn hook(why: &str) -> Failure {
    Failure::lasting(Class::Hook, format!("the disk is loaded, but: {why}"))
}

/// The time and up to a quarter more: a room full of nodes does not try again as one.
pub(crate) fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = u32::try_from(random % 256).unwrap_or(0);
    time.saturating_add(time / 1024 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_longer_by_a_quarter_at_most() {
        let base = Duration::from_secs(1000);
        let all: Vec<_> = (0..100).map(|_| jittered(base)).collect();
        assert!(all.iter().all(|time| *time >= base && *time < base * 5 / 4), "{all:?}");
        assert!(all.iter().any(|time| *time != all[0]));
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }
}
