//! What a control server orders, as text.

use crate::command_line::{flag, seconds};
use crate::failure::Failure;
use crate::orders::{HostImage, Job, Settings, Source, Target, Then, Work, hooks, host, hostname};
use crate::selector::Selector;
use crate::words::{nearest, split};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An order, and what the server calls it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// Repeated in each reply about it.
    pub id: Option<String>,
    /// The order.
    pub command: Command,
}

/// What can be ordered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// LOAD_IMAGE, SAVE_IMAGE.
    Do(Box<Job>),
    /// REBOOT.
    Reboot,
    /// POWEROFF.
    PowerOff,
    /// STATUS.
    Status,
    /// CANCEL.
    Cancel,
    /// PING.
    Ping,
}

/// An order that makes no sense.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejected {
    /// What the server calls it, as far as that can be told.
    pub id: Option<String>,
    /// Why.
    pub failure: Failure,
}

/// The words of orders.
const COMMANDS: [&str; 7] =
    ["LOAD_IMAGE", "SAVE_IMAGE", "REBOOT", "POWEROFF", "STATUS", "CANCEL", "PING"];

/// Arguments with a name.
const KEYS: [&str; 8] = ["id", "hooks", "verify", "then", "hostname", "timeout", "retry", "token"];

/// Words of an order at most.
const WORDS_MAX: usize = 32;

/// An id at most.
const ID_LEN_MAX: usize = 64;

fn is_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    !text.is_empty() && text.len() <= ID_LEN_MAX && text.chars().all(is_plain)
}

impl Request {
    /// Understands a line. What it does not say is as in `usual`.
    ///
    /// # Errors
    /// When it makes no sense; the failure's class is `order`.
    pub fn parse(line: &str, usual: &Settings) -> Result<Self, Rejected> {
        let words = split(line);
        let mut named = words.iter().skip(1).filter_map(|word| word.strip_prefix("id="));
        let id = named.next_back().filter(|id| is_id(id)).map(str::to_owned);
        let command = command(&words, id.as_deref(), usual);
        match command {
            Ok(command) => Ok(Self { id, command }),
            Err(error) => Err(Rejected { id, failure: Failure::order(error) }),
        }
    }
}

fn command(words: &[String], id: Option<&str>, usual: &Settings) -> Result<Command, String> {
    let (name, words) = words.split_first().ok_or("an order is empty")?;
    if words.len() >= WORDS_MAX {
        return Err(format!("an order has {WORDS_MAX} words at most"));
    }
    let (mut places, mut given) = (Vec::new(), Vec::<(&str, &str)>::new());
    for word in words {
        match word.split_once('=') {
            // An image may have a name with = in it.
            Some((key, value)) if !key.contains('/') => {
                if !KEYS.contains(&key) {
                    let hint = nearest(key, KEYS).map(|near| format!("; is {near}= meant?"));
                    return Err(format!("unknown argument {key}={}", hint.unwrap_or_default()));
                }
                if given.iter().any(|(known, _)| *known == key) {
                    return Err(format!("{key}= is given twice"));
                }
                given.push((key, value));
            }
            _ => places.push(word.as_str()),
        }
    }
    if given.iter().any(|(key, _)| *key == "id") && id.is_none() {
        return Err(format!("id= takes 1 to {ID_LEN_MAX} letters, digits and . _ : -"));
    }
    let job = match name.as_str() {
        "LOAD_IMAGE" => load(&places, &given, usual)?,
        "SAVE_IMAGE" => save(&places, &given, usual)?,
        name => {
            let plain = match name {
                "REBOOT" => Command::Reboot,
                "POWEROFF" => Command::PowerOff,
                "STATUS" => Command::Status,
                "CANCEL" => Command::Cancel,
                "PING" => Command::Ping,
                _ => return Err(unknown(name)),
            };
            let more = given.iter().find(|(key, _)| *key != "id").map(|(key, _)| *key);
            return match places.first().copied().or(more) {
                None => Ok(plain),
                Some(word) => Err(format!("{name} takes no {word:?}")),
            };
        }
    };
    Ok(Command::Do(Box::new(Job { id: id.map(str::to_owned), ..job })))
}

