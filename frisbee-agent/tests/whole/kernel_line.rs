//! Orders on the kernel's command line; programs are scripts.

use crate::node::{Kit, disk};
use frisbee_agent::agent::Ending;
use frisbee_agent::disks::Unfit;

/// A program that tells of a load as frisbee-client does.
pub(crate) const LOADS: &str = r#"
echo "$@" >>$DIR/called
echo '{"event":"joined","server":"10.0.0.1:7000","bytes":31457280,"chunks":30,"seconds":0.1}'
echo '{"event":"progress","percent":50,"seconds":3.9,"chunks_left":15,"bytes_written":1}'
echo '{"event":"progress","percent":100,"seconds":7.2,"chunks_left":0,"bytes_written":2}'
echo '{"event":"done","target":"x","bytes_written":31457280,"seconds":7.5}'"#;

fn fails(class: &str, status: u8) -> String {
    let refused = status == 3;
    format!(
        "echo x >>$DIR/called\necho 'frisbee-client: words' >&2\n\
         echo '{{\"event\":\"failed\",\"class\":\"{class}\",\"error\":\"why\",\"refused\":{refused}}}'\nexit {status}"
    )
}

fn lines(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

const QUICK: &str = "frisbee.retry-after=0 frisbee.reboot-after=1";

#[test]
fn a_load_says_what_tests_and_people_look_for_and_reboots() {
    let kit = Kit::new().script("frisbee-client", LOADS);
    let path = kit.path("vda").display().to_string();
    let node =
        kit.boot("quiet frisbee.load=239.1.2.3:7000 frisbee.verify frisbee.options=--in-place");
    let ended = node.end();
    assert_eq!(ended.ending, Ending::Nothing);
    let begins = format!("frisbee-agent: load of 239.1.2.3:7000 to {path} begins");
    assert_eq!(ended.lines[0], begins);
    assert_eq!(ended.lines[2], "frisbee-agent: Progress: 50% 000003 000015");
    assert_eq!(ended.lines[3], "frisbee-agent: Progress: 100% 000007 000000");
    let done = &ended.lines[4];
    assert!(done.starts_with(&format!("frisbee-agent: DONE.OK load {path} ")), "{done}");
    assert!(done.contains(", 31457280 bytes written, peak ") && done.contains(" MiB"), "{done}");
    assert_eq!(ended.lines[5..], ["frisbee-agent: rebooting"]);
    ended.finished(&["Reboot"]);
    let called = std::fs::read_to_string(ended.kit.path("called")).unwrap();
    let words = "--json --group=239.1.2.3 --port=7000 --timeout=120 --verify --in-place -- ";
    assert_eq!(called, format!("{words}{path}\n"));
}

#[test]
fn a_save_waits_afterwards() {
    let save = r#"
echo "$FRISBEE_TOKEN $@" >$DIR/called
echo '{"event":"progress","percent":30,"seconds":1,"bytes_read":9,"bytes_left":3145729}'
echo '{"event":"done","image_bytes":1048576,"seconds":2.5,"lost_sectors":[]}'"#;
    let kit = Kit::new().script("imagezip", save);
    let path = kit.path("vda").display().to_string();
    let ended = kit.boot("frisbee.save=boss/lab/x.ndz frisbee.token=word").end();
    assert_eq!(
        ended.lines[0],
        format!("frisbee-agent: save of {path} to boss:64494/lab/x.ndz begins")
    );
    ended
        .said("frisbee-agent: Progress: 30% 000001 000004")
        .said(&format!("frisbee-agent: DONE.OK save {path} "))
        .said("1048576 bytes of image, peak ")
        .said("frisbee-agent: nothing more to do")
        .finished(&[]);
    assert_eq!(ended.ending, Ending::Nothing);
    let called = std::fs::read_to_string(ended.kit.path("called")).unwrap();
    assert_eq!(called, format!("word --json -- {path} frisbee://boss:64494/lab/x.ndz\n"));
}

#[test]
fn what_may_pass_is_tried_again() {
    let script = format!(
        "if [ $(wc -l <$DIR/called || echo 0) -lt 2 ]; then\n{}\nfi\n{LOADS}",
        fails("network", 1)
    );
    let kit = Kit::new().script("frisbee-client", &script);
    std::fs::write(kit.path("called"), "").unwrap();
    let ended = kit.boot(&format!("frisbee.load=boss/x {QUICK}")).end();
    ended
        .said("frisbee-agent: network: why; try 2 of 3 in 0 s")
        .said("begins (try 3 of 3)")
        .said("frisbee-client: words")
        .said("DONE.OK load")
        .finished(&["Reboot"]);
}

#[test]
fn failures_have_classes_and_only_some_are_tried_again() {
    let cases = [
        ("network", 1, 3),
        ("disk", 1, 3),
        ("server", 1, 3),
        ("server", 3, 1),
        ("damaged", 3, 1),
        ("refused", 3, 1),
    ];
    for (class, status, tries) in cases {
        let kit = Kit::new().script("frisbee-client", &fails(class, status));
        let ended = kit.boot(&format!("frisbee.load=boss/x {QUICK}")).end();
        ended
            .said(&format!("frisbee-agent: DONE.ERR {class}: why"))
            .said("frisbee-agent: the machine is rebooted in ")
            .finished(&["Reboot"]);
        assert_eq!(lines(&ended.kit.path("called")), tries, "{class}");
    }
}

#[test]
fn doubtful_disks_are_never_written() {
    let kit = || Kit::new().script("frisbee-client", LOADS);
    let mut two = kit();
    two.disks.push(disk("vdb", &two.path("vdb")));
    let ended = two.boot(&format!("frisbee.load=boss/x {QUICK}")).end();
    ended
        .said("DONE.ERR ambiguous-disk: auto means 2 disks")
        .said("serial S-vdb")
        .finished(&["Reboot"]);
    assert!(!ended.kit.path("called").exists());

    let mut two = kit();
    two.disks.push(disk("vdb", &two.path("vdb")));
    two.boot("frisbee.load=boss/x frisbee.disk=serial:s-vdb").end().said("DONE.OK load");

    let mut stick = kit();
    stick.disks[0].unfit = Some(Unfit::Removable);
    let ended = stick.boot(&format!("frisbee.load=boss/x frisbee.disk=vda {QUICK}")).end();
    ended.said("DONE.ERR refused: ").said("is never taken: it is removable");

    let ended =
        kit().boot(&format!("frisbee.load=boss/x frisbee.disk=sdz frisbee.retry=1 {QUICK}")).end();
    ended
        .said("no disk /dev/sdz yet; waiting up to 0 s")
        .said("DONE.ERR no-disk: there is no disk /dev/sdz");
}

#[test]
fn a_disk_that_appears_late_is_waited_for() {
    let mut kit = Kit::new().script("frisbee-client", LOADS);
    let disks = std::mem::take(&mut kit.disks);
    let mut node = kit.boot(&format!("frisbee.load=boss/x frisbee.retry=50 {QUICK}"));
    node.see("no disk auto yet");
    *node.machine.disks.lock().unwrap() = disks;
    node.end().said("DONE.OK load").finished(&["Reboot"]);
}

#[test]
fn hooks_run_after_a_load_and_their_failure_is_no_reason_to_load_again() {
    let hooks = r#"echo "$FRISBEE_HOSTNAME $FRISBEE_FILES $@" >$DIR/hooked
echo "hook grow: grown by 1 GiB""#;
    let kit = Kit::new().script("frisbee-client", LOADS).script("run-hooks", hooks);
    let path = kit.path("vda").display().to_string();
    let line = "frisbee.load=boss/x frisbee.hooks=grow,hostname frisbee.hostname=n7 frisbee.files=http://boss/f.tar";
    let ended = kit.boot(&format!("{line} frisbee.then=poweroff")).end();
    ended
        .said("frisbee-agent: hooks on ")
        .said("hook grow: grown by 1 GiB")
        .said("DONE.OK load")
        .said("powering off");
    ended.finished(&["PowerOff"]);
    let hooked = std::fs::read_to_string(ended.kit.path("hooked")).unwrap();
    assert_eq!(hooked, format!("n7 http://boss/f.tar {path} grow hostname\n"));

    let fails = "echo 'run-hooks: grow failed: no table' >&2\nexit 1";
    let kit = Kit::new().script("frisbee-client", LOADS).script("run-hooks", fails);
    let ended = kit.boot(&format!("frisbee.load=boss/x frisbee.hooks=grow {QUICK}")).end();
    ended.said("DONE.ERR hook: the disk is loaded, but: run-hooks: grow failed: no table");
    ended.finished(&["Reboot"]);
    assert_eq!(lines(&ended.kit.path("called")), 1);
}

#[test]
fn kexec_starts_the_system_or_a_reboot_does() {
    let line = "frisbee.load=boss/x frisbee.then=kexec";
    let ended = Kit::new().script("frisbee-client", LOADS).boot(line).end();
    ended.said("frisbee-agent: starting the loaded system (kexec)").finished(&["kexec vda"]);
    let mut kit = Kit::new().script("frisbee-client", LOADS);
    kit.kexec_works = false;
    let ended = kit.boot(line).end();
    ended.said("it is started by a reboot instead").said("frisbee-agent: rebooting");
    ended.finished(&["kexec vda", "Reboot"]);
}

#[test]
fn somebody_may_want_a_shell() {
    let kit = Kit::new().script("frisbee-client", LOADS);
    let ended = kit.boot("frisbee.load=boss/x frisbee.then=shell").end();
    assert_eq!(ended.ending, Ending::Shell);
    ended.finished(&[]);
    // After the shell the agent is started again: what was ordered is not done twice.
    let again = ended.kit.boot("frisbee.load=boss/x frisbee.then=shell").end();
    assert_eq!(again.ending, Ending::Nothing);
    again.said("carried out already").said("nothing more to do");
    assert_eq!(lines(&again.kit.path("called")), 1);
}

#[test]
fn orders_that_make_no_sense_are_shown_and_the_machine_starts_again() {
    let ended = Kit::new().boot("frisbee.laod=boss/x frisbee.reboot-after=1").end();
    ended
        .said("frisbee-agent: DONE.ERR order: ")
        .said("is frisbee.load meant?")
        .finished(&["Reboot"]);
    Kit::new()
        .boot("quiet frisbee.reboot-after=1")
        .end()
        .said("DONE.ERR order: the kernel's command line has no orders");
    let mut node = Kit::new().boot("frisbee.reboot-after=0");
    node.see("waiting for somebody to look");
    node.signal();
    let ended = node.end();
    assert_eq!(ended.ending, Ending::Failed);
    ended.finished(&[]);
}

#[test]
fn a_signal_ends_the_program_and_the_agent() {
    let kit = Kit::new().script("frisbee-client", "echo started; exec sleep 1000");
    let mut node = kit.boot("frisbee.load=boss/x");
    node.see("started");
    node.signal();
    let ended = node.end();
    assert_eq!(ended.ending, Ending::Failed);
    ended.said("DONE.ERR interrupted: interrupted by a signal").finished(&[]);
}

#[test]
fn a_save_with_losses_is_not_called_done() {
    let save = r#"echo x >>$DIR/called
echo 'imagezip: LOST: sectors 8-9 could not be read; zeros were saved' >&2
echo '{"event":"done","image_bytes":1048576,"seconds":2.5,"lost_sectors":[[8,2]]}'
exit 4"#;
    let kit = Kit::new().script("imagezip", save);
    let ended = kit.boot(&format!("frisbee.save=boss/x frisbee.options=-X {QUICK}")).end();
    ended.said("DONE.ERR losses: done, but 1 ranges of sectors could not be read: imagezip: LOST");
    assert_eq!(lines(&ended.kit.path("called")), 1);
}
