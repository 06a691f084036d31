//! The command line of frisbee-agent.

use crate::disks::Roots;
use clap::{ArgAction, Parser};
use std::path::PathBuf;

/// Load or save the disk of this machine as the kernel's command line or a control server says.
///
/// This is what the boot image runs on a node's console. Without arguments it reads its orders from
/// /proc/cmdline, chooses the disk, runs frisbee-client or imagezip, tells how it goes on the
/// console and to the control server, tries again what may pass, and then reboots,
/// switches off, starts the loaded system or waits, as it was told.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "frisbee-agent",
    version,
    disable_version_flag = true,
    after_long_help = HELP,
    after_help = "See --help for the kernel's words, examples and exit statuses."
)]
pub struct Args {
    /// Take these words instead of the kernel's command line
    #[arg(long, value_name = "STRING")]
    pub command_line: Option<String>,

    /// List the disks of this machine, with all that frisbee.disk= may name, and do nothing
    #[arg(long, conflicts_with = "check_orders")]
    pub list_disks: bool,

    /// Say what the orders mean and which disk they choose now, and do nothing
    #[arg(long)]
    pub check_orders: bool,

    /// With --list-disks: a JSON object a line
    #[arg(long, requires = "list_disks")]
    pub json: bool,

    /// Where frisbee-client, imagezip and run-hooks are (default: PATH, and /usr/lib/frisbee/run-hooks)
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,

    /// Look for the disks in this folder instead of /sys
    #[arg(long, value_name = "DIR", default_value = "/sys", hide_short_help = true)]
    pub sys_root: PathBuf,

    /// Open them in this folder instead of /dev
    #[arg(long, value_name = "DIR", default_value = "/dev", hide_short_help = true)]
    pub dev_root: PathBuf,

    /// Say what would be the end instead of doing it: no reboot, no power off, no kexec
    #[arg(long, hide_short_help = true)]
    pub stay: bool,

    /// Print the version
    #[arg(short = 'v', long = "version", action = ArgAction::Version)]
    pub version: Option<bool>,
}

/// For `--help`.
const HELP: &str = "\
Words of the kernel's command line:
  frisbee.load=GROUP:PORT             load what is sent to this group
  frisbee.load=SERVER[:PORT]/IMAGE    load this image of an image host
  frisbee.save=SERVER[:PORT]/NAME     save the disk to an image host
  frisbee.disk=sda | /dev/sda | /dev/disk/by-id/... | serial:S | wwn:W | size:120G
              | size:smallest | size:largest | auto    (default auto: the only disk)
  frisbee.then=reboot | poweroff | kexec | wait | shell
                                      afterwards (default: reboot after a load, wait after a save)
  frisbee.control=HOST[:PORT]         take orders from there (default port 64496)
  frisbee.hooks=grow,machine-id,...   what is done to the loaded system
  frisbee.hostname=NAME  frisbee.files=URL             for the hooks hostname and drop-files
  frisbee.verify                      read back what was loaded
  frisbee.options=a,b,c               more arguments for frisbee-client or imagezip
  frisbee.token=TOKEN                 for saves; anybody who sees the command line sees it
  frisbee.timeout=SECONDS             without news this is a failure (default 120)
  frisbee.retry=N  frisbee.retry-after=SECONDS         tries, and the pause (default 3 and 10)
  frisbee.reboot-after=SECONDS        a failure stays on the screen so long (default 600; 0: for ever)
  frisbee.syslog=HOST[:PORT]  frisbee.debug            for the boot image itself
A value in quotes may hold spaces. Other words are others' business. What the kernel's command line
orders is done once; an agent that is started again knows it by /run/frisbee/obeyed.

Examples:
  frisbee-agent --list-disks
  frisbee-agent --check-orders --command-line 'frisbee.load=boss/lab/debian.ndz frisbee.disk=size:120G'
  frisbee-agent --stay --command-line 'frisbee.save=boss/lab/new.ndz frisbee.disk=sda'

A control server is any program that listens: `nc -l 64496`, then type PING, STATUS,
LOAD_IMAGE 239.192.1.2 7000 /dev/sda, SAVE_IMAGE 10.0.0.1 9000 /dev/sda, REBOOT, ...

Exit status:
  0  there is nothing more to do
  1  failed, or ended by a signal
  2  the command line of frisbee-agent makes no sense
  10 somebody wants a shell (frisbee.then=shell)";

impl Args {
    /// Where the system says what it has.
    pub fn roots(&self) -> Roots {
        let (sys, dev) = (self.sys_root.clone(), self.dev_root.clone());
        Roots { sys, dev, ..Roots::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::KEYS;

    #[test]
    fn help_names_every_word() {
        for key in KEYS {
            assert!(HELP.contains(&format!("frisbee.{key}")), "{key}");
        }
        assert!(Args::try_parse_from(["frisbee-agent", "--json"]).is_err());
        assert!(Args::try_parse_from(["frisbee-agent"]).is_ok());
    }
}
