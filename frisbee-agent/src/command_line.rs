//! Orders on the kernel's command line.
//!
//! What it owns: the keys that begin with `frisbee.`, and what is said of a wrong one. What it never
//! does: look at other words; they belong to the kernel and to others.

use crate::failure::Failure;
use crate::orders::{
    CONTROL_PORT, HostImage, Job, Orders, REBOOT_AFTER, Settings, Source, Target, Then, Work,
    hooks, host, hostname,
};
use crate::selector::Selector;
use crate::words::{nearest, split};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// All keys, without what they begin with.
pub const KEYS: [&str; 17] = [
    "load",
    "save",
    "disk",
    "then",
    "control",
    "hooks",
    "hostname",
    "files",
    "verify",
    "options",
    "token",
    "timeout",
    "retry",
    "retry-after",
    "reboot-after",
    "syslog",
    "debug",
];

/// What keys begin with.
const PREFIX: &str = "frisbee.";

/// Times are at most this long.
const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Tries at most.
const TRIES_MAX: u32 = 1000;

/// Values by key.
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn read(line: &str) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        for word in split(line) {
            let Some(rest) = word.strip_prefix(PREFIX) else { continue };
            let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
            let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
                return Err(unknown(key));
            };
            let value = value.to_owned();
            if let Some(before) = values.insert(known, value.clone())
                && before != value
            {
                return Err(Failure::order(format!(
                    "{PREFIX}{known} is given twice: as {before:?} and as {value:?}"
                )));
            }
        }
        Ok(Self(values))
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The value of a key, understood.
    fn get<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        let wrong = |error: String| Failure::order(format!("{PREFIX}{key}: {error}"));
        match value.is_empty() {
            true => Err(wrong("needs a value".into())),
            false => parse(value).map(Some).map_err(wrong),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, Failure> {
        match self.0.get(key).map(String::as_str) {
            None => Ok(false),
            Some("") => Ok(true),
            Some(value) => {
                flag(value).map_err(|error| Failure::order(format!("{PREFIX}{key}: {error}")))
            }
        }
    }
}

fn unknown(key: &str) -> Failure {
    let near = nearest(key, KEYS).map_or_else(
        || format!("known are {}", KEYS.map(|key| format!("{PREFIX}{key}")).join(", ")),
        |near| format!("is {PREFIX}{near} meant?"),
    );
    Failure::order(format!("the kernel's command line has an unknown word {PREFIX}{key}; {near}"))
}

/// `yes` or `no`, in some of the ways people write it.
pub(crate) fn flag(value: &str) -> Result<bool, String> {
    match value {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(format!("{value:?}: expected yes or no")),
    }
}

/// A time in seconds.
pub(crate) fn seconds(value: &str) -> Result<Duration, String> {
    match value.parse() {
        Ok(seconds) if seconds <= SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{value:?}: expected seconds, at most {SECONDS_MAX}")),
    }
}

fn parsed<T: FromStr<Err = String>>(value: &str) -> Result<T, String> {
    value.parse()
}

fn files(value: &str) -> Result<String, String> {
    let known = ["http://", "tftp://"].iter().any(|scheme| value.starts_with(scheme));
    match known && !value.contains(|c: char| c.is_control() || c.is_whitespace()) {
        true => Ok(value.to_owned()),
        false => Err(format!("{value:?}: expected http:// or tftp:// and the name of an archive")),
    }
}

