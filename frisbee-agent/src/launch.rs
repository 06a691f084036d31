//! A job as the command line of a program.
//!
//! What it owns: which program does what, and with which arguments. What came over the network is
//! never an argument by itself: it stands behind `--option=` or `--`. What it never does: run it.

use crate::orders::{HostImage, Settings, Source, Target, Work};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A program, and how it is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What its environment has besides the agent's own.
    pub environment: Vec<(&'static str, String)>,
}

/// Where programs are, and what the node is.
#[derive(Clone, Debug)]
pub struct Programs {
    /// A folder with frisbee-client and imagezip; none: they are found by `PATH`.
    pub folder: Option<PathBuf>,
    /// The program that runs hooks.
    pub run_hooks: PathBuf,
    /// The network interface towards the server, if it is known.
    pub interface: Option<String>,
}

impl Programs {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().map_or_else(|| name.into(), |folder| folder.join(name))
    }

    /// The program for this work with this disk. An image that is saved to a bare stream comes from
    /// its standard output.
    pub fn launch(&self, work: &Work, disk: &Path, settings: &Settings) -> Launch {
        match work {
            Work::Load { from, verify, .. } => self.load(from, *verify, disk, settings),
            Work::Save { to } => self.save(to, disk, settings),
        }
    }

    fn load(&self, from: &Source, verify: bool, disk: &Path, settings: &Settings) -> Launch {
        let mut arguments: Vec<OsString> = vec!["--json".into()];
        match from {
            Source::Group(group) => {
                arguments.push(format!("--group={}", group.ip()).into());
                arguments.push(format!("--port={}", group.port()).into());
                let is_told =
                    |option: &String| option.starts_with("-i") || option.starts_with("--interface");
                if let Some(interface) = &self.interface
                    && !settings.options.iter().any(is_told)
                {
                    arguments.push(format!("--interface={interface}").into());
                }
            }
            Source::Image(HostImage { server, image }) => {
                arguments.push(format!("--server={server}").into());
                arguments.push(format!("--image={image}").into());
            }
        }
        let is_timed =
            |option: &String| option.starts_with("-T") || option.starts_with("--timeout");
        if !settings.options.iter().any(is_timed) {
            arguments.push(format!("--timeout={}", settings.timeout.as_secs()).into());
        }
        if verify && !settings.options.iter().any(|option| option == "--verify") {
            arguments.push("--verify".into());
        }
        arguments.extend(settings.options.iter().map(OsString::from));
        arguments.extend(["--".into(), disk.into()]);
        Launch { program: self.path("frisbee-client"), arguments, environment: Vec::new() }
    }

    fn save(&self, to: &Target, disk: &Path, settings: &Settings) -> Launch {
        let mut arguments: Vec<OsString> = vec!["--json".into()];
        arguments.extend(settings.options.iter().map(OsString::from));
        let output = match to {
            Target::Image(image) => format!("frisbee://{image}"),
            Target::Stream(_) => "-".into(),
        };
        arguments.extend(["--".into(), disk.into(), output.into()]);
        let token = settings.token.iter().map(|token| ("FRISBEE_TOKEN", token.clone()));
        Launch { program: self.path("imagezip"), arguments, environment: token.collect() }
    }

    /// The program that runs hooks on a loaded disk.
    pub fn hooks(&self, disk: &Path, hooks: &[String], settings: &Settings) -> Launch {
        let mut arguments = vec![OsString::from(disk)];
        arguments.extend(hooks.iter().map(OsString::from));
        let hostname = settings.hostname.iter().map(|name| ("FRISBEE_HOSTNAME", name.clone()));
        let files = settings.files.iter().map(|files| ("FRISBEE_FILES", files.clone()));
        let environment = hostname.chain(files).collect();
        Launch { program: self.run_hooks.clone(), arguments, environment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(work: &Work, settings: &Settings) -> String {
        let programs = Programs {
            folder: Some("/usr/bin".into()),
            run_hooks: "/usr/lib/frisbee/run-hooks".into(),
            interface: Some("eth0".into()),
        };
        let launch = programs.launch(work, Path::new("/dev/vda"), settings);
        let words = launch.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        let program = launch.program.display().to_string();
        [program].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn command_lines_are_those_of_the_programs() {
        let settings = Settings::default();
        let load = |from: &str, verify| Work::Load {
            from: from.parse().unwrap(),
            verify,
            hooks: Vec::new(),
        };
        assert_eq!(
            words(&load("239.1.2.3:7000", false), &settings),
            "/usr/bin/frisbee-client --json --group=239.1.2.3 --port=7000 --interface=eth0 \
             --timeout=120 -- /dev/vda"
        );
        let more = Settings {
            options: vec!["-T".into(), "5".into(), "-i".into(), "eth1".into()],
            ..Settings::default()
        };
        assert_eq!(
            words(&load("239.1.2.3:7000", true), &more),
            "/usr/bin/frisbee-client --json --group=239.1.2.3 --port=7000 --verify -T 5 -i eth1 -- /dev/vda"
        );
        assert_eq!(
            words(&load("boss/lab/x", false), &settings),
            "/usr/bin/frisbee-client --json --server=boss:64494 --image=lab/x --timeout=120 -- /dev/vda"
        );
        let save = |to| words(&Work::Save { to }, &settings);
        assert_eq!(
            save(Target::Image("boss:7/x".parse().unwrap())),
            "/usr/bin/imagezip --json -- /dev/vda frisbee://boss:7/x"
        );
        let stream = Target::Stream(crate::orders::host("boss:9000").unwrap());
        assert_eq!(save(stream), "/usr/bin/imagezip --json -- /dev/vda -");
    }
}
