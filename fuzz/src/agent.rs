//! Targets for what a node reads: the kernel's command line, orders of control servers, lines of
//! programs, and boot loaders' configurations on a disk.

use frisbee_agent::command_line::{parse, remains};
use frisbee_agent::control::lines::{LINE_BYTES_MAX, Lines};
use frisbee_agent::control::{Command, Reply, Request};
use frisbee_agent::kexec::{bls, extlinux, grub};
use frisbee_agent::launch::Programs;
use frisbee_agent::orders::{Job, Settings};
use frisbee_agent::program_line::ProgramLine;
use std::path::Path;

/// The options that the agent itself gives.
const OPTIONS: [&str; 8] =
    ["--json", "--group=", "--port=", "--server=", "--image=", "--timeout=", "--verify", "--"];

/// Nothing of a job may be an option of its program, or a path outside /dev.
fn check(job: &Job) {
    let programs = Programs { folder: None, run_hooks: "run-hooks".into(), interface: None };
    // What the command line's owner adds is his.
    let settings = Settings { options: Vec::new(), ..job.settings.clone() };
    let launch = programs.launch(&job.work, Path::new("/dev/vda"), &settings);
    for word in &launch.arguments {
        let word = word.to_str().expect("all of it is text");
        let is_ours = OPTIONS.iter().any(|option| word.starts_with(option));
        let is_plain = !word.starts_with('-') || word == "-";
        assert!(is_ours || is_plain, "{word} has become an option");
        assert!(!word.contains('\0'));
    }
    assert!(!job.settings.hooks.iter().any(|hook| hook.starts_with('-') || hook.contains('/')));
    let disk = job.disk.to_string();
    assert!(!disk.contains(".."), "{disk}");
}

/// A kernel's command line.
pub(crate) fn kernel_line(data: &[u8]) {
    let line = String::from_utf8_lossy(data);
    match parse(&line) {
        Ok(orders) => orders.job.iter().for_each(check),
        Err(failure) => {
            assert!(!failure.message.is_empty());
            let _ = remains(&line);
        }
    }
}

/// Orders in the good order and the bad one.
pub(crate) fn kernel_lines() -> Vec<Vec<u8>> {
    [
        "quiet frisbee.load=10.0.0.1:64494/lab/a.ndz frisbee.disk=/dev/disk/by-id/ata-x frisbee.then=kexec",
        "frisbee.load=239.1.2.3:7000 frisbee.disk=size:120G frisbee.hooks=grow,machine-id frisbee.verify",
        "frisbee.save=[fe80::1]:7/x frisbee.disk=wwn:0x5 frisbee.retry=3 frisbee.token=\"a b\"",
        "frisbee.control=boss:9 frisbee.reboot-after=0 frisbee.options=-a,-b frisbee.files=http://x/y",
        "frisbee.laod=x",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

/// What a control server sends, in pieces whose length is the first byte.
pub(crate) fn control_lines(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let mut lines = Lines::default();
    for part in bytes.chunks(usize::from(*size).max(1)) {
        for line in lines.push(part).into_iter().flatten() {
            assert!(line.len() <= LINE_BYTES_MAX);
            let reply = match Request::parse(&line, &Settings::default()) {
                Ok(request) => {
                    if let Command::Do(job) = &request.command {
                        check(job);
                        assert_eq!(job.id, request.id);
                    }
                    Reply::Pong(request.id)
                }
                Err(rejected) => {
                    Reply::Failed { failure: rejected.failure, id: rejected.id, again: false }
                }
            };
            let text = reply.line();
            assert!(text.len() <= LINE_BYTES_MAX && text.find('\n') == Some(text.len() - 1));
        }
    }
}

/// One of each order.
pub(crate) fn orders() -> Vec<Vec<u8>> {
    let lines = [
        "LOAD_IMAGE 224.0.0.5 7000 /dev/sda id=1 hooks=grow,hostname verify=yes then=reboot",
        "LOAD_IMAGE boss:64494/\"lab/a b\" serial:X hostname=n1 retry=2",
        "SAVE_IMAGE 10.0.0.1 9000 /dev/sda",
        "SAVE_IMAGE boss/x auto token=t timeout=9",
        "REBOOT\r",
        "STATUS id=a",
        "CANCEL",
    ];
    let all = format!("\u{7}{}\n", lines.join("\n")).into_bytes();
    let each = lines.iter().map(|line| format!("\u{40}{line}\n").into_bytes());
    each.chain([all]).collect()
}

/// A line of a program.
pub(crate) fn program_line(data: &[u8]) {
    if let ProgramLine::Progress(progress) = ProgramLine::parse(&String::from_utf8_lossy(data)) {
        assert!(progress.percent <= 100);
    }
}

/// One of each event.
pub(crate) fn program_lines() -> Vec<Vec<u8>> {
    [
        r#"{"event":"progress","percent":30,"seconds":12.9,"chunks_left":70,"bytes_left":7}"#,
        r#"{"event":"done","bytes_written":9,"seconds":3.2,"lost_sectors":[[1,2]]}"#,
        r#"{"event":"failed","class":"server","error":"no","refused":true}"#,
        r#"{"event":"found","server":"a","image":"b","group":"c","port":1,"method":"d","image_bytes":2}"#,
        r#"{"event":"fallback","reason":"x","silent_seconds":10.5,"from":"a","to":"b","method":"unicast"}"#,
        "imagezip: warning: words",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

/// A boot loader's configuration, as each of those that are known; what follows a line of `####` is
/// the environment beside it.
pub(crate) fn boot_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (config, beside) = text.split_once("####\n").unwrap_or((&text, ""));
    let grub = grub::parse(config, beside);
    let as_entries = bls::in_order(
        vec![("a-1".into(), config.to_owned()), ("a-2".into(), beside.to_owned())],
        beside,
        &grub.variables,
    );
    let by_extlinux = extlinux::parse(config, "boot/");
    for entry in as_entries.into_iter().chain(grub.entry).chain(by_extlinux) {
        assert!(!entry.kernel.is_empty() && entry.initrds.len() <= 16);
    }
}

/// One of each kind.
pub(crate) fn boot_configs() -> Vec<Vec<u8>> {
    [
        "set default=\"${saved_entry}\"\nmenuentry 'Debian' --class x $menuentry_id_option 'a' {\n\
         \tlinux /boot/vmlinuz root=UUID=1 ro \"x y\"\n\tinitrd /boot/a /boot/b\n}\nsubmenu 'More' {\n\
         menuentry \"Old\" --id=b {\nlinux ($root)/old $kernelopts\n}\n}\n####\nsaved_entry=More>b\n",
        "title X\nversion 5.14\nlinux /vmlinuz\ninitrd /a $b\noptions ${kernelopts} ro\n####\ndefault a-*\n",
        "DEFAULT a\nLABEL a\n KERNEL ../vmlinuz\n APPEND initrd=x,y root=/dev/sda1\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
