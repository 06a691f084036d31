//! Running a program: what it prints, how it ends, and making it end.
//!
//! What it owns: the child, its process group, and three threads at most that read and write its
//! pipes. What it never does: decide what comes next.

use crate::cancel::Cancel;
use crate::disks::Roots;
use crate::failure::{Class, Failure};
use crate::launch::Launch;
use crate::peak::{Memory, Watch};
use crate::program_line::{LINE_BYTES_MAX, ProgramFailure, ProgramLine, Summary};
use crate::words::{cut, printable};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Between two looks at memory, cancellation and time.
const PERIOD: Duration = Duration::from_millis(100);

/// Lines of programs that have ended are waited for this long, should a grandchild hold the pipe.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Words for people are cut here.
const WORDS_BYTES_MAX: usize = 2_000;

/// How programs are run.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Where memory is looked at.
    pub roots: Roots,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it said it did.
    pub done: Option<Summary>,
    /// What it said went wrong.
    pub failed: Option<ProgramFailure>,
    /// Its last words on standard error.
    pub last_words: String,
    /// What memory it took.
    pub memory: Memory,
    /// Who made it end.
    pub cancelled: Option<String>,
}

/// Where standard output goes.
pub enum Output {
    /// It is lines.
    Lines,
    /// It is bytes for this function, which runs in a thread of its own.
    Bytes(Box<dyn FnOnce(ChildStdout) + Send>),
}

impl Runner {
    /// Runs a program to its end; `on_line` gets each line as it comes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(
        &self,
        launch: &Launch,
        output: Output,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(&ProgramLine),
    ) -> Result<Ended, Failure> {
        let program = launch.program.display();
        let cannot = |error: io::Error| {
            Failure::lasting(Class::Failed, format!("cannot run {program}: {error}"))
        };
        let watch = Watch::start(&self.roots);
        let mut child = Command::new(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: what it starts is ended with it.
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        let (lines, received) = channel();
        if let Some(stderr) = child.stderr.take() {
            let lines = lines.clone();
            std::thread::spawn(move || read_lines(stderr, &lines, true));
        }
        if let Some(stdout) = child.stdout.take() {
            match output {
                Output::Lines => {
                    let lines = lines.clone();
                    drop(std::thread::spawn(move || read_lines(stdout, &lines, false)));
                }
                Output::Bytes(take) => drop(std::thread::spawn(move || take(stdout))),
            }
        }
        drop(lines);
        let mut running = Running { child, cancel, grace: self.grace, asked: None, killed: false };
        let mut heard = Heard::default();
        let (mut watch, mut ended) = (watch, None::<(ExitStatus, Instant)>);
        loop {
            match received.recv_timeout(PERIOD) {
                Ok(line) => heard.take(line, on_line),
                Err(RecvTimeoutError::Timeout) => {}
                // Both pipes are closed: the program is about to end, or has.
                Err(RecvTimeoutError::Disconnected) if ended.is_some() => break,
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(PERIOD / 10),
            }
            if ended.is_none() {
                watch.look(running.child.id());
                ended = running.look().map_err(cannot)?.map(|status| (status, Instant::now()));
            }
            if ended.is_some_and(|(_, at)| at.elapsed() > DRAIN_MAX) {
                break;
            }
        }
        let Some((status, _)) = ended else { return Err(cannot(io::ErrorKind::Other.into())) };
        let Heard { done, failed, last_words } = heard;
        watch.look(running.child.id());
        let memory = watch.finish();
        Ok(Ended { status, done, failed, last_words, memory, cancelled: running.asked_why() })
    }
}

/// A program, and how far its end is.
struct Running<'a> {
    child: Child,
    cancel: &'a Cancel,
    grace: Duration,
    asked: Option<(Instant, String)>,
    killed: bool,
}

