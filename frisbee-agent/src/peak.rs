//! How much memory a program took, and how little was left.

use crate::disks::Roots;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;

/// Watches one program.
#[derive(Clone, Debug)]
pub struct Watch {
    roots: Roots,
    /// Peak of the largest program so far that has ended, before this one was started.
    before: u64,
    peak: u64,
    available: Option<u64>,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// Most bytes that the program had resident.
    pub peak: u64,
    /// Fewest bytes that the machine could still have given.
    pub available: Option<u64>,
}

impl Memory {
    /// Of two programs one after the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let fewest = [self.available, other.available].into_iter().flatten().min();
        Self { peak: self.peak.max(other.peak), available: fewest }
    }
}

/// The largest peak of all programs that have ended, in bytes.
fn ended() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
    let kibibytes = usage.and_then(|usage| u64::try_from(usage.max_rss()).ok()).unwrap_or(0);
    kibibytes.saturating_mul(1024)
}

/// The number of `key: N kB` in a file of /proc, in bytes.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

impl Watch {
    /// Begins.
    pub fn start(roots: &Roots) -> Self {
        let mut watch = Self { roots: roots.clone(), before: ended(), peak: 0, available: None };
        watch.look_at_machine();
        watch
    }

    fn look_at_machine(&mut self) {
        let text = fs::read_to_string(self.roots.proc.join("meminfo")).unwrap_or_default();
        let now = field(&text, "MemAvailable");
        self.available = [self.available, now].into_iter().flatten().min();
    }

    /// Looks at the program while it runs; called several times a second.
    pub fn look(&mut self, process: u32) {
        let path = self.roots.proc.join(process.to_string()).join("status");
        let peak = field(&fs::read_to_string(path).unwrap_or_default(), "VmHWM");
        self.peak = self.peak.max(peak.unwrap_or(0));
        self.look_at_machine();
    }

    /// The program has ended and was waited for.
    pub fn finish(mut self) -> Memory {
        self.look_at_machine();
        // The system keeps only the largest of all; if that rose, it is this program's, to the byte.
        let ended = ended();
        let peak = if ended > self.before { ended } else { self.peak };
        Memory { peak, available: self.available }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_proc_are_found() {
        let text = "VmPeak:\t  9 kB\nVmHWM:\t    57344 kB\nMemAvailable: x kB\n";
        assert_eq!(field(text, "VmHWM"), Some(56 << 20));
        assert_eq!(
            (field(text, "VmRSS"), field(text, "MemAvailable"), field(text, "Vm")),
            (None, None, None)
        );
    }

    #[test]
    fn a_program_that_ended_is_measured() {
        let mut watch = Watch::start(&Roots::default());
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        watch.look(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        let memory = watch.finish();
        assert!(memory.peak > 100_000 && memory.available.unwrap() > memory.peak, "{memory:?}");
    }
}
