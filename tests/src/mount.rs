//! Loop devices and mounts, undone when dropped. For root only.

use crate::tools::{run, text};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A mounted image.
#[derive(Debug)]
pub struct Mount {
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts an image file on the directory `point`, which is made when needed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(image: &Path, point: &Path, options: &str) -> Result<Self> {
        std::fs::create_dir_all(point).with_context(|| point.display().to_string())?;
        let options = if options.is_empty() { "loop".into() } else { format!("loop,{options}") };
        run("mount", &["-o", &options, text(image), text(point)])?;
        Ok(Self { point: point.into(), mounted: true })
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Unmounts, and reports when that fails.
    ///
    /// # Errors
    /// When it is busy.
    pub fn unmount(mut self) -> Result<()> {
        self.mounted = false;
        // Programs that other tests are just starting share our open files until they have started.
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            match run("umount", &[text(&self.point)]) {
                Err(error) if error.to_string().contains("busy") && Instant::now() < give_up => {}
                done => return done.map(drop),
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run("umount", &["-l", text(&self.point)]);
        }
    }
}

/// A loop device over an image file.
#[derive(Debug)]
pub struct Loop {
    device: PathBuf,
}

impl Loop {
    /// Attaches the file to a free loop device.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(image: &Path) -> Result<Self> {
        let device = run("losetup", &["--find", "--show", text(image)])?;
        Ok(Self { device: device.trim().into() })
    }

    /// The device.
    pub fn device(&self) -> &Path {
        &self.device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run("losetup", &["--detach", text(&self.device)]);
    }
}

/// An image mounted by a FUSE driver. Through a loop device, as then unmounting waits for the driver
/// to write all it has.
#[derive(Debug)]
pub struct FuseMount {
    // Fields are dropped in this order: nothing may be detached while it is mounted.
    mount: Mount,
    _device: Loop,
}

impl FuseMount {
    /// Mounts an image file on the directory `point` by `driver DEVICE POINT -o OPTIONS`.
    ///
    /// # Errors
    /// When there is no loop device or the driver refuses.
    pub fn new(driver: &str, image: &Path, point: &Path, options: &str) -> Result<Self> {
        std::fs::create_dir_all(point).with_context(|| point.display().to_string())?;
        let device = Loop::new(image)?;
        run(driver, &[text(device.device()), text(point), "-o", options])?;
        Ok(Self { mount: Mount { point: point.into(), mounted: true }, _device: device })
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        self.mount.point()
    }

    /// Unmounts, and reports when that fails.
    ///
    /// # Errors
    /// When it is busy.
    pub fn unmount(self) -> Result<()> {
        self.mount.unmount()
    }
}