impl Running<'_> {
    /// Its exit status if it has ended; makes it end if that is asked for.
    fn look(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.asked.is_none()
            && let Some(why) = self.cancel.reason()
        {
            self.asked = Some((Instant::now(), why));
            self.signal(Signal::SIGTERM);
        }
        if let Some((at, _)) = &self.asked
            && !self.killed
            && at.elapsed() >= self.grace
        {
            self.killed = true;
            self.signal(Signal::SIGKILL);
        }
        self.child.try_wait()
    }

    fn signal(&self, signal: Signal) {
        // It has not been waited for, so the number is still its own.
        if let Ok(process) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(process), signal);
        }
    }

    fn asked_why(self) -> Option<String> {
        self.asked.map(|(_, why)| why)
    }
}

#[derive(Default)]
struct Heard {
    done: Option<Summary>,
    failed: Option<ProgramFailure>,
    last_words: String,
}

impl Heard {
    fn take(
        &mut self,
        (line, is_error): (ProgramLine, bool),
        on_line: &mut dyn FnMut(&ProgramLine),
    ) {
        match &line {
            ProgramLine::Done(summary) => self.done = Some(*summary),
            ProgramLine::Failed(failed) => self.failed = Some(failed.clone()),
            ProgramLine::Words(words) if is_error && !words.trim().is_empty() => {
                self.last_words.clone_from(words);
            }
            _ => {}
        }
        on_line(&line);
    }
}

/// Sends what comes, line by line, until the pipe is closed. Lines that are too long lose their end.
fn read_lines(pipe: impl Read, lines: &Sender<(ProgramLine, bool)>, is_error: bool) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut pipe, &mut line) {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
        let text = String::from_utf8_lossy(&line);
        let line = match ProgramLine::parse(text.trim_end()) {
            ProgramLine::Words(words) => {
                ProgramLine::Words(printable(cut(&words, WORDS_BYTES_MAX)))
            }
            other => other,
        };
        if lines.send((line, is_error)).is_err() {
            return;
        }
    }
}

/// A line without its end; false at the end of the pipe.
fn read_line(pipe: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut any = false;
    loop {
        let bytes = match pipe.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(any);
        }
        any = true;
        let (part, used, is_whole) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (bytes.get(..at).unwrap_or_default(), at.saturating_add(1), true),
            None => (bytes, bytes.len(), false),
        };
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(part.get(..room).unwrap_or(part));
        pipe.consume(used);
        if is_whole {
            return Ok(true);
        }
    }
}

impl Ended {
    /// What the end means: what was done, or the class of the failure.
    ///
    /// # Errors
    /// See [`Class`].
    pub fn verdict(&self, program: &str) -> Result<Summary, Failure> {
        if let Some(why) = &self.cancelled {
            return Err(Failure::lasting(Class::Interrupted, format!("interrupted {why}")));
        }
        let said = match &self.failed {
            Some(failed) if !failed.error.is_empty() => failed.error.clone(),
            _ if !self.last_words.is_empty() => self.last_words.clone(),
            _ => "it did not say why".into(),
        };
        let class = self.failed.as_ref().and_then(|failed| failed.class.as_deref());
        let refused = self.failed.as_ref().is_some_and(|failed| failed.refused);
        match self.status.code() {
            Some(0) => self.done.ok_or_else(|| {
                Failure::passing(
                    Class::Failed,
                    format!("{program} ended without saying that it was done"),
                )
            }),
            Some(2) => {
                Err(Failure::order(format!("{program} does not accept its arguments: {said}")))
            }
            Some(3) => {
                let class = class.map_or(Class::Refused, Class::of);
                Err(Failure::lasting(class, said))
            }
            Some(4) => {
                let ranges = self.done.map_or(0, |done| done.ranges_lost);
                let text =
                    format!("done, but {ranges} ranges of sectors could not be read: {said}");
                Err(Failure::lasting(Class::Losses, text))
            }
            Some(1) => {
                let class = class.map_or(Class::Failed, Class::of);
                Err(Failure { may_pass: !refused, ..Failure::passing(class, said) })
            }
            Some(code) => Err(Failure::passing(
                Class::Failed,
                format!("{program} ended with status {code}: {said}"),
            )),
            None => Err(self.killed(program)),
        }
    }

