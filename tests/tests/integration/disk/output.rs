//! Output files on full filesystems and under signals.

use super::setup::{Mount, root};
use imagezip::disk::{RegularFile, TargetOptions, WriteDisk, open_target};
use imagezip::interrupt;
use imagezip::output::{Output, OutputError};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[test]
fn a_full_filesystem_is_one_clear_error_and_leaves_nothing() {
    if !root("a_full_filesystem_is_one_clear_error_and_leaves_nothing") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = Mount::new(dir.path().join("small"), &["-t", "tmpfs", "-o", "size=1m", "none"]);
    let mut output = Output::open(&small.at.join("out.ndz")).unwrap();
    output.set_needed_bytes(2 << 20);
    output.append(&vec![1; 1 << 19]).unwrap();
    let full = output.append(&vec![1; 1 << 20]).unwrap_err();
    assert!(matches!(full, OutputError::Full { written_bytes: 0x10_0000, .. }), "{full}");
    assert!(full.to_string().contains("after 1.0 MiB; the image needs 2.0 MiB"), "{full}");
    drop(output);
    assert_eq!(std::fs::read_dir(&small.at).unwrap().count(), 0);
}

#[test]
fn a_full_filesystem_under_a_target_is_an_error_with_its_place() {
    if !root("a_full_filesystem_under_a_target_is_an_error_with_its_place") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let small = Mount::new(dir.path().join("small"), &["-t", "tmpfs", "-o", "size=1m", "none"]);
    let regular_file = RegularFile::Fresh { size_bytes: 8 << 20 };
    let options = TargetOptions { regular_file, ..TargetOptions::default() };
    let disk = open_target(&small.at.join("disk"), options).unwrap();
    let full = disk.write_at(&vec![1; 4 << 20], 1 << 20).unwrap_err();
    assert_eq!(full.source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(full.offset, 2 << 20, "{full}");
}

const DIRECTORY: &str = "IMAGEZIP_TEST_OUTPUT_DIRECTORY";
const PATIENT: &str = "IMAGEZIP_TEST_FINISHES_NO_WORK";

/// Not a test: the program that the signals of the tests below are sent to.
#[test]
#[ignore = "run by the tests of signals"]
fn interrupted_program() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let interrupt = interrupt::install().unwrap();
    let mut output = Output::open(&Path::new(&directory).join("out.ndz")).unwrap();
    output.append(b"half").unwrap();
    say("ready");
    while !interrupt.is_set() {
        std::thread::yield_now();
    }
    say("noted");
    if std::env::var_os(PATIENT).is_some() {
        loop {
            std::thread::park();
        }
    }
    drop(output);
    interrupt.finish();
}

fn say(word: &str) {
    println!("\n{word}");
    std::io::stdout().flush().unwrap();
}

struct Program {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    directory: tempfile::TempDir,
    output: PathBuf,
}

impl Program {
    fn start(patient: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out.ndz");
        std::fs::write(&output, "old").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "disk::output::interrupted_program"]);
        command.env(DIRECTORY, directory.path()).stdout(Stdio::piped()).stdin(Stdio::null());
        if patient {
            command.env(PATIENT, "1");
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { child, lines, directory, output };
        program.wait_for("ready");
        assert_eq!(program.files(), 2);
        program
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while line.trim() != word {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "ended before {word}");
        }
    }

    fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.directory.path()).unwrap().count()
    }

    /// The program died of `signal`; the old output is there and nothing else.
    fn assert_ended_by(mut self, signal: Signal) {
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
        assert_eq!(self.files(), 1);
        assert_eq!(std::fs::read(&self.output).unwrap(), b"old");
    }
}

#[test]
fn a_signal_stops_the_work_and_is_seen_by_the_shell() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let program = Program::start(false);
        program.send(signal);
        program.assert_ended_by(signal);
    }
}

#[test]
fn a_second_signal_ends_at_once_and_removes_the_temporary_file() {
    let mut program = Program::start(true);
    program.send(Signal::TERM);
    program.wait_for("noted");
    program.send(Signal::INT);
    program.assert_ended_by(Signal::INT);
}
