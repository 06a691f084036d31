//! GRUB's configuration, as far as distributions write it: which entry is the default, and what it
//! starts.
//!
//! What it owns: words, variables, menus. Conditions are not evaluated: an assignment holds from its
//! line on, as if every branch were taken, which is right for what `grub-mkconfig` writes.

use super::find::{Entry, INITRDS_MAX};
use crate::words::quote;
use std::collections::BTreeMap;

/// Names and values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Variables(BTreeMap<String, String>);

/// Variables at most, and bytes of a value.
const VARIABLES_MAX: usize = 1024;
const VALUE_BYTES_MAX: usize = 16 << 10;

/// Menus in menus at most.
const DEPTH_MAX: usize = 8;

/// Entries of all menus at most.
const ENTRIES_MAX: usize = 4096;

impl Variables {
    /// A variable's value; none: empty.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn set(&mut self, name: &str, value: &str) {
        if value.len() <= VALUE_BYTES_MAX
            && (self.0.len() < VARIABLES_MAX || self.0.contains_key(name))
        {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    /// The text with `$name` and `${name}` replaced.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out += before;
            let (name, more) = variable(after);
            match name {
                Some(name) => out += self.get(name),
                None => out.push('$'),
            }
            rest = more;
            if out.len() > VALUE_BYTES_MAX {
                return out;
            }
        }
        out + rest
    }
}

/// The name behind a `$`, and what follows it.
fn variable(text: &str) -> (Option<&str>, &str) {
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (Some(name), rest);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '?';
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((name, rest)) if !name.is_empty() => (Some(name), rest),
        _ => (None, text),
    }
}

/// What a configuration says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// What is started by default.
    pub entry: Option<Entry>,
    /// Its entries are files of their own (`blscfg`).
    pub uses_entries: bool,
    /// Variables at its end.
    pub variables: Variables,
}

/// An item of a menu.
#[derive(Debug, Default)]
struct Item {
    title: String,
    id: String,
    entry: Entry,
    items: Vec<Self>,
}

/// What a line opens with its last `{`.
#[derive(Debug)]
enum Block {
    Item(Item),
    Other,
}

/// The environment block that GRUB keeps beside its configuration: `name=value` lines.
fn environment(text: &str) -> Variables {
    let mut variables = Variables::default();
    for line in text.lines().take(VARIABLES_MAX) {
        match line.split_once('=') {
            Some((name, value)) if !line.starts_with('#') => variables.set(name, value),
            _ => {}
        }
    }
    variables
}

/// Understands a configuration and the environment beside it.
pub fn parse(text: &str, env: &str) -> Config {
    let mut variables = environment(env);
    let (mut top, mut open) = (Vec::new(), Vec::<Block>::new());
    let (mut uses_entries, mut count) = (false, 0_usize);
    for line in text.lines() {
        let words = words(line, &variables);
        let mut words = words.iter().map(String::as_str).peekable();
        let Some(first) = words.next() else { continue };
        let is_open = line.trim_end().ends_with('{');
        match first {
            "menuentry" | "submenu" if is_open => {
                count = count.saturating_add(1);
                let item = item(words.collect());
                let is_allowed = open.len() < DEPTH_MAX && count <= ENTRIES_MAX;
                open.push(if is_allowed { Block::Item(item) } else { Block::Other });
            }
            "}" => {
                if let Some(Block::Item(item)) = open.pop() {
                    let outer = open.iter_mut().rev().find_map(|block| match block {
                        Block::Item(outer) => Some(&mut outer.items),
                        Block::Other => None,
                    });
                    outer.unwrap_or(&mut top).push(item);
                }
            }
            "blscfg" => uses_entries = true,
            "set" => {
                if let Some((name, value)) = words.next().and_then(|word| word.split_once('=')) {
                    variables.set(name, value);
                }
            }
            _ if is_open => open.push(Block::Other),
            first => {
                if let Some(Block::Item(item)) = open.last_mut() {
                    item.entry.take(first, words.collect());
                }
            }
        }
        if open.len() > ENTRIES_MAX {
            break;
        }
    }
    let entry = default_of(&top, variables.get("default")).cloned();
    Config { entry, uses_entries, variables }
}

/// `'Title' --class x --id name {`; Debian writes `$menuentry_id_option 'name'` for the id.
fn item(words: Vec<&str>) -> Item {
    let id = words
        .iter()
        .skip_while(|word| !matches!(**word, "--id" | "--menuentry_id_option" | ""))
        .nth(1);
    let by_sign = words.iter().find_map(|word| word.strip_prefix("--id="));
    Item {
        title: words.first().map_or_else(String::new, |word| (*word).to_owned()),
        id: by_sign.or(id.copied()).unwrap_or_default().to_owned(),
        ..Item::default()
    }
}

impl Entry {
    fn take(&mut self, command: &str, words: Vec<&str>) {
        match command {
            "linux" | "linux16" | "linuxefi" => {
                let mut words = words.into_iter();
                self.kernel = bare(words.next().unwrap_or_default()).to_owned();
                self.command_line =
                    words.filter(|word| !word.is_empty()).map(quote).collect::<Vec<_>>().join(" ");
            }
            "initrd" | "initrd16" | "initrdefi" => {
                let paths = words.into_iter().filter(|word| !word.is_empty()).take(INITRDS_MAX);
                self.initrds = paths.map(|path| bare(path).to_owned()).collect();
            }
            _ => {}
        }
    }
}

