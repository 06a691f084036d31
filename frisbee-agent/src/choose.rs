//! Which of the disks is meant.
//!
//! What it owns: the rules. Doubt is a refusal that lists all disks: the wrong disk overwritten is
//! the one mistake that nobody can make good.

use crate::disks::Disk;
use crate::failure::{Class, Failure};
use crate::selector::Selector;

/// Where a link below `/dev/disk` leads: the kernel's name of a disk.
pub type Links<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The disk that is meant.
///
/// # Errors
/// [`Class::NoDisk`] when there is none (waiting may help), [`Class::AmbiguousDisk`] when there are
/// several, [`Class::Refused`] when it is one that is never taken. All disks are listed.
pub fn choose<'a>(
    disks: &'a [Disk],
    selector: &Selector,
    links: Links<'_>,
) -> Result<&'a Disk, Failure> {
    let fit = || disks.iter().filter(|disk| disk.unfit.is_none());
    let meant: Vec<&Disk> = match selector {
        Selector::Auto => fit().collect(),
        Selector::Size(size) => fit().filter(|disk| size.means(disk.bytes)).collect(),
        Selector::Smallest => of_size(disks, fit().map(|disk| disk.bytes).min()),
        Selector::Largest => of_size(disks, fit().map(|disk| disk.bytes).max()),
        Selector::Name(name) => disks.iter().filter(|disk| disk.name == *name).collect(),
        Selector::Serial(serial) => {
            disks.iter().filter(|disk| same(disk.serial.as_deref(), serial)).collect()
        }
        Selector::Wwn(wwn) => disks.iter().filter(|disk| is_wwn(disk, wwn)).collect(),
        Selector::Link(link) => linked(disks, link, links),
    };
    match meant.as_slice() {
        [] => Err(Failure::passing(Class::NoDisk, none(disks, selector))),
        [disk] => match disk.unfit {
            None => Ok(disk),
            Some(why) => {
                let name = disk.path.display();
                let text = format!("{name} is never taken: it is {why}{}", list(disks));
                Err(Failure::lasting(Class::Refused, text))
            }
        },
        several => {
            let names: Vec<_> =
                several.iter().map(|disk| disk.path.display().to_string()).collect();
            let text = format!(
                "{selector} means {} disks ({}): say which by name, serial:, wwn: or size:{}",
                several.len(),
                names.join(", "),
                list(disks)
            );
            Err(Failure::lasting(Class::AmbiguousDisk, text))
        }
    }
}

/// The disks, as the end of a sentence.
fn list(disks: &[Disk]) -> String {
    let all: Vec<_> = disks.iter().map(ToString::to_string).collect();
    match all.is_empty() {
        true => "; this machine has no disk that the kernel knows (is the driver there?)".into(),
        false => format!("; the disks are: {}", all.join("; ")),
    }
}

fn none(disks: &[Disk], selector: &Selector) -> String {
    let hint = match selector {
        Selector::Name(name) if disks.iter().any(|disk| is_part(name, &disk.name)) => {
            ", which looks like a partition: a whole disk is meant here (a partition of it is said \
             by frisbee.options=-s,NUMBER)"
        }
        Selector::Link(_) => " (this system makes few such links; serial: and wwn: always work)",
        _ => "",
    };
    let what = match selector {
        Selector::Auto => "no disk that may be taken".to_owned(),
        selector => format!("no disk {selector}{hint}"),
    };
    format!("there is {what}{}", list(disks))
}