/// Understands a kernel's command line.
///
/// # Errors
/// When a key that begins with `frisbee.` is unknown, has a wrong value, or contradicts another.
pub fn parse(line: &str) -> Result<Orders, Failure> {
    let values = Values::read(line)?;
    let settings = settings(&values)?;
    let load = values.get("load", parsed::<Source>)?;
    let save = values.get("save", parsed::<HostImage>)?;
    let disk = values.get("disk", parsed::<Selector>)?;
    let then = values.get("then", parsed::<Then>)?;
    let control = values.get("control", host)?.map(|server| server.or_port(CONTROL_PORT));
    let reboot_after = values.get("reboot-after", seconds)?.unwrap_or(REBOOT_AFTER);
    values.flag("debug")?;
    let (work, usual) = match (load, save) {
        (Some(_), Some(_)) => {
            return Err(Failure::order(
                "frisbee.load and frisbee.save exclude each other: one boot, one job (or use \
                 frisbee.control)",
            ));
        }
        (Some(from), None) => {
            let (verify, hooks) = (settings.verify, settings.hooks.clone());
            (Some(Work::Load { from, verify, hooks }), Then::Reboot)
        }
        (None, Some(image)) => {
            for key in ["verify", "hooks"] {
                if values.has(key) {
                    let text =
                        format!("frisbee.{key} is for loads; frisbee.save has no use for it");
                    return Err(Failure::order(text));
                }
            }
            (Some(Work::Save { to: Target::Image(image) }), Then::Wait)
        }
        (None, None) => (None, Then::Wait),
    };
    if work.is_none() && control.is_none() {
        return Err(Failure::order(
            "the kernel's command line has no orders: expected frisbee.load=, frisbee.save= or \
             frisbee.control=",
        ));
    }
    if work.is_none() {
        for key in ["disk", "then"] {
            if values.has(key) {
                let text = format!("frisbee.{key} needs frisbee.load= or frisbee.save=");
                return Err(Failure::order(text));
            }
        }
    }
    let job = work.map(|work| Job {
        id: None,
        work,
        disk: disk.unwrap_or(Selector::Auto),
        then: then.unwrap_or(usual),
        settings: settings.clone(),
    });
    let reboot_after = (!reboot_after.is_zero()).then_some(reboot_after);
    // What programs are told more is meant for this job; others come with their own words.
    let settings = Settings { options: Vec::new(), ..settings };
    Ok(Orders { job, control, reboot_after, settings })
}

/// What can be understood of a line that [`parse`] refuses: whom to tell, and when to start again.
pub fn remains(line: &str) -> Orders {
    let words = split(line);
    let value = |key: &str| {
        words
            .iter()
            .find_map(|word| word.strip_prefix(PREFIX)?.strip_prefix(key)?.strip_prefix('='))
    };
    let control = value("control").and_then(|text| host(text).ok());
    let reboot_after = value("reboot-after").and_then(|text| seconds(text).ok());
    let reboot_after = reboot_after.unwrap_or(REBOOT_AFTER);
    Orders {
        job: None,
        control: control.map(|server| server.or_port(CONTROL_PORT)),
        reboot_after: (!reboot_after.is_zero()).then_some(reboot_after),
        settings: Settings::default(),
    }
}