/// A path without the device before it: `($root)/vmlinuz`.
fn bare(path: &str) -> &str {
    match path.strip_prefix('(').and_then(|path| path.split_once(')')) {
        Some((_, path)) => path,
        None => path,
    }
}

/// The item that `default` means: a number, a title or an id; `>` goes into a menu.
fn default_of<'a>(items: &'a [Item], default: &str) -> Option<&'a Entry> {
    let mut found = None;
    let mut level = items;
    for part in default.split('>') {
        let by_number = part.parse::<usize>().ok().and_then(|number| level.get(number));
        let by_name = || {
            level.iter().find(|item| !part.is_empty() && (item.title == part || item.id == part))
        };
        let Some(item) = by_number.or_else(by_name) else { break };
        found = Some(item);
        level = &item.items;
    }
    found.and_then(first_of).or_else(|| items.iter().find_map(first_of))
}

/// The item itself, or the first in its menu.
fn first_of(item: &Item) -> Option<&Entry> {
    match item.entry.kernel.is_empty() {
        true => item.items.iter().find_map(first_of),
        false => Some(&item.entry),
    }
}

/// The words of a line as GRUB's shell makes them: quotes, escapes, variables, comments.
fn words(line: &str, variables: &Variables) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut chars = line.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '#' if word.is_none() => break,
            ' ' | '\t' | ';' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                word.extend(chars.by_ref().take_while(|c| *c != '\''));
            }
            '"' => {
                let mut text = String::new();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    match c {
                        '\\' => text.extend(chars.next()),
                        c => text.push(c),
                    }
                }
                *word.get_or_insert_default() += &variables.expand(&text);
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '$' => {
                let (name, rest) = variable(chars.as_str());
                match name {
                    Some(name) => *word.get_or_insert_default() += variables.get(name),
                    None => word.get_or_insert_default().push('$'),
                }
                chars = rest.chars();
            }
            c => word.get_or_insert_default().push(c),
        }
        if word.as_ref().is_some_and(|word| word.len() > VALUE_BYTES_MAX) {
            break;
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = r#"
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  fi
}
# a comment with menuentry 'x' {
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-1' {
	load_video
	search --no-floppy --fs-uuid --set=root 1
	linux	/boot/vmlinuz-6.1.0-18-amd64 root=UUID=1 ro  quiet console="ttyS0,115200 x"
	initrd	/boot/initrd.img-6.1.0-18-amd64
}
submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced-1' {
	menuentry 'Debian, with Linux 6.1.0-17' --class os $menuentry_id_option 'old-1' {
		linux	($root)/boot/vmlinuz-6.1.0-17-amd64 root=UUID=1 ro
		initrd	/boot/ucode /boot/initrd.img-6.1.0-17-amd64
	}
}
"#;

    fn kernel(env: &str) -> String {
        parse(DEBIAN, env).entry.unwrap().kernel
    }

    #[test]
    fn the_default_of_a_debian() {
        let config = parse(DEBIAN, "# GRUB Environment Block\n####");
        let entry = config.entry.unwrap();
        assert_eq!(entry.kernel, "/boot/vmlinuz-6.1.0-18-amd64");
        assert_eq!(entry.initrds, ["/boot/initrd.img-6.1.0-18-amd64"]);
        assert_eq!(entry.command_line, "root=UUID=1 ro quiet \"console=ttyS0,115200 x\"");
        assert!(!config.uses_entries);
    }

    #[test]
    fn other_defaults_are_found_by_number_title_and_id() {
        let saved = DEBIAN.replace("set default=\"0\"", "set default=\"${saved_entry}\"");
        let kernel = |saved_entry: &str| {
            parse(&saved, &format!("saved_entry={saved_entry}\n")).entry.unwrap().kernel
        };
        let (new, old) = ("/boot/vmlinuz-6.1.0-18-amd64", "/boot/vmlinuz-6.1.0-17-amd64");
        for default in [
            "1>0",
            "gnulinux-advanced-1>old-1",
            "Advanced options>Debian, with Linux 6.1.0-17",
            "1",
        ] {
            assert_eq!(kernel(default), old, "{default}");
        }
        for default in ["", "0", "7", "nothing", "Debian GNU/Linux", "gnulinux-simple-1", "0>5"] {
            assert_eq!(kernel(default), new, "{default}");
        }
        assert_eq!(self::kernel("next_entry=9"), new);
    }

    #[test]
    fn what_is_odd_is_bounded() {
        let deep = "submenu a {\n".repeat(100_000);
        assert!(parse(&deep, "").entry.is_none());
        let grows = "set a=\"$a$a$a$a x\"\n".repeat(100);
        assert!(parse(&grows, "").variables.get("a").len() <= VALUE_BYTES_MAX);
        assert!(parse("}\n}\nlinux x\nmenuentry", "=\n").entry.is_none());
        assert_eq!(Variables::default().expand("a$ ${b}c$d-${"), "a$ c-${");
    }
}
