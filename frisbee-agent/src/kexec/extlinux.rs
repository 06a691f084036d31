//! `extlinux.conf` and `syslinux.cfg`.

use super::find::{Entry, INITRDS_MAX};

/// The entry that is started by default; `folder` is where the file is, with a slash at its end:
/// paths that do not begin with one are below it.
pub fn parse(text: &str, folder: &str) -> Option<Entry> {
    let mut default = None;
    let mut entries: Vec<(String, Entry)> = Vec::new();
    let below = |path: &str| match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{folder}{path}"),
    };
    for line in text.lines() {
        let line = line.trim();
        let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
        let value = value.trim();
        let key = key.to_ascii_lowercase();
        let entry = entries.last_mut().map(|(_, entry)| entry);
        match (key.as_str(), entry) {
            ("default", _) => default = Some(value.to_owned()),
            ("label", _) => entries.push((value.to_owned(), Entry::default())),
            ("linux" | "kernel", Some(entry)) => entry.kernel = below(value),
            ("append", Some(entry)) => {
                let words = value.split_whitespace();
                let (initrds, words): (Vec<_>, Vec<_>) =
                    words.partition(|word| word.starts_with("initrd="));
                entry.command_line = words.join(" ");
                let paths = initrds.iter().filter_map(|word| word.strip_prefix("initrd="));
                entry.initrds.extend(paths.flat_map(|paths| paths.split(',')).map(below));
                entry.initrds.truncate(INITRDS_MAX);
            }
            ("initrd", Some(entry)) => {
                entry.initrds =
                    value.split(',').take(INITRDS_MAX).map(|path| below(path.trim())).collect();
            }
            _ => {}
        }
    }
    let is_default = |label: &str| default.as_deref() == Some(label);
    let wanted = entries.iter().find(|(label, _)| is_default(label));
    let usable = |(_, entry): &&(String, Entry)| !entry.kernel.is_empty();
    wanted.filter(usable).or_else(|| entries.iter().find(usable)).map(|(_, entry)| entry.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_label_is_taken() {
        let text = "DEFAULT b\nPROMPT 0\nLABEL a\n\tLINUX /a\nLABEL b\n MENU LABEL x\n kernel ../vmlinuz\n \
                    append root=/dev/sda1 initrd=i1,/i2 ro\n# label c\n";
        let entry = parse(text, "boot/extlinux/").unwrap();
        assert_eq!(entry.kernel, "boot/extlinux/../vmlinuz");
        assert_eq!(entry.initrds, ["boot/extlinux/i1", "/i2"]);
        assert_eq!(entry.command_line, "root=/dev/sda1 ro");
        assert_eq!(parse("label a\nlinux /a\n", "").unwrap().kernel, "/a");
        assert_eq!(parse("default vesamenu.c32\nlabel\nlinux /x\n", ""), None);
    }
}
