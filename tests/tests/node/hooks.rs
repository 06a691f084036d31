//! run-hooks itself, and the hooks that change files of the loaded system.

use super::rooted::{Rooted, can_run, scripts};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const NAME: (&str, &str) = ("FRISBEE_HOSTNAME", "node17");

#[test]
fn nothing_happens_without_names_or_with_a_wrong_one() -> Result<()> {
    if !can_run("nothing_happens_without_names_or_with_a_wrong_one", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    let before = fs::read(lab.path("disk.raw"))?;
    let quiet = lab.hooks("", &[])?.expect(0)?;
    ensure!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{quiet:?}");
    lab.hooks("machine-id nonsense", &[])?.expect(2)?.saying("no hook 'nonsense'")?;
    lab.hooks("../hostname", &[])?.expect(2)?.saying("is not the name of a hook")?;
    lab.hooks("20-machine-id", &[])?.expect(2)?;
    ensure!(fs::read(lab.path("disk.raw"))? == before, "something was written");
    let list = {
        let mut command = lab.command("", &[])?;
        let script = command.get_args().next().context("script")?.to_owned();
        command = std::process::Command::new(lab.path("bin/sh"));
        command.arg(script).env_clear().env("PATH", lab.path("bin"));
        let missing = command.output()?;
        ensure!(missing.status.code() == Some(2), "{missing:?}");
        let file = lab.path("disk.raw");
        let output = command.arg(&file).arg("grow").output()?;
        ensure!(output.status.code() == Some(2), "a file is not a block device: {output:?}");
        let script = scripts().join("run-hooks");
        let mut command = std::process::Command::new(lab.path("bin/sh"));
        command.arg(script).arg("--list").env_clear().env("PATH", lab.path("bin"));
        String::from_utf8(command.output()?.stdout)?
    };
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(names == ["grow", "machine-id", "ssh-host-keys", "hostname", "drop-files"], "{list}");
    ensure!(list.lines().all(|line| line.split_whitespace().count() > 4), "{list}");
    Ok(())
}

#[test]
fn hooks_run_in_order_and_the_first_failure_ends_them() -> Result<()> {
    if !can_run("hooks_run_in_order_and_the_first_failure_ends_them", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    let dir = lab.path("hooks");
    fs::create_dir(&dir)?;
    let hook = |name: &str, lines: &str| fs::write(dir.join(name), format!("#!/bin/sh\n{lines}"));
    hook("10-first", "# The first.\necho \"root ${FRISBEE_ROOT:-none}\" $FRISBEE_DISK\n")?;
    hook(
        "20-second",
        "# The second.\n# needs: root\n[ -d \"$FRISBEE_ROOT/etc\" ] && echo 'a \\n b'\n",
    )?;
    hook(
        "30-bad",
        "# Fails.\n# needs: root\necho begun\necho early >&2\necho 'no luck' >&2\nexit 7\n",
    )?;
    hook("40-dumb", "# Says nothing.\nexit 3\n")?;
    hook("50-last", "# The last.\necho last\n")?;
    fs::write(dir.join("README"), "not a hook")?;
    let environment = [("FRISBEE_HOOKS_DIR", dir.to_str().context("path")?)];
    let ran = lab.hooks("last second first second", &environment)?.expect(0)?;
    let disk = lab.attached.disk().display();
    let expected = format!("hook first: root none {disk}\nhook second: a \\n b\nhook last: last\n");
    ensure!(ran.stdout == expected && ran.stderr.is_empty(), "{ran:#?}");
    let ran = lab.hooks("last bad first", &environment)?.expect(1)?;
    ensure!(!ran.stdout.contains("last") && ran.stdout.contains("hook bad: begun"), "{ran:#?}");
    ensure!(ran.stderr == "early\nno luck\nrun-hooks: bad failed: no luck\n", "{ran:#?}");
    let ran = lab.hooks("dumb", &environment)?.expect(1)?;
    ensure!(ran.stderr == "run-hooks: dumb failed: exit status 3\n", "{ran:#?}");
    Ok(())
}

#[test]
fn the_hook_of_the_documentation_works() -> Result<()> {
    if !can_run("the_hook_of_the_documentation_works", &[]) {
        return Ok(());
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/after-load.md");
    let docs = fs::read_to_string(docs)?;
    let lines = docs.lines().skip_while(|line| *line != "    #!/bin/sh");
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let hook: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
    let lab = Rooted::new(|tree| {
        let zones = tree.join("usr/share/zoneinfo/Europe");
        fs::create_dir_all(&zones)?;
        fs::write(zones.join("Berlin"), "TZif")?;
        Ok(symlink("/usr/share/zoneinfo/Etc/UTC", tree.join("etc/localtime"))?)
    })?;
    let dir = lab.path("hooks");
    fs::create_dir(&dir)?;
    fs::write(dir.join("60-time-zone"), hook)?;
    let environment = [("FRISBEE_HOOKS_DIR", dir.to_str().context("path")?)];
    lab.hooks("time-zone", &environment)?.expect(0)?.saying("the time zone is Europe/Berlin")?;
    let link = lab.tree()?.get(Path::new("etc/localtime")).cloned();
    ensure!(link.as_deref() == Some("link to /usr/share/zoneinfo/Europe/Berlin"), "{link:?}");
    Ok(())
}

#[test]
fn a_signal_leaves_nothing_mounted() -> Result<()> {
    if !can_run("a_signal_leaves_nothing_mounted", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    let dir = lab.path("hooks");
    fs::create_dir(&dir)?;
    // The hook asks for the signal itself, so that it comes while the filesystem is mounted.
    fs::write(
        dir.join("10-stop"),
        "#!/bin/sh\n# Stops.\n# needs: root\nkill -TERM \"$PPID\"\nkill -TERM $(cat \"$MAIN\")\n",
    )?;
    let main = lab.path("main");
    let environment = [
        ("FRISBEE_HOOKS_DIR", dir.to_str().context("path")?),
        ("MAIN", main.to_str().context("path")?),
    ];
    let mut command = lab.command("stop", &environment)?;
    // A shell that says its number and becomes run-hooks.
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut outer = std::process::Command::new(lab.path("bin/sh"));
    outer.args(["-c", "echo $$ >\"$MAIN\"; exec sh \"$@\"", "sh"]).args(words).env_clear();
    outer.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command = outer;
    let output = command.output()?;
    ensure!(output.status.code() == Some(143), "{output:?}");
    lab.hooks("hostname", &[NAME])?.expect(0)?; // which looks that nothing is mounted or left
    Ok(())
}

#[test]
fn machine_id_is_emptied_wherever_it_is() -> Result<()> {
    if !can_run("machine_id_is_emptied_wherever_it_is", &[]) {
        return Ok(());
    }
    let dbus = "var/lib/dbus/machine-id";
    // As usual, with a copy of D-Bus.
    let lab = Rooted::new(|tree| Ok(fs::write(tree.join(dbus), "0123\n")?))?;
    lab.hooks("machine-id", &[])?.expect(0)?.saying("/etc/machine-id emptied")?;
    ensure!(lab.read("etc/machine-id")?.as_deref() == Some(""), "{:?}", lab.tree()?);
    ensure!(lab.read(dbus)?.is_none());
    let tree = lab.tree()?;
    lab.hooks("machine-id", &[])?.expect(0)?.saying("empty already")?;
    ensure!(lab.tree()? == tree, "a second time something was changed");
    // D-Bus has a link.
    let lab = Rooted::new(|tree| Ok(symlink("/etc/machine-id", tree.join(dbus))?))?;
    lab.hooks("machine-id", &[])?.expect(0)?;
    ensure!(lab.tree()?.contains_key(Path::new(dbus)));
    // The other way round: D-Bus has the file.
    let lab = Rooted::new(|tree| {
        fs::rename(tree.join("etc/machine-id"), tree.join(dbus))?;
        Ok(symlink("/var/lib/dbus/machine-id", tree.join("etc/machine-id"))?)
    })?;
    lab.hooks("machine-id", &[])?.expect(0)?;
    ensure!(lab.read(dbus)?.as_deref() == Some(""), "{:?}", lab.tree()?);
    // None, which is as good; and a folder, which is not.
    let lab = Rooted::new(|tree| Ok(fs::remove_file(tree.join("etc/machine-id"))?))?;
    lab.hooks("machine-id", &[])?.expect(0)?.saying("there is no /etc/machine-id")?;
    ensure!(lab.read("etc/machine-id")?.is_none());
    let lab = Rooted::new(|tree| {
        fs::remove_file(tree.join("etc/machine-id"))?;
        Ok(fs::create_dir(tree.join("etc/machine-id"))?)
    })?;
    lab.hooks("machine-id", &[])?
        .expect(1)?
        .saying("run-hooks: machine-id failed: /etc/machine-id is not a regular file")?;
    Ok(())
}

#[test]
fn links_never_lead_out_of_the_loaded_system() -> Result<()> {
    if !can_run("links_never_lead_out_of_the_loaded_system", &[]) {
        return Ok(());
    }
    let outside = tempfile::tempdir()?;
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious\n")?;
    let up = format!("{}{}", "../".repeat(30), victim.display());
    let text = victim.display().to_string();
    // What these links mean in the loaded system is below its own root.
    for target in [text.as_str(), up.as_str()] {
        let lab = Rooted::new(|tree| {
            for name in ["hostname", "machine-id", "hosts"] {
                fs::remove_file(tree.join("etc").join(name))?;
                symlink(target, tree.join("etc").join(name))?;
            }
            fs::remove_dir(tree.join("etc/ssh"))?;
            fs::create_dir_all(tree.join(outside.path().strip_prefix("/")?))?;
            Ok(symlink(outside.path(), tree.join("etc/ssh"))?)
        })?;
        fs::write(outside.path().join("ssh_host_rsa_key"), "precious\n")?;
        lab.hooks("hostname", &[NAME])?.expect(0)?;
        let inside = victim.strip_prefix("/")?.display().to_string();
        // Three files are one here: the last hook has the last word.
        ensure!(lab.read(&inside)?.context("inside")?.contains("node17"), "{target}");
        lab.hooks("machine-id ssh-host-keys", &[])?.expect(0)?.saying("no host keys")?;
        ensure!(lab.read(&inside)?.as_deref() == Some(""), "{target}");
        ensure!(fs::read_to_string(&victim)? == "precious\n", "{target} was followed");
        ensure!(outside.path().join("ssh_host_rsa_key").exists(), "{target} was followed");
        ensure!(lab.tree()?.get(Path::new("etc/hostname")) == Some(&format!("link to {target}")));
    }
    let lab = Rooted::new(|tree| {
        fs::remove_file(tree.join("etc/hostname"))?;
        symlink("b", tree.join("etc/a"))?;
        symlink("a", tree.join("etc/b"))?;
        Ok(symlink("a", tree.join("etc/hostname"))?)
    })?;
    lab.hooks("hostname", &[NAME])?.expect(1)?.saying("too many links")?;
    Ok(())
}

#[test]
fn host_keys_go_and_nothing_else() -> Result<()> {
    if !can_run("host_keys_go_and_nothing_else", &[]) {
        return Ok(());
    }
    let unit = "usr/lib/systemd/system/keys.service";
    let lab = Rooted::new(|tree| {
        for name in ["ssh_host_rsa_key", "ssh_host_rsa_key.pub", "ssh_host_ed25519_key"] {
            fs::write(tree.join("etc/ssh").join(name), "key")?;
        }
        symlink("/dev/null", tree.join("etc/ssh/ssh_host_dsa_key"))?;
        fs::write(tree.join("etc/ssh/ssh_host_keys.txt"), "note")?;
        Ok(fs::write(tree.join("etc/ssh/sshd_config"), "Port 22\n")?)
    })?;
    let ran =
        lab.hooks("ssh-host-keys", &[])?.expect(0)?.saying("4 files with host keys removed")?;
    ran.saying("no unit of the loaded system runs ssh-keygen")?;
    let tree = lab.tree()?;
    let left: Vec<_> = tree.keys().filter(|path| path.starts_with("etc/ssh")).collect();
    ensure!(left.len() == 3, "{left:?}"); // the folder and two files
    lab.hooks("ssh-host-keys", &[])?.expect(0)?.saying("there are no host keys")?;
    let lab = Rooted::new(|tree| {
        fs::create_dir_all(tree.join(unit).parent().context("folder")?)?;
        fs::write(tree.join(unit), "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n")?;
        Ok(fs::write(tree.join("etc/ssh/ssh_host_rsa_key"), "key")?)
    })?;
    lab.hooks("ssh-host-keys", &[])?.expect(0)?.saying("makes new ones when it boots")?;
    Ok(())
}

#[test]
fn the_host_name_is_set() -> Result<()> {
    if !can_run("the_host_name_is_set", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|tree| {
        let hosts = tree.join("etc/hosts");
        std::os::unix::fs::chown(&hosts, Some(7), Some(8))?;
        Ok(fs::set_permissions(&hosts, fs::Permissions::from_mode(0o640))?)
    })?;
    lab.hooks("hostname", &[NAME])?.expect(0)?.saying("/etc/hostname is node17 now")?;
    ensure!(lab.read("etc/hostname")?.as_deref() == Some("node17\n"));
    let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\tnode17\n\n::1\tlocalhost\n";
    ensure!(lab.read("etc/hosts")?.as_deref() == Some(hosts), "{:?}", lab.read("etc/hosts")?);
    let (mounted, at) = lab.mount()?;
    let metadata = fs::metadata(at.join("etc/hosts"))?;
    ensure!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777) == (7, 8, 0o640));
    mounted.end()?;
    let tree = lab.tree()?;
    lab.hooks("hostname", &[NAME])?.expect(0)?.saying("already")?;
    ensure!(lab.tree()? == tree, "a second time something was changed");
    lab.hooks("hostname", &[("FRISBEE_HOSTNAME", "n-1.lab.example")])?.expect(0)?;
    ensure!(lab.read("etc/hostname")?.as_deref() == Some("n-1\n"));
    ensure!(lab.read("etc/hosts")?.context("hosts")?.contains("127.0.1.1\tn-1.lab.example n-1\n"));
    for (name, why) in [
        ("", "no host name"),
        ("a..b", "label without characters"),
        (".a", "label without characters"),
        ("a.", "label without characters"),
        ("-a", "hyphen"),
        ("a-", "hyphen"),
        ("a_b", "only letters"),
        ("a b", "only letters"),
        ("a/b", "only letters"),
        ("nöde", "only letters"),
        ("a\nb", "only letters"),
        ("$(reboot)", "only letters"),
        ("10.0.0.1", "like an address"),
        (&"a".repeat(64), "longer than 63"),
        (&"a.".repeat(127), "longer than 253"),
    ] {
        let ran = lab.hooks("hostname", &[("FRISBEE_HOSTNAME", name)])?;
        ran.expect(1)?.saying(why)?.saying("run-hooks: hostname failed: ")?;
    }
    lab.hooks("hostname", &[])?.expect(1)?.saying("no host name")?;
    ensure!(lab.read("etc/hostname")?.as_deref() == Some("n-1\n"));
    Ok(())
}

#[test]
fn hosts_of_every_kind_get_the_line() -> Result<()> {
    if !can_run("hosts_of_every_kind_get_the_line", &[]) {
        return Ok(());
    }
    for (before, after) in [
        (Some("::1 ip6\n127.0.0.1 localhost"), "::1 ip6\n127.0.0.1 localhost\n127.0.1.1\tnode17\n"),
        (Some("10.0.0.1 a\n"), "127.0.1.1\tnode17\n10.0.0.1 a\n"),
        (
            Some("127.0.1.1 a\n# 127.0.1.1 b\n127.0.1.1 c\n127.0.0.1 l\n"),
            "127.0.1.1\tnode17\n# 127.0.1.1 b\n127.0.0.1 l\n",
        ),
        (Some(""), "127.0.0.1\tlocalhost\n127.0.1.1\tnode17\n"),
        (None, "127.0.0.1\tlocalhost\n127.0.1.1\tnode17\n"),
    ] {
        let lab = Rooted::new(|tree| {
            fs::remove_file(tree.join("etc/hostname"))?;
            let hosts = tree.join("etc/hosts");
            match before {
                Some(text) => fs::write(hosts, text).context("hosts"),
                None => fs::remove_file(hosts).context("hosts"),
            }
        })?;
        lab.hooks("hostname", &[NAME])?.expect(0)?;
        let found = lab.read("etc/hosts")?;
        ensure!(found.as_deref() == Some(after), "{before:?}: {found:?}");
        ensure!(lab.read("etc/hostname")?.as_deref() == Some("node17\n"));
    }
    Ok(())
}

#[test]
fn a_full_disk_loses_nothing() -> Result<()> {
    if !can_run("a_full_disk_loses_nothing", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    let (mounted, at) = lab.mount()?;
    let mut full = fs::File::create(at.join("full"))?;
    // What is kept in reserve while writing is late is given back by a flush.
    for _ in 0..5 {
        while full.write_all(&[1; 1024]).is_ok() {}
        full.sync_all()?;
    }
    drop(full);
    mounted.end()?;
    let before = lab.tree()?;
    let archive = lab.path("a.tar");
    fs::write(&archive, vec![0; 1 << 20])?;
    let files = [NAME, ("FRISBEE_FILES", archive.to_str().context("path")?)];
    lab.hooks("hostname", &files)?.expect(1)?.saying("cannot be written")?;
    lab.hooks("drop-files", &files)?.expect(1)?.saying("run-hooks: drop-files failed:")?;
    ensure!(lab.tree()? == before, "something was changed");
    // What takes no room still works.
    lab.hooks("machine-id", &files)?.expect(0)?;
    Ok(())
}