fn unknown(name: &str) -> String {
    let near = nearest(&name.to_ascii_uppercase(), COMMANDS);
    match near {
        Some(near) => format!("unknown order {name:?}; is {near} meant?"),
        None => format!("unknown order {name:?}; known are {}", COMMANDS.join(", ")),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("{text:?} is no port")),
    }
}

fn load(places: &[&str], given: &[(&str, &str)], usual: &Settings) -> Result<Job, String> {
    let (from, disk) = match places {
        [group, number, disk] => {
            let address: IpAddr =
                group.parse().map_err(|_| format!("{group:?} is no group's address"))?;
            (Source::Group(SocketAddr::new(address, port(number)?)), disk)
        }
        [image, disk] => (Source::Image(image.parse()?), disk),
        _ => {
            return Err(
                "expected LOAD_IMAGE GROUP PORT DISK or LOAD_IMAGE SERVER/IMAGE DISK".into()
            );
        }
    };
    let more = More::read(given, usual)?;
    let work =
        Work::Load { from, verify: more.settings.verify, hooks: more.settings.hooks.clone() };
    more.job(work, disk)
}

fn save(places: &[&str], given: &[(&str, &str)], usual: &Settings) -> Result<Job, String> {
    let (to, disk) = match places {
        [name, number, disk] => {
            let server = host(&bracketed(name))?;
            (
                Target::Stream(host(&format!("{}:{}", bracketed(server.host()), port(number)?))?),
                disk,
            )
        }
        [image, disk] => (Target::Image(image.parse::<HostImage>()?), disk),
        _ => return Err("expected SAVE_IMAGE HOST PORT DISK or SAVE_IMAGE SERVER/NAME DISK".into()),
    };
    for key in ["hooks", "verify", "hostname"] {
        if given.iter().any(|(known, _)| *known == key) {
            return Err(format!("{key}= is for LOAD_IMAGE"));
        }
    }
    More::read(given, usual)?.job(Work::Save { to }, disk)
}

