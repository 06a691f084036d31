//! What a filesystem would start: the configuration of the first boot loader that names a kernel
//! which is there.

use super::{Tree, bls, extlinux, grub};
use crate::words::printable;
use std::path::Path;

/// A kernel, and what it is given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entry {
    /// Its path.
    pub kernel: String,
    /// Paths of the initial RAM filesystems.
    pub initrds: Vec<String>,
    /// Its command line.
    pub command_line: String,
}

/// Initial RAM filesystems of an entry at most.
pub(super) const INITRDS_MAX: usize = 16;

/// Kernels take no longer command line.
const COMMAND_LINE_MAX: usize = 4095;

/// Where configurations are: with `/boot` in this filesystem, or this filesystem being `/boot`.
const GRUB: [&str; 4] = ["boot/grub/", "boot/grub2/", "grub/", "grub2/"];
const ENTRIES: [&str; 2] = ["boot/loader/", "loader/"];
const EXTLINUX: [&str; 4] = ["boot/extlinux/", "extlinux/", "boot/syslinux/", "syslinux/"];
const LINKS: [(&str, &str); 4] = [
    ("vmlinuz", "initrd.img"),
    ("boot/vmlinuz", "boot/initrd.img"),
    ("boot/vmlinuz-linux", "boot/initramfs-linux.img"),
    ("boot/vmlinuz-lts", "boot/initramfs-lts"),
];

/// The entry that the boot loader of this filesystem would start by itself; `device` is where the
/// filesystem is.
pub fn find(tree: &Tree, device: &Path) -> Option<Entry> {
    let by_grub = GRUB.iter().find_map(|folder| {
        let text = tree.text(&format!("{folder}grub.cfg"))?;
        let environment = tree.text(&format!("{folder}grubenv")).unwrap_or_default();
        let config = grub::parse(&text, &environment);
        match config.uses_entries {
            true => entries(tree, &config.variables).or(config.entry),
            false => config.entry,
        }
        .filter(|entry| is_there(tree, entry))
    });
    by_grub
        .or_else(|| entries(tree, &grub::Variables::default()))
        .or_else(|| {
            EXTLINUX.iter().find_map(|folder| {
                let names = ["extlinux.conf", "syslinux.cfg"];
                let text = names.iter().find_map(|name| tree.text(&format!("{folder}{name}")))?;
                extlinux::parse(&text, folder).filter(|entry| is_there(tree, entry))
            })
        })
        .or_else(|| linked(tree, device))
        .map(|entry| Entry { command_line: printable(&entry.command_line), ..entry })
        .filter(|entry| entry.command_line.len() <= COMMAND_LINE_MAX)
}

fn is_there(tree: &Tree, entry: &Entry) -> bool {
    let all = [&entry.kernel].into_iter().chain(&entry.initrds);
    all.into_iter().all(|path| tree.file(path).is_ok())
}

/// Boot loader entries, a file for each.
fn entries(tree: &Tree, variables: &grub::Variables) -> Option<Entry> {
    ENTRIES.iter().find_map(|folder| {
        let names = tree.names(&format!("{folder}entries"));
        let files = names.iter().filter_map(|name| {
            let stem = name.strip_suffix(".conf")?;
            let text = tree.text(&format!("{folder}entries/{name}"))?;
            Some((stem.to_owned(), text))
        });
        let config = tree.text(&format!("{folder}loader.conf")).unwrap_or_default();
        let all = bls::in_order(files.collect(), &config, variables);
        all.into_iter().find(|entry| is_there(tree, entry))
    })
}

/// The links that distributions keep for those who have no boot loader of theirs.
fn linked(tree: &Tree, device: &Path) -> Option<Entry> {
    LINKS.iter().find_map(|(kernel, initrd)| {
        tree.file(kernel).ok()?;
        let initrds = tree.file(initrd).is_ok().then(|| (*initrd).to_owned());
        let command_line = format!("root={} ro", device.display());
        Some(Entry {
            kernel: (*kernel).to_owned(),
            initrds: initrds.into_iter().collect(),
            command_line,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn found(files: &[(&str, &str)], links: &[(&str, &str)]) -> Option<Entry> {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for (name, text) in files {
            std::fs::write(at(name), text).unwrap();
        }
        for (name, target) in links {
            symlink(target, at(name)).unwrap();
        }
        find(&Tree::open(folder.path()).unwrap(), Path::new("/dev/vda1"))
    }

    #[test]
    fn links_are_followed_within_the_filesystem() {
        let entry = found(
            &[("boot/vmlinuz-6.1", "k"), ("boot/initrd.img-6.1", "i")],
            &[("vmlinuz", "/boot/vmlinuz-6.1"), ("initrd.img", "boot/initrd.img-6.1")],
        )
        .unwrap();
        assert_eq!(entry.command_line, "root=/dev/vda1 ro");
        assert_eq!((entry.kernel.as_str(), entry.initrds.len()), ("vmlinuz", 1));
        // A link that would lead to this machine's own file.
        assert_eq!(found(&[], &[("vmlinuz", "/etc/passwd")]), None);
        assert_eq!(found(&[], &[("vmlinuz", "../../../../../../../../etc/passwd")]), None);
    }

    #[test]
    fn the_first_loader_whose_kernel_is_there_is_taken() {
        let grub = "menuentry 'a' {\n linux /gone root=1\n}\n";
        let entry = "linux /k2\noptions root=2\n";
        let syslinux = "default x\nlabel x\n linux ../k3\n append root=3\n";
        let files = [
            ("boot/grub/grub.cfg", grub),
            ("loader/entries/a.conf", entry),
            ("k2", ""),
            ("boot/extlinux/extlinux.conf", syslinux),
            ("boot/k3", ""),
        ];
        assert_eq!(found(&files, &[]).unwrap().command_line, "root=2");
        assert_eq!(found(&files[3..], &[]).unwrap().kernel, "boot/extlinux/../k3");
        assert_eq!(found(&files[..1], &[]), None);
    }

    #[test]
    fn grub_that_leaves_it_to_entries() {
        let grub = "set kernelopts=\"root=UUID=9 ro\"\ninsmod blscfg\nblscfg\n";
        let old = "version 5.9\nlinux /vmlinuz-5.9\noptions $kernelopts old\n";
        let new = "version 5.14\nlinux /vmlinuz-5.14\ninitrd /initrd $tuned_initrd\noptions $kernelopts new $tuned_params\n";
        let files = [
            ("grub2/grub.cfg", grub),
            ("loader/entries/m-5.9.conf", old),
            ("loader/entries/m-5.14.conf", new),
            ("vmlinuz-5.9", ""),
            ("vmlinuz-5.14", ""),
            ("initrd", ""),
        ];
        let entry = found(&files, &[]).unwrap();
        assert_eq!(
            (entry.kernel.as_str(), entry.command_line.as_str()),
            ("/vmlinuz-5.14", "root=UUID=9 ro new")
        );
        assert_eq!(entry.initrds, ["/initrd"]);
        let saved = [
            files.as_slice(),
            &[("grub2/grubenv", "# GRUB\nsaved_entry=m-5.9\nkernelopts=x\n####")],
        ]
        .concat();
        assert!(found(&saved, &[]).unwrap().command_line.ends_with("old"));
    }
}
