//! Where an image is written: a file that appears when it is complete, a device, or a pipe.
//!
//! What it owns: the temporary name and the rename that replaces it, and what is said when the
//! output cannot take more. What it never does: leave part of an image under its final name, or
//! touch an existing image before the new one is safe on the disk.

use crate::disk::in_use::holders_of;
use crate::interrupt;
use crate::units::HumanBytes;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// Why an output could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The output.
        path: PathBuf,
        /// What was tried, as in "cannot ...".
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The filesystem, the quota or the device is full.
    #[error("{}: {source} after {}{}", path.display(), HumanBytes(*written_bytes), wanted(*needed_bytes))]
    Full {
        /// The output.
        path: PathBuf,
        /// Bytes written before.
        written_bytes: u64,
        /// Bytes the whole output needs, when that is known.
        needed_bytes: Option<u64>,
        /// What the system said.
        source: io::Error,
    },
    /// The program that reads our standard output has gone.
    #[error("standard output: the reading program has ended after {}", HumanBytes(*written_bytes))]
    Closed {
        /// Bytes written before.
        written_bytes: u64,
    },
    /// Standard output is a terminal.
    #[error(
        "standard output is a terminal; an image is binary: name a file, or pipe it to a program"
    )]
    Terminal,
    /// The output is a block device that is mounted or otherwise held.
    #[error("{}: in use, not written: {used_by}", path.display())]
    Busy {
        /// The output.
        path: PathBuf,
        /// Who uses it.
        used_by: String,
    },
    /// What takes the output is not of this library: a program's own way to hand an image on.
    #[error(transparent)]
    Remote(Box<dyn std::error::Error + Send + Sync>),
    /// The output is a directory.
    #[error("{}: is a directory; name a file in it", path.display())]
    Directory {
        /// The output.
        path: PathBuf,
    },
}

fn wanted(needed_bytes: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(bytes) = needed_bytes {
        let _ = write!(text, "; the image needs {}", HumanBytes(bytes));
    }
    text
}

/// An output of any kind.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    way: Way,
    /// Bytes written, whatever their position.
    written_bytes: AtomicU64,
    /// Where the next sequential write goes in a file that has positions.
    position: u64,
    needed_bytes: Option<u64>,
}

#[derive(Debug)]
enum Way {
    /// A new file under this temporary name.
    Pending(Temporary),
    /// A block device: written in place, with positions.
    Device,
    /// A pipe, `/dev/null` or another thing without positions.
    Stream,
    /// Standard output, whatever it is.
    Stdout,
}