/// An IPv6 address as a host's name is written.
fn bracketed(host: &str) -> String {
    match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

/// What arguments with names say.
struct More {
    settings: Settings,
    then: Then,
}

impl More {
    fn read(given: &[(&str, &str)], usual: &Settings) -> Result<Self, String> {
        let (mut settings, mut then) = (usual.clone(), Then::Wait);
        for (key, value) in given {
            let wrong = |error: String| format!("{key}=: {error}");
            match *key {
                "hooks" => settings.hooks = hooks(value).map_err(wrong)?,
                "verify" => settings.verify = flag(value).map_err(wrong)?,
                "hostname" => settings.hostname = Some(hostname(value).map_err(wrong)?),
                "token" => settings.token = Some((*value).to_owned()),
                "timeout" => {
                    settings.timeout = seconds(value).map_err(wrong)?.max(Duration::from_secs(1));
                }
                "retry" => {
                    settings.tries = match value.parse() {
                        Ok(tries @ 1..=100) => tries,
                        _ => return Err(format!("{key}=: expected 1 to 100 tries")),
                    };
                }
                "then" => match value.parse::<Then>().map_err(wrong)? {
                    Then::Shell => return Err("then=shell is for the kernel's command line".into()),
                    other => then = other,
                },
                _ => {}
            }
        }
        Ok(Self { settings, then })
    }

    fn job(self, work: Work, disk: &str) -> Result<Job, String> {
        let disk: Selector = disk.parse()?;
        Ok(Job { id: None, work, disk, then: self.then, settings: self.settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(line: &str) -> Job {
        match Request::parse(line, &Settings::default()).unwrap().command {
            Command::Do(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    fn wrong(line: &str) -> String {
        Request::parse(line, &Settings::default()).unwrap_err().failure.message
    }

    #[test]
    fn the_testbeds_orders() {
        let load = job("LOAD_IMAGE 224.0.0.5 7000 /dev/sda");
        assert_eq!((load.id, load.then), (None, Then::Wait));
        assert_eq!(load.disk, Selector::Name("sda".into()));
        let Work::Load { from: Source::Group(group), verify: false, .. } = load.work else {
            panic!()
        };
        assert_eq!(group.to_string(), "224.0.0.5:7000");
        let Work::Save { to: Target::Stream(server) } =
            job("SAVE_IMAGE 10.0.0.1 9000 /dev/sda").work
        else {
            panic!()
        };
        assert_eq!(server.to_string(), "10.0.0.1:9000");
        let Work::Save { to: Target::Stream(server) } = job("SAVE_IMAGE fe80::1 9000 sda").work
        else {
            panic!()
        };
        assert_eq!(server.to_string(), "[fe80::1]:9000");
        let reboot = Request::parse("REBOOT", &Settings::default());
        assert_eq!(reboot, Ok(Request { id: None, command: Command::Reboot }));
    }

    #[test]
    fn more_can_be_said() {
        let load = job(
            "LOAD_IMAGE boss/\"a b=c\" serial:X id=j-1 hooks=grow,hostname hostname=n1 verify=yes then=kexec retry=2 timeout=9",
        );
        assert_eq!((load.id.as_deref(), load.then), (Some("j-1"), Then::Kexec));
        assert_eq!((load.settings.tries, load.settings.timeout.as_secs()), (2, 9));
        let Work::Load { from, verify: true, hooks } = load.work else { panic!() };
        assert_eq!((from.to_string(), hooks.len()), ("boss:64494/a b=c".into(), 2));
        let save = job("SAVE_IMAGE boss/x auto token=t then=poweroff");
        assert_eq!((save.settings.token.as_deref(), save.then), (Some("t"), Then::PowerOff));
    }

    #[test]
    fn nonsense_is_named_and_never_an_option_or_a_path() {
        for line in [
            "LOAD_IMAGE -x 7000 sda",
            "LOAD_IMAGE 224.0.0.5 7000 -f",
            "LOAD_IMAGE 224.0.0.5 0 sda",
            "LOAD_IMAGE 224.0.0.5 7000 /etc/passwd",
            "LOAD_IMAGE 224.0.0.5 7000 /dev/../etc/x",
            "LOAD_IMAGE boss/-x sda",
            "LOAD_IMAGE -boss/x sda",
            "SAVE_IMAGE -h 9000 sda",
            "SAVE_IMAGE h 99999 sda",
            "LOAD_IMAGE boss/x sda hooks=--all",
            "LOAD_IMAGE boss/x sda then=shell",
            "LOAD_IMAGE boss/x sda hostname=$(x)",
            "SAVE_IMAGE boss/x sda hooks=grow",
            "LOAD_IMAGE",
            "STATUS now",
            "PING verify=yes",
            "LOAD_IMAGE boss/x sda retry=0",
            "LOAD_IMAGE a b c d",
        ] {
            assert!(!wrong(line).is_empty(), "{line}");
        }
        assert!(wrong("load_image a b").contains("LOAD_IMAGE meant"));
        assert!(wrong("HALT_AND_CATCH_FIRE").contains("known are"));
        assert!(wrong("LOAD_IMAGE boss/x sda hoks=grow").contains("hooks= meant"));
        assert!(wrong("PING id=1 id=2").contains("twice"));
        assert!(wrong(&format!("PING{}", " x".repeat(40))).contains("at most"));
        let rejected = Request::parse("FLY id=7", &Settings::default()).unwrap_err();
        assert_eq!(rejected.id.as_deref(), Some("7"));
        let rejected = Request::parse("PING id=\"a b\"", &Settings::default()).unwrap_err();
        assert_eq!(rejected.id, None);
    }
}
