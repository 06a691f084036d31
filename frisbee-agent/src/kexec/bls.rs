//! Boot loader entries: a file for each kernel, `loader/entries/*.conf`.
//! <https://uapi-group.org/specifications/specs/boot_loader_specification/>

use super::find::{Entry, INITRDS_MAX};
use super::grub::Variables;
use std::cmp::Ordering;

/// Entries in the order in which they are to be tried: the saved one, the default, then the newest
/// first. A file is its name without `.conf`, and its text; `config` is `loader.conf`.
pub fn in_order(
    mut files: Vec<(String, String)>,
    config: &str,
    variables: &Variables,
) -> Vec<Entry> {
    let default = lines(config).find(|(key, _)| *key == "default").map_or("", |(_, value)| value);
    let saved = variables.get("saved_entry").to_owned();
    let is_wanted = |name: &str| (name != saved, !matches(name, default));
    files.sort_by(|(a, a_text), (b, b_text)| {
        let wanted = is_wanted(a).cmp(&is_wanted(b));
        let version = |text| value(text, "version").unwrap_or_default().to_owned();
        let newer = || compare(&version(b_text), &version(a_text));
        wanted.then_with(newer).then_with(|| compare(b, a))
    });
    files.iter().filter_map(|(_, text)| entry(text, variables)).collect()
}

/// Keys and values of a file.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        Some((key, value.trim()))
    })
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    lines(text).find(|(known, _)| *known == key).map(|(_, value)| value)
}

/// A name or a pattern with one `*` at its end; `.conf` may follow.
fn matches(name: &str, pattern: &str) -> bool {
    let pattern = pattern.strip_suffix(".conf").unwrap_or(pattern);
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn entry(text: &str, variables: &Variables) -> Option<Entry> {
    let mut entry = Entry::default();
    let mut options = Vec::new();
    for (key, value) in lines(text) {
        let value = variables.expand(value);
        match key {
            "linux" => entry.kernel = value,
            "initrd" => entry.initrds.extend(value.split_whitespace().map(str::to_owned)),
            "options" => options.push(value),
            _ => {}
        }
    }
    entry.initrds.truncate(INITRDS_MAX);
    entry.command_line = options.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    (!entry.kernel.is_empty()).then_some(entry)
}

/// Versions as people count: `5.9` before `5.14`.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (a_part, a_rest) = part(a);
        let (b_part, b_rest) = part(b);
        let both = (a_part.parse::<u64>(), b_part.parse::<u64>());
        let order = match both {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a_part.cmp(b_part),
        };
        if order != Ordering::Equal || (a_rest.is_empty() && b_rest.is_empty()) {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
}

/// The digits at the beginning, or all up to the first digit.
fn part(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(config: &str) -> Vec<String> {
        let file = |name: &str, version: &str| {
            let text = format!(
                "# x\ntitle  T\nversion {version}\nlinux /{name}\noptions a\noptions  b  c\n"
            );
            (name.to_owned(), text)
        };
        let files =
            vec![file("m-5.9", "5.9"), file("m-5.14", "5.14"), file("m-0-rescue", "0-rescue")];
        in_order(files, config, &Variables::default())
            .into_iter()
            .map(|entry| entry.kernel)
            .collect()
    }

    #[test]
    fn the_newest_is_first_unless_another_is_wanted() {
        assert_eq!(kernels(""), ["/m-5.14", "/m-5.9", "/m-0-rescue"]);
        assert_eq!(kernels("timeout 3\ndefault m-5.9.conf\n")[0], "/m-5.9");
        assert_eq!(kernels("default m-0*\n")[0], "/m-0-rescue");
    }

    #[test]
    fn versions_are_counted() {
        assert_eq!(compare("5.9", "5.14"), Ordering::Less);
        assert_eq!(compare("5.9-rc1", "5.9-rc1"), Ordering::Equal);
        assert_eq!(compare("6", "6.1"), Ordering::Less);
        assert_eq!(compare("99999999999999999999999", "1"), Ordering::Greater);
        let entry =
            entry("linux  /k\ninitrd /a /b\ninitrd /c\noptions x  y\n", &Variables::default())
                .unwrap();
        assert_eq!((entry.initrds.len(), entry.command_line.as_str()), (3, "x y"));
        assert_eq!(super::entry("title x", &Variables::default()), None);
    }
}
