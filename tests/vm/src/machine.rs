//! A virtual machine of the lab.
//!
//! What it is: QEMU with one processor, a network card, disks, and a serial console. What it owns:
//! its command line, and the process. What it never does: use hardware help (`-accel tcg` only), so
//! that the tests run where there is none.

use crate::artifacts::{Kernel, OVMF_CODE, OVMF_VARS, target};
use crate::console::Console;
use crate::lab::Lab;
use crate::process::Process;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// The model of processor: the oldest that Debian runs on. Newer ones have wide registers, which
/// take longer to emulate than they save.
const PROCESSOR: &str = "qemu64";

/// What a machine starts from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Firmware {
    /// SeaBIOS, and iPXE on the network card.
    Bios,
    /// OVMF, which boots from the network by itself.
    Uefi,
}

/// What a disk is connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bus {
    /// `/dev/vda`
    Virtio,
    /// `/dev/nvme0n1`
    Nvme,
    /// `/dev/sda`; the Debian of these tests has no driver for it.
    Ahci,
}

#[derive(Clone, Debug)]
struct Disk {
    file: PathBuf,
    bus: Bus,
    serial: String,
}

/// A machine, switched off.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    number: u8,
    memory_mib: u32,
    firmware: Firmware,
    disks: Vec<Disk>,
    kernel: Option<(Kernel, String)>,
    reboots: bool,
}

impl Machine {
    /// A machine with 256 MiB, no disk, and a network card with the address `52:54:00:77:00:NN`.
    #[must_use]
    pub fn new(name: &str, number: u8) -> Self {
        Self {
            name: name.to_owned(),
            number,
            memory_mib: 256,
            firmware: Firmware::Bios,
            disks: Vec::new(),
            kernel: None,
            reboots: false,
        }
    }

    /// The address of its network card.
    #[must_use]
    pub fn mac(&self) -> String {
        format!("52:54:00:77:00:{:02x}", self.number)
    }

    /// With this much memory.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// With this firmware.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// With one more disk.
    #[must_use]
    pub fn disk(mut self, file: &Path, bus: Bus) -> Self {
        let serial = format!("{}-{}", self.name.to_uppercase(), self.disks.len());
        self.disks.push(Disk { file: file.to_owned(), bus, serial });
        self
    }

    /// Starts with this kernel and these words on its command line, instead of from the first disk
    /// or else from the network: faster.
    #[must_use]
    pub fn kernel(mut self, kernel: &Kernel, words: &str) -> Self {
        self.kernel = Some((kernel.clone(), words.to_owned()));
        self
    }

    /// Starts as its firmware finds it, again.
    #[must_use]
    pub fn without_kernel(mut self) -> Self {
        self.kernel = None;
        self
    }

    /// Starts again when its system says so. Without this, a reboot ends QEMU, so that the test can
    /// look at the disks before it starts the machine again.
    #[must_use]
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// Switches it on, with a cable to the lab's switch.
    ///
    /// # Panics
    /// When QEMU cannot be started.
    #[must_use]
    pub fn start(&self, lab: &Lab) -> Running {
        let tap = lab.add_tap();
        let mut command = lab.switch_command(QEMU);
        command.args(self.arguments(&tap, &lab.scratch(&format!("{}-uefi-vars", self.name))));
        let process = Process::start(&self.name, &mut command);
        let console = Console::new(&self.name, &process.output);
        // The tap's name tells the first start of a machine from the second.
        Running { process, console, log: format!("{}-{tap}.log", self.name) }
    }

    fn arguments(&self, tap: &str, variables: &Path) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |text: &str| words.extend(text.split_whitespace().map(OsString::from));
        add("-accel tcg -machine pc -smp 1 -nodefaults -nographic");
        add(&format!("-cpu {PROCESSOR} -m {}", self.memory_mib));
        add("-chardev stdio,id=console,signal=off -serial chardev:console");
        // Debian waits for random numbers if it has to make them from nothing.
        add("-device virtio-rng-pci");
        add(&format!("-netdev tap,id=lan,ifname={tap},script=no,downscript=no"));
        // After the disks: a blank machine starts from the network, a loaded one from its disk.
        let card = format!("-device virtio-net-pci,netdev=lan,mac={},bootindex=9", self.mac());
        match self.firmware {
            Firmware::Bios => add(&card),
            // No iPXE on the card: UEFI has a PXE of its own, which is what machines boot by.
            Firmware::Uefi => add(&format!("{card},romfile=")),
        }
        if !self.reboots {
            add("-no-reboot");
        }
        if self.disks.iter().any(|disk| disk.bus == Bus::Ahci) {
            add("-device ich9-ahci,id=ahci");
        }
        if let Some((_, text)) = &self.kernel {
            words.extend(["-append".into(), format!("console=ttyS0 {text}").into()]);
        }
        let mut add_file = |option: &str, before: &str, file: &Path| {
            let mut word = OsString::from(before);
            word.push(file);
            words.extend([option.into(), word]);
        };
        if let Some((kernel, _)) = &self.kernel {
            add_file("-kernel", "", &kernel.image);
            add_file("-initrd", "", &kernel.initrd);
        }
        if self.firmware == Firmware::Uefi {
            if !variables.exists() {
                fs::copy(OVMF_VARS, variables)
                    .unwrap_or_else(|error| panic!("{OVMF_VARS} (package ovmf): {error}"));
            }
            let code = "if=pflash,format=raw,unit=0,readonly=on,file=";
            add_file("-drive", code, Path::new(OVMF_CODE));
            add_file("-drive", "if=pflash,format=raw,unit=1,file=", variables);
        }
        for (number, disk) in self.disks.iter().enumerate() {
            // The file is thrown away with the lab: nothing has to reach the host's own disk.
            let drive = format!("if=none,id=disk{number},format=raw,cache=unsafe,file=");
            add_file("-drive", &drive, &disk.file);
        }
        for (number, disk) in self.disks.iter().enumerate() {
            let device = match disk.bus {
                Bus::Virtio => "virtio-blk-pci".to_owned(),
                Bus::Nvme => "nvme".to_owned(),
                Bus::Ahci => format!("ide-hd,bus=ahci.{number}"),
            };
            let rest =
                format!("drive=disk{number},serial={},bootindex={}", disk.serial, number + 1);
            words.extend(["-device".into(), format!("{device},{rest}").into()]);
        }
        words
    }
}

/// A machine that is switched on. It is switched off when this value goes.
#[derive(Debug)]
pub struct Running {
    process: Process,
    /// What it says.
    pub console: Console,
    log: String,
}

impl Running {
    /// Waits until the machine switches itself off, or reboots if that ends it.
    ///
    /// # Panics
    /// When it does not within this time, or QEMU failed.
    #[track_caller]
    pub fn wait_until_off(mut self, patience: Duration) {
        let status = self.process.wait(patience);
        assert!(status.success(), "{}: {status}", self.process.name());
    }

    /// Pulls the plug.
    pub fn pull_plug(mut self) {
        self.process.kill();
    }

    /// Types a line on the console.
    ///
    /// # Panics
    /// When the machine is off.
    pub fn type_line(&mut self, line: &str) {
        use std::io::Write;
        let input = self.process.input().expect("the console is open");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the machine is on");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // For people: all that was said, and when.
        let folder = target().join("vm/consoles");
        let file = folder.join(&self.log);
        let all = self.process.output.tail(usize::MAX);
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&file, all)) {
            eprintln!("{}: {error}", file.display());
        }
    }
}