fn settings(values: &Values) -> Result<Settings, Failure> {
    let usual = Settings::default();
    let options = |text: &str| Ok(text.split(',').map(str::to_owned).collect());
    let plain = |text: &str| Ok(text.to_owned());
    let tries = |text: &str| match text.parse() {
        Ok(tries @ 1..=TRIES_MAX) => Ok(tries),
        _ => Err(format!("{text:?}: expected a number of tries from 1 to {TRIES_MAX}")),
    };
    let timeout = values.get("timeout", seconds)?.unwrap_or(usual.timeout);
    Ok(Settings {
        options: values.get("options", options)?.unwrap_or_default(),
        hooks: values.get("hooks", hooks)?.unwrap_or_default(),
        verify: values.flag("verify")?,
        hostname: values.get("hostname", hostname)?,
        files: values.get("files", files)?,
        token: values.get("token", plain)?,
        timeout: timeout.max(Duration::from_secs(1)),
        tries: values.get("retry", tries)?.unwrap_or(usual.tries),
        retry_after: values.get("retry-after", seconds)?.unwrap_or(usual.retry_after),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Class;

    fn wrong(line: &str) -> String {
        let failure = parse(line).unwrap_err();
        assert_eq!(failure.class, Class::Order);
        failure.message
    }

    #[test]
    fn a_load_as_operators_write_it() {
        let line = "BOOT_IMAGE=vmlinuz quiet frisbee.load=10.0.0.1/lab/debian.ndz frisbee.disk=sda \
                    frisbee.hooks=grow,machine-id frisbee.verify frisbee.hostname=n1 console=ttyS0 \
                    frisbee.retry=5 frisbee.retry-after=1 frisbee.options=-M,128,--trim frisbee.debug";
        let orders = parse(line).unwrap();
        let job = orders.job.unwrap();
        assert_eq!((job.then, job.disk), (Then::Reboot, Selector::Name("sda".into())));
        let Work::Load { from, verify: true, hooks } = job.work else { panic!() };
        assert_eq!(from.to_string(), "10.0.0.1:64494/lab/debian.ndz");
        assert_eq!(hooks, ["grow", "machine-id"]);
        assert_eq!(job.settings.options, ["-M", "128", "--trim"]);
        assert_eq!((job.settings.tries, job.settings.retry_after.as_secs()), (5, 1));
        assert_eq!(orders.reboot_after, Some(REBOOT_AFTER));
        assert!(orders.control.is_none() && orders.settings.options.is_empty());
    }

    #[test]
    fn what_is_left_out_is_usual() {
        let job = parse("frisbee.save=boss:7/x").unwrap().job.unwrap();
        assert_eq!((job.then, job.disk), (Then::Wait, Selector::Auto));
        let orders =
            parse("frisbee.control=boss frisbee.reboot-after=0 frisbee.hooks=grow").unwrap();
        assert_eq!(orders.control.unwrap().to_string(), "boss:64496");
        assert!(orders.job.is_none() && orders.reboot_after.is_none());
        assert_eq!(orders.settings.hooks, ["grow"]);
        let both = parse("frisbee.control=boss:9 frisbee.load=239.1.2.3:7000").unwrap();
        assert!(both.job.is_some() && both.control.is_some());
        assert!(parse("frisbee.load=h/x frisbee.load=h/x").is_ok());
    }

    #[test]
    fn of_a_wrong_line_remains_whom_to_tell() {
        let orders = remains("frisbee.laod=x frisbee.control=boss frisbee.reboot-after=5");
        assert_eq!(orders.control.unwrap().to_string(), "boss:64496");
        assert_eq!(orders.reboot_after, Some(Duration::from_secs(5)));
        assert_eq!(remains("frisbee.control=-x").control, None);
        assert_eq!(remains("frisbee.reboot-after=x").reboot_after, Some(REBOOT_AFTER));
    }

    #[test]
    fn what_is_wrong_is_named_and_what_would_be_right() {
        assert!(wrong("frisbee.laod=x").contains("frisbee.load meant"));
        assert!(
            wrong("frisbee.load=h/x frisbee.retry_after=3").contains("frisbee.retry-after meant")
        );
        assert!(wrong("frisbee.qqqqqqqqqq=3").contains("frisbee.reboot-after, "));
        assert!(wrong("frisbee.load=h/x frisbee.load=h/y").contains("twice"));
        assert!(wrong("frisbee.load=h/x frisbee.save=h/y").contains("exclude"));
        assert!(wrong("quiet splash").contains("no orders"));
        assert!(wrong("frisbee.load").contains("needs a value"));
        assert!(wrong("frisbee.load=h/x frisbee.then=dance").contains("expected reboot"));
        assert!(wrong("frisbee.load=h/x frisbee.retry=0").contains("1 to 1000"));
        assert!(wrong("frisbee.load=h/x frisbee.verify=perhaps").contains("yes or no"));
        assert!(wrong("frisbee.load=h/x frisbee.timeout=9999999999").contains("seconds"));
        assert!(wrong("frisbee.load=h/x frisbee.files=/etc/passwd").contains("http://"));
        assert!(wrong("frisbee.save=h/x frisbee.hooks=grow").contains("for loads"));
        assert!(wrong("frisbee.control=h frisbee.disk=sda").contains("needs frisbee.load"));
        assert!(wrong("frisbee.load=h/-x").contains("no name of an image"));
    }
}