impl Output {
    /// Opens the output a command line names: `-` is standard output, an existing device or pipe
    /// is written as it is, anything else becomes a regular file.
    ///
    /// # Errors
    /// When it cannot be written, or is a terminal or a directory.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        if path.as_os_str() == "-" {
            return Self::stdout();
        }
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(OutputError::Directory { path: path.into() }),
            Ok(metadata) if !metadata.is_file() => Self::in_place(path, &metadata),
            _ => Self::pending(path),
        }
    }

    /// A new file beside `path` that takes its name, and its place, on [`commit`](Self::commit).
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn pending(path: &Path) -> Result<Self, OutputError> {
        let (temporary, file) = Temporary::create(path)?;
        Ok(Self::new(temporary.target.clone(), file, Way::Pending(temporary)))
    }

    /// Standard output.
    ///
    /// # Errors
    /// When it is a terminal or closed.
    pub fn stdout() -> Result<Self, OutputError> {
        if io::stdout().is_terminal() {
            return Err(OutputError::Terminal);
        }
        let path = PathBuf::from("standard output");
        let copy = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3);
        let file = copy.map(File::from).map_err(|e| OutputError::Io {
            path: path.clone(),
            action: "write",
            source: e.into(),
        })?;
        Ok(Self::new(path, file, Way::Stdout))
    }

    fn in_place(path: &Path, metadata: &std::fs::Metadata) -> Result<Self, OutputError> {
        let device = metadata.file_type().is_block_device();
        let mut options = OpenOptions::new();
        options.write(true);
        if device {
            // Claims it: refused while it or a part of it is mounted.
            options.custom_flags(OFlags::EXCL.bits().cast_signed());
        }
        let file = options.open(path).map_err(|source| {
            let path = path.to_path_buf();
            if source.kind() == io::ErrorKind::ResourceBusy {
                return OutputError::Busy { used_by: holders_of(&path), path };
            }
            OutputError::Io { path, action: "open it for writing", source }
        })?;
        if file.is_terminal() {
            return Err(OutputError::Terminal);
        }
        let way = if device { Way::Device } else { Way::Stream };
        Ok(Self::new(path.into(), file, way))
    }

    fn new(path: PathBuf, file: File, way: Way) -> Self {
        let written_bytes = AtomicU64::new(0);
        Self { path, file, way, written_bytes, position: 0, needed_bytes: None }
    }

    /// The final name; `standard output` for that.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True when [`write_at`](Self::write_at) works: a regular file or a block device.
    pub fn has_positions(&self) -> bool {
        matches!(self.way, Way::Pending { .. } | Way::Device)
    }

    /// Says how large the output will be, for the error when it does not fit.
    pub fn set_needed_bytes(&mut self, needed_bytes: u64) {
        self.needed_bytes = Some(needed_bytes);
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Writes after everything that [`append`](Self::append) has written before.
    ///
    /// # Errors
    /// When the output does not take it.
    pub fn append(&mut self, data: &[u8]) -> Result<(), OutputError> {
        if self.has_positions() {
            self.write_at(data, self.position)?;
            self.position += u64::try_from(data.len()).unwrap_or(u64::MAX);
            return Ok(());
        }
        let mut rest = data;
        while !rest.is_empty() {
            match (&self.file).write(rest) {
                Ok(n) => rest = self.count(rest, n)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
        Ok(())
    }

    /// Writes at a byte offset; also behind the end, which leaves zeros between.
    ///
    /// # Errors
    /// When the output does not take it, or [has no positions](Self::has_positions).
    pub fn write_at(&self, data: &[u8], offset: u64) -> Result<(), OutputError> {
        let (mut rest, mut at) = (data, offset);
        while !rest.is_empty() {
            match self.file.write_at(rest, at) {
                Ok(n) => {
                    rest = self.count(rest, n)?;
                    at += u64::try_from(n).unwrap_or(u64::MAX);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.failed(e)),
            }
        }
        Ok(())
    }

    /// Reads back what was written, for a header that is completed at the end.
    ///
    /// # Errors
    /// When it cannot be read, as from a pipe.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), OutputError> {
        self.file.read_exact_at(buf, offset).map_err(|source| OutputError::Io {
            path: self.path.clone(),
            action: "read back what was written",
            source,
        })
    }

    /// Makes the output permanent: flushed to the device and under its final name. Without it, a
    /// regular file vanishes when this value is dropped, and an older one keeps its place.
    ///
    /// # Errors
    /// When it cannot be flushed or renamed; the file is removed then.
    pub fn commit(self) -> Result<(), OutputError> {
        match &self.way {
            Way::Stream => Ok(()),
            Way::Stdout => match rustix::fs::fsync(&self.file) {
                // A pipe has nothing to flush.
                Err(Errno::INVAL | Errno::ROFS | Errno::NOTSUP) | Ok(()) => Ok(()),
                Err(e) => Err(self.failed(e.into())),
            },
            Way::Device => self.file.sync_all().map_err(|e| self.failed(e)),
            Way::Pending(temporary) => {
                self.file.sync_all().map_err(|e| self.failed(e))?;
                temporary.rename()
            }
        }
    }

    /// Counts a write; what is left of it.
    fn count<'a>(&self, data: &'a [u8], n: usize) -> Result<&'a [u8], OutputError> {
        if n == 0 {
            return Err(self.failed(io::ErrorKind::WriteZero.into()));
        }
        self.written_bytes.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(data.get(n..).unwrap_or_default())
    }

    fn failed(&self, source: io::Error) -> OutputError {
        let written_bytes = self.written_bytes();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => OutputError::Full {
                path: self.path.clone(),
                written_bytes,
                needed_bytes: self.needed_bytes,
                source,
            },
            Some(Errno::PIPE) => OutputError::Closed { written_bytes },
            _ => OutputError::Io { path: self.path.clone(), action: "write", source },
        }
    }
}

