//! Running the programs in a directory of the test.

use crate::tools::run;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What a program did.
pub(crate) struct Ran {
    /// Its exit status; 128 and the number of the signal that ended it.
    pub(crate) status: i32,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it said.
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit status.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}{}", self.text(), self.stderr);
        self
    }

    /// Asserts that it says this.
    #[track_caller]
    pub(crate) fn saying(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "expected '{words}' in:\n{}", self.stderr);
        self
    }

    /// Asserts that it says one line of error and nothing else.
    #[track_caller]
    pub(crate) fn in_one_line(self) -> Self {
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last of the JSON objects on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        objects(&self.text()).pop().expect("an object")
    }
}

/// JSON objects, one a line, or one over many lines.
#[track_caller]
pub(crate) fn objects(text: &str) -> Vec<serde_json::Value> {
    let objects = serde_json::Deserializer::from_str(text).into_iter();
    objects.map(|object| object.unwrap_or_else(|error| panic!("{error}: {text}"))).collect()
}

/// A directory in which programs run.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The names in it, sorted, the hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// A sparse file.
    pub(crate) fn blank(&self, name: &str, bytes: u64) {
        File::create(self.path(name)).unwrap().set_len(bytes).unwrap();
    }

    /// A copy with holes.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        run(
            "cp",
            &["--sparse=always".as_ref(), self.path(from).as_os_str(), self.path(to).as_ref()],
        );
    }

    /// Runs imagezip with these words.
    #[track_caller]
    pub(crate) fn imagezip(&self, words: &str) -> Ran {
        self.program("imagezip", words)
    }

    /// Runs imageunzip with these words.
    #[track_caller]
    pub(crate) fn imageunzip(&self, words: &str) -> Ran {
        self.program("imageunzip", words)
    }

    /// Runs imagedump with these words.
    #[track_caller]
    pub(crate) fn imagedump(&self, words: &str) -> Ran {
        self.program("imagedump", words)
    }

    #[track_caller]
    fn program(&self, name: &str, words: &str) -> Ran {
        finish(self.command(name, words).spawn().unwrap())
    }

    /// A program with these words, not started yet: no input, output and errors piped.
    pub(crate) fn command(&self, name: &str, words: &str) -> Command {
        let mut command = Command::new(executable(name));
        command
            .args(words.split_whitespace())
            .current_dir(self.dir.path())
            .env("LC_ALL", "C")
            .env_remove("RUST_LOG")
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Where cargo has built a program.
pub(crate) fn executable(name: &str) -> &'static str {
    match name {
        "imagezip" => env!("CARGO_BIN_EXE_imagezip"),
        "imageunzip" => env!("CARGO_BIN_EXE_imageunzip"),
        _ => env!("CARGO_BIN_EXE_imagedump"),
    }
}

/// Waits for a program and takes what it printed. No program may panic.
#[track_caller]
pub(crate) fn finish(child: Child) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    let signal = output.status.signal().map(|signal| signal + 128);
    Ran { status: output.status.code().or(signal).unwrap(), stdout: output.stdout, stderr }
}

/// The names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Bytes that do not compress and are the same every time (xorshift64*).
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

/// Reads part of a file.
pub(crate) fn read_range(path: &Path, range: std::ops::Range<u64>) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
    file.read_exact_at(&mut bytes, range.start).unwrap();
    bytes
}

/// Writes into a file.
pub(crate) fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// Takes `len` bytes from a pipe.
pub(crate) fn take(pipe: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    pipe.read_exact(&mut bytes).unwrap();
    bytes
}
