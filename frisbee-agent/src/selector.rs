//! Which disk is meant: what `frisbee.disk=` and control commands say.
//!
//! What it owns: the grammar, and what a size means. What it never does: look at disks.

use std::fmt;
use std::str::FromStr;

/// Which disk is meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// The only disk.
    Auto,
    /// By the kernel's name, such as `sda`.
    Name(String),
    /// By a link below `/dev/disk`, such as `by-id/wwn-0x5000`.
    Link(String),
    /// By serial number.
    Serial(String),
    /// By World Wide Name.
    Wwn(String),
    /// The only disk of this size.
    Size(Size),
    /// The smallest one.
    Smallest,
    /// The largest one.
    Largest,
}

/// A size as people say it: `120G` may be decimal or binary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    decimal: u64,
    binary: u64,
}

/// Makers round by less than this: a hundredth.
const ROUNDED_BY: u64 = 100;

impl Size {
    /// True for a disk of about this size.
    pub fn means(self, bytes: u64) -> bool {
        [self.decimal, self.binary]
            .into_iter()
            .any(|size| bytes.abs_diff(size) <= size / ROUNDED_BY)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: expected a size such as 120G or 2T");
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.to_ascii_uppercase();
        let power = match unit.trim_end_matches('B').trim_end_matches('I') {
            "" => 0,
            "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            "P" => 5,
            _ => return Err(wrong()),
        };
        let times = |base: u64| number.checked_mul(base.checked_pow(power)?);
        match (times(1000), times(1024)) {
            (Some(decimal @ 1..), Some(binary)) => Ok(Self { decimal, binary }),
            _ => Err(wrong()),
        }
    }
}

/// Names are at most this long.
const NAME_LEN_MAX: usize = 200;

/// A name that leads nowhere but where it says: no `..`, no option, nothing a shell would see.
fn is_name(name: &str, slashes: bool) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:+@-#=,".contains(c);
    let parts = || name.split('/');
    name.len() <= NAME_LEN_MAX
        && parts().all(|part| !part.is_empty() && part.chars().all(is_plain))
        && parts().all(|part| !part.starts_with(['.', '-']))
        && (slashes || parts().count() == 1)
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = |value: &str, what: &str| match value.trim() {
            "" => Err(format!("{text:?}: names no {what}")),
            value if value.len() > NAME_LEN_MAX => Err(format!("a {what} is not that long")),
            value => Ok(value.to_owned()),
        };
        if let Some(serial) = text.strip_prefix("serial:") {
            return Ok(Self::Serial(value(serial, "serial number")?));
        }
        if let Some(wwn) = text.strip_prefix("wwn:") {
            return Ok(Self::Wwn(value(wwn, "WWN")?));
        }
        match (text, text.strip_prefix("size:")) {
            ("auto", _) => return Ok(Self::Auto),
            (_, Some("smallest")) => return Ok(Self::Smallest),
            (_, Some("largest")) => return Ok(Self::Largest),
            (_, Some(size)) => return Ok(Self::Size(size.parse()?)),
            _ => {}
        }
        let name = text.strip_prefix("/dev/").unwrap_or(text);
        match name.strip_prefix("disk/") {
            Some(link) if is_name(link, true) => Ok(Self::Link(link.to_owned())),
            // A RAID controller's disks may have a slash, as in cciss/c0d0.
            None if is_name(name, text.starts_with("/dev/")) => Ok(Self::Name(name.to_owned())),
            _ => Err(format!(
                "{text:?} is no disk: expected a name such as sda or /dev/nvme0n1, serial:S, wwn:W, \
                 size:120G, size:smallest, size:largest, or auto"
            )),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Name(name) => write!(f, "/dev/{name}"),
            Self::Link(link) => write!(f, "/dev/disk/{link}"),
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Wwn(wwn) => write!(f, "wwn:{wwn}"),
            Self::Size(size) => write!(f, "size:{}", size.decimal),
            Self::Smallest => f.write_str("size:smallest"),
            Self::Largest => f.write_str("size:largest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Selector, String> {
        text.parse()
    }

    #[test]
    fn disks_are_named_in_many_ways() {
        assert_eq!(read("auto"), Ok(Selector::Auto));
        assert_eq!(read("sda"), Ok(Selector::Name("sda".into())));
        assert_eq!(read("/dev/nvme0n1"), Ok(Selector::Name("nvme0n1".into())));
        assert_eq!(read("/dev/cciss/c0d0"), Ok(Selector::Name("cciss/c0d0".into())));
        assert_eq!(read("/dev/disk/by-id/wwn-0x5"), Ok(Selector::Link("by-id/wwn-0x5".into())));
        assert_eq!(read("serial:S 1"), Ok(Selector::Serial("S 1".into())));
        assert_eq!(read("wwn:0x5000"), Ok(Selector::Wwn("0x5000".into())));
        assert_eq!(read("size:largest"), Ok(Selector::Largest));
        for wrong in [
            "",
            "-x",
            "/etc/passwd",
            "../sda",
            "/dev/../etc/x",
            "/dev/",
            "a b",
            "sda/x",
            "/dev//x",
            "/dev/disk/../x",
            "serial:",
            "wwn: ",
            "size:",
            "size:x",
            "size:0",
            "size:-1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for text in ["auto", "/dev/sda", "/dev/disk/by-id/x", "serial:a", "wwn:b", "size:smallest"]
        {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes_are_meant_as_makers_and_programmers_say_them() {
        let size: Size = "120G".parse().unwrap();
        // A "120 GB" SSD, and a virtual disk of 120 GiB.
        assert!(size.means(120_034_123_776) && size.means(120 << 30));
        assert!(!size.means(118 * 1_000_000_000) && !size.means(250_059_350_016) && !size.means(0));
        assert!("2TiB".parse::<Size>().unwrap().means(2_000_398_934_016));
        assert!("1000".parse::<Size>().unwrap().means(1000));
        assert!("99999999999P".parse::<Size>().is_err());
    }
}