/// For code that only wants to write on. Errors are [`OutputError`] inside.
impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.append(data).map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file under a temporary name, beside the name it is to have. Removed when dropped, and when a
/// signal ends the program.
#[derive(Debug)]
pub struct Temporary {
    /// The name it has now.
    path: PathBuf,
    /// The name it is to have.
    target: PathBuf,
}

impl Temporary {
    /// An empty file beside `path`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn beside(path: &Path) -> Result<Self, OutputError> {
        Ok(Self::create(path)?.0)
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn create(path: &Path) -> Result<(Self, File), OutputError> {
        // A symbolic link stays one: what it points to is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let failed = |source| OutputError::Io { path: path.clone(), action: "create it", source };
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        for attempt in 0..100_u32 {
            let mut hidden = b".".to_vec();
            // A name has at most 255 bytes; ours adds up to 40.
            hidden.extend_from_slice(name.as_bytes().get(..200).unwrap_or(name.as_bytes()));
            hidden.extend_from_slice(format!(".{}", std::process::id()).as_bytes());
            if attempt > 0 {
                hidden.extend_from_slice(format!("-{attempt}").as_bytes());
            }
            hidden.extend_from_slice(b".partial");
            let temporary = path.with_file_name(std::ffi::OsString::from_vec(hidden));
            let created = interrupt::create_registered(&temporary, || {
                OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)
            });
            match created {
                Ok(file) => return Ok((Self { path: temporary, target: path }, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Gives the file, which has been flushed, its name; an older file of that name is replaced.
    ///
    /// # Errors
    /// When it cannot be renamed; the file is removed then.
    pub fn rename(&self) -> Result<(), OutputError> {
        let rename = || std::fs::rename(&self.path, &self.target);
        interrupt::unregister_after(&self.path, rename).map_err(|source| {
            // Still there under the temporary name, and no longer registered.
            let _ = std::fs::remove_file(&self.path);
            let action = "give it its final name";
            OutputError::Io { path: self.target.clone(), action, source }
        })?;
        sync_directory(&self.target)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename the name is gone, and not registered any more.
        interrupt::remove_registered(&self.path);
    }
}

/// Makes a rename in the file's directory permanent.
fn sync_directory(path: &Path) -> Result<(), OutputError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(parent).and_then(|directory| directory.sync_all()) {
        // Some network filesystems cannot flush a directory, and need not.
        Err(e) if !matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::ACCESS)) => {
            let action = "flush its directory";
            Err(OutputError::Io { path: path.into(), action, source: e })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.ndz");
        std::fs::write(&path, "old").unwrap();
        let mut output = Output::open(&path).unwrap();
        output.append(b"new").unwrap();
        output.write_at(b"N", 0).unwrap();
        output.append(b"er").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()).len(), 2);
        output.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"Newer");
        assert_eq!(names(dir.path()), ["out.ndz"]);
    }

    #[test]
    fn without_commit_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::open(&dir.path().join("out.ndz")).unwrap();
        output.append(b"half").unwrap();
        // Two at once do not meet.
        let second = Output::open(&dir.path().join("out.ndz")).unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop((output, second));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let mut output = Output::open(&link).unwrap();
        output.append(b"new").unwrap();
        output.commit().unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_be_an_output_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = Output::open(dir.path()).unwrap_err();
        assert!(matches!(refused, OutputError::Directory { .. }), "{refused}");
        let missing = Output::open(&dir.path().join("no/such/out")).unwrap_err();
        assert!(missing.to_string().contains("cannot create it"), "{missing}");
    }

    #[test]
    fn a_full_output_says_how_far_it_came() {
        let mut output = Output::open(Path::new("/dev/full")).unwrap();
        output.set_needed_bytes(3 << 20);
        let full = output.append(&[0; 512]).unwrap_err();
        let text = full.to_string();
        assert!(text.contains("No space left on device"), "{text}");
        assert!(text.contains("after 0 B; the image needs 3.0 MiB"), "{text}");
    }

    #[test]
    fn a_gone_reader_is_one_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let mut output = Output::open(&fifo).unwrap();
        assert!(!output.has_positions());
        output.append(b"abc").unwrap();
        drop(reader);
        let closed = output.append(b"def").unwrap_err();
        assert!(matches!(closed, OutputError::Closed { written_bytes: 3 }), "{closed}");
    }
}