fn is_part(name: &str, disk: &str) -> bool {
    let rest = name.strip_prefix(disk).unwrap_or_default();
    let number = rest.strip_prefix('p').unwrap_or(rest);
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

fn of_size(disks: &[Disk], bytes: Option<u64>) -> Vec<&Disk> {
    disks.iter().filter(|disk| disk.unfit.is_none() && Some(disk.bytes) == bytes).collect()
}

/// Serial numbers are compared without spaces, and whatever the case.
fn same(found: Option<&str>, wanted: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<String>().to_ascii_lowercase();
    found.is_some_and(|found| plain(found) == plain(wanted))
}

/// A WWN without what the kernel, udev or a label on the disk put before it.
fn bare_wwn(wwn: &str) -> String {
    let wwn = wwn.to_ascii_lowercase();
    let wwn = ["naa.", "eui.", "wwn-", "nvme-"]
        .iter()
        .fold(wwn.as_str(), |wwn, prefix| wwn.strip_prefix(prefix).unwrap_or(wwn));
    wwn.strip_prefix("0x").unwrap_or(wwn).replace([':', ' '], "")
}

fn is_wwn(disk: &Disk, wanted: &str) -> bool {
    disk.wwn.as_deref().is_some_and(|wwn| bare_wwn(wwn) == bare_wwn(wanted))
}

/// By the link if it is there; else as udev would have named it.
fn linked<'a>(disks: &'a [Disk], link: &str, links: Links<'_>) -> Vec<&'a Disk> {
    if let Some(name) = links(link) {
        return disks.iter().filter(|disk| disk.name == name).collect();
    }
    let Some(id) = link.strip_prefix("by-id/") else { return Vec::new() };
    if let Some(wwn) = id.strip_prefix("wwn-").or_else(|| id.strip_prefix("nvme-eui.")) {
        return disks.iter().filter(|disk| is_wwn(disk, wwn)).collect();
    }
    let Some((bus, name)) = id.split_once('-') else { return Vec::new() };
    let written = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("_");
    let is_named = |disk: &Disk| {
        let Some(serial) = disk.serial.as_deref().map(written) else { return false };
        let model = disk.model.as_deref().map(written).unwrap_or_default();
        match bus {
            "virtio" => name == serial,
            "ata" | "nvme" | "mmc" => name == format!("{model}_{serial}"),
            _ => false,
        }
    };
    disks.iter().filter(|disk| is_named(disk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::Unfit;

    fn disk(name: &str, bytes: u64) -> Disk {
        Disk {
            name: name.into(),
            path: format!("/dev/{name}").into(),
            bytes,
            sector_bytes: 512,
            model: Some("Model X".into()),
            serial: Some(format!("S-{name}")),
            wwn: Some(format!("naa.5000{name}")),
            transport: Some("sata"),
            unfit: None,
        }
    }

    fn pick(disks: &[Disk], selector: &str) -> Result<String, (Class, String)> {
        let links = |link: &str| (link == "by-path/pci-1").then(|| "sdb".to_owned());
        choose(disks, &selector.parse().unwrap(), &links)
            .map(|disk| disk.name.clone())
            .map_err(|failure| (failure.class, failure.message))
    }

    #[test]
    fn every_way_leads_to_the_one_disk() {
        let disks = [disk("sda", 120_034_123_776), disk("sdb", 500_107_862_016)];
        let ways = [
            "sdb",
            "/dev/sdb",
            "serial:s-SDB",
            "wwn:0x5000sdb",
            "wwn:naa.5000sdb",
            "size:500G",
            "size:largest",
            "/dev/disk/by-id/wwn-0x5000sdb",
            "/dev/disk/by-id/ata-Model_X_S-sdb",
            "/dev/disk/by-path/pci-1",
        ];
        for way in ways {
            assert_eq!(pick(&disks, way), Ok("sdb".into()), "{way}");
        }
        assert_eq!(pick(&disks, "size:smallest"), Ok("sda".into()));
        assert_eq!(pick(&disks[..1], "auto"), Ok("sda".into()));
    }

    #[test]
    fn doubt_is_a_refusal_that_lists_all() {
        let mut disks = vec![disk("sda", 500_107_862_016), disk("sdb", 500_107_862_016)];
        for way in ["auto", "size:500G", "size:largest", "size:smallest"] {
            let (class, message) = pick(&disks, way).unwrap_err();
            assert_eq!(class, Class::AmbiguousDisk, "{way}");
            for part in [
                "/dev/sda: 500.1 GB (500107862016 bytes), sata, model Model X, serial S-sda",
                "naa.5000sdb",
            ] {
                assert!(message.contains(part), "{message}");
            }
        }
        disks[1].unfit = Some(Unfit::Removable);
        assert_eq!(pick(&disks, "auto"), Ok("sda".into()));
        let (class, message) = pick(&disks, "sdb").unwrap_err();
        assert_eq!(class, Class::Refused);
        assert!(message.contains("is removable"), "{message}");
        let (class, message) = pick(&disks, "sda1").unwrap_err();
        assert!(class == Class::NoDisk && message.contains("partition"), "{message}");
        assert_eq!(pick(&disks, "serial:x").unwrap_err().0, Class::NoDisk);
        assert_eq!(pick(&disks, "/dev/disk/by-id/ata-x").unwrap_err().0, Class::NoDisk);
        assert!(pick(&[], "auto").unwrap_err().1.contains("driver"));
    }
}