    fn killed(&self, program: &str) -> Failure {
        let signal = self.status.signal().unwrap_or(0);
        let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
        let hint = match name {
            "SIGKILL" => "; the machine may have run out of memory (-M gives it less)",
            _ => "",
        };
        Failure::passing(Class::Failed, format!("{program} was ended by {name}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, cancel: &Cancel) -> (Ended, Vec<ProgramLine>) {
        let launch = Launch {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("WORD", "x".into())],
        };
        let runner = Runner { roots: Roots::default(), grace: Duration::from_millis(200) };
        let mut lines = Vec::new();
        let mut take = |line: &ProgramLine| {
            lines.push(line.clone());
            if *line == ProgramLine::Words("ready".into()) {
                cancel.set("by the test");
            }
        };
        let ended = runner.run(&launch, Output::Lines, cancel, &mut take).unwrap();
        (ended, lines)
    }

    fn verdict(script: &str) -> Result<Summary, (Class, String, bool)> {
        let (ended, _) = run(script, &Cancel::default());
        ended.verdict("prog").map_err(|f| (f.class, f.message, f.may_pass))
    }

    #[test]
    fn status_and_last_object_make_the_verdict() {
        let done = r#"echo '{"event":"done","bytes_written":7,"seconds":2.5}'"#;
        assert_eq!(verdict(done), Ok(Summary { bytes: 7, seconds: 2, ranges_lost: 0 }));
        let failed = |class: &str, status: u8| {
            verdict(&format!(
                r#"echo '{{"event":"failed","class":"{class}","error":"e","refused":{}}}'; exit {status}"#,
                status == 3
            ))
        };
        assert_eq!(failed("network", 1), Err((Class::Network, "e".into(), true)));
        assert_eq!(failed("server", 3), Err((Class::Server, "e".into(), false)));
        assert_eq!(failed("damaged", 3), Err((Class::Damaged, "e".into(), false)));
        assert_eq!(verdict("echo words >&2; exit 3"), Err((Class::Refused, "words".into(), false)));
        assert_eq!(verdict("exit 0").unwrap_err().0, Class::Failed);
        assert_eq!(verdict("echo bad >&2; exit 2").unwrap_err().0, Class::Order);
        assert_eq!(verdict("exit 4").unwrap_err().0, Class::Losses);
        assert!(verdict("kill -9 $$").unwrap_err().1.contains("SIGKILL; the machine"));
        assert!(verdict("exit 77").unwrap_err().1.contains("status 77: it did not say"));
    }

    #[test]
    fn a_program_that_is_cancelled_ends_at_once_or_is_killed() {
        let start = Instant::now();
        let (ended, _) = run("echo ready; exec sleep 1000", &Cancel::default());
        assert_eq!(ended.status.signal(), Some(15));
        let failure = ended.verdict("prog").unwrap_err();
        assert_eq!(
            (failure.class, failure.message.as_str()),
            (Class::Interrupted, "interrupted by the test")
        );
        // Neither it nor its child cares.
        let (ended, _) =
            run("trap '' TERM; echo ready; sleep 1000; sleep 1000", &Cancel::default());
        assert_eq!(ended.status.signal(), Some(9));
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn lines_are_bounded_and_come_in_order() {
        let script =
            "printf 'a %s\\n' $WORD; head -c 3000000 /dev/zero | tr '\\0' y; echo; printf end";
        let (ended, lines) = run(script, &Cancel::default());
        let [ProgramLine::Words(first), ProgramLine::Words(long), ProgramLine::Words(last)] =
            lines.as_slice()
        else {
            panic!("{} lines", lines.len());
        };
        assert_eq!((first.as_str(), long.len(), last.as_str()), ("a x", WORDS_BYTES_MAX, "end"));
        assert!(ended.status.success() && ended.memory.peak > 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let launch = Launch {
            program: "/none/frisbee-client".into(),
            arguments: vec![],
            environment: vec![],
        };
        let runner = Runner { roots: Roots::default(), grace: Duration::ZERO };
        let ran = runner.run(&launch, Output::Lines, &Cancel::default(), &mut |_| {});
        assert!(ran.unwrap_err().message.contains("cannot run /none/frisbee-client: "));
    }
}
