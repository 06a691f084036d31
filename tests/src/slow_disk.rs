//! A disk that the kernel slows down: a loop device, and a control group whose processes may
//! write to it only so fast.
//!
//! What it owns: the device and the group, removed when dropped. Works with both versions of
//! control groups. For root only.

use crate::mount::Loop;
use crate::tools::{ready, run, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Where control groups of version 1 that limit disks are, and of version 2.
const FOLDERS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device"), ("/sys/fs/cgroup", "io.max")];

/// A slow disk.
#[derive(Debug)]
pub struct SlowDisk {
    device: Loop,
    group: PathBuf,
}

impl SlowDisk {
    /// A disk on a file, or `None`, said loudly, where the kernel cannot slow one.
    ///
    /// # Panics
    /// When a step fails that should work here, or a tool is missing in CI; see [`ready`].
    pub fn new(backing: &Path, bytes_per_sec: u64) -> Option<Self> {
        static DISKS: AtomicU32 = AtomicU32::new(0);
        if !ready("slow disk", &["losetup", "lsblk"], true) {
            return None;
        }
        // Refused where it is not there or is on already.
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+io");
        let name = format!("ndz-{}-{}", std::process::id(), DISKS.fetch_add(1, Relaxed));
        let made = FOLDERS.into_iter().find_map(|(folder, limit)| {
            let group = Path::new(folder).join(&name);
            fs::create_dir(&group).ok()?;
            let limit = group.join(limit);
            if limit.exists() {
                return Some((group, limit));
            }
            let _ = fs::remove_dir(&group);
            None
        });
        let Some((group, limit)) = made else {
            eprintln!("SKIPPED: slow disk: the kernel has no control group that slows disks");
            return None;
        };
        let disk = Self { device: Loop::new(backing).unwrap(), group };
        let numbers = run("lsblk", &["-dno", "MAJ:MIN", text(disk.device())]).unwrap();
        let key = if limit.ends_with("io.max") { "wbps=" } else { "" };
        fs::write(&limit, format!("{} {key}{bytes_per_sec}\n", numbers.trim())).unwrap();
        Some(disk)
    }

    /// The device.
    pub fn device(&self) -> &Path {
        self.device.device()
    }

    /// The same command as a process for which the disk is slow; for others it is not.
    pub fn slowed(&self, command: &Command) -> Command {
        let mut slowed = Command::new("sh");
        slowed.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#, text(&self.group)]);
        slowed.arg(command.get_program()).args(command.get_args());
        slowed
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // Its processes have ended; the kernel may take a moment to see that.
        for _ in 0..1000 {
            if fs::remove_dir(&self.group).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        eprintln!("{} was not removed", self.group.display());
    }
}
