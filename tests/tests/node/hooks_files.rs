//! The hook drop-files: archives of every kind, from every place, and what is refused of them.

use super::rooted::{Rooted, can_run};
use super::tar::{Entry, tar};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::thread::JoinHandle;
use tests::tools::{run, text};

/// Runs the hook with an archive, as a file.
fn drop_in(lab: &Rooted, archive: &[u8]) -> Result<super::disks::Ran> {
    let path = lab.path("files.tar");
    fs::write(&path, archive)?;
    lab.hooks("drop-files", &[("FRISBEE_FILES", text(&path))])
}

/// What most of these tests drop.
fn sample() -> Vec<u8> {
    tar(&[
        Entry::folder("./", 0o700).owned(1000, 1000),
        Entry::folder("./etc/", 0o777).owned(1000, 1000),
        Entry::file("./etc/motd", b"welcome\n").mode(0o640).owned(12, 34),
        Entry::file("./usr/bin/tool", b"#!/bin/sh\n").mode(0o4755),
        Entry::folder("./srv/new/", 0o1750).owned(5, 6),
        Entry::file("./srv/new/with space", b"x"),
        Entry::link("./etc/systemd/wants.service", "/usr/lib/x.service"),
        Entry::file("./lib/module", b"through a link\n"),
        Entry::file("./var/run/state", b"through an absolute link\n"),
    ])
}

fn check_sample(lab: &Rooted) -> Result<()> {
    let (mounted, at) = lab.mount()?;
    let about = |name: &str| -> Result<(u32, u32, u32)> {
        let found = fs::symlink_metadata(at.join(name)).with_context(|| name.to_owned())?;
        Ok((found.mode() & 0o7777, found.uid(), found.gid()))
    };
    ensure!(about("etc/motd")? == (0o640, 12, 34));
    ensure!(about("usr/bin/tool")? == (0o4755, 0, 0));
    ensure!(about("srv/new")? == (0o1750, 5, 6));
    // Folders that were there stay as they were.
    ensure!(about("etc")? == (0o755, 0, 0) && about("")? == (0o755, 0, 0));
    ensure!(fs::read(at.join("srv/new/with space"))? == b"x");
    let link = fs::read_link(at.join("etc/systemd/wants.service"))?;
    ensure!(link == Path::new("/usr/lib/x.service"));
    ensure!(fs::read(at.join("usr/lib/module"))? == b"through a link\n");
    ensure!(fs::read(at.join("run/state"))? == b"through an absolute link\n");
    ensure!(fs::read_link(at.join("var/run"))? == Path::new("/run"));
    ensure!(!Path::new("/run/state").exists(), "a link was followed out of the loaded system");
    let left = fs::read_dir(&at)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let left: Vec<_> = left.filter(|name| name.starts_with('.')).collect();
    ensure!(left.is_empty(), "{left:?}");
    mounted.end()
}

#[test]
fn files_are_dropped_with_owners_and_modes() -> Result<()> {
    if !can_run("files_are_dropped_with_owners_and_modes", &["gzip"]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    drop_in(&lab, &sample())?.expect(0)?.saying("hook drop-files: 6 files from /")?;
    check_sample(&lab)?;
    drop_in(&lab, &sample())?.expect(0)?;
    check_sample(&lab)?;
    let lab = Rooted::new(|_| Ok(()))?;
    drop_in(&lab, &gzipped(&sample())?)?.expect(0)?;
    check_sample(&lab)?;
    // What GNU tar and busybox's tar write, with long names.
    let tree = lab.path("source");
    let deep = tree.join("opt").join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep)?;
    fs::write(deep.join("file"), "deep")?;
    for maker in ["/bin/tar".into(), lab.path("bin/tar")] {
        let lab = Rooted::new(|_| Ok(()))?;
        let archive = lab.path("made.tar");
        let made = std::process::Command::new(maker)
            .args(["-c", "-f", text(&archive), "-C", text(&tree), "."])
            .status()?;
        ensure!(made.success());
        lab.hooks("drop-files", &[("FRISBEE_FILES", text(&archive))])?.expect(0)?;
        let name = deep.strip_prefix(&tree)?.join("file");
        ensure!(lab.read(text(&name))?.as_deref() == Some("deep"));
    }
    Ok(())
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[test]
fn links_of_the_loaded_system_are_replaced_not_followed() -> Result<()> {
    if !can_run("links_of_the_loaded_system_are_replaced_not_followed", &[]) {
        return Ok(());
    }
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("victim"), "precious\n")?;
    let lab = Rooted::new(|tree| {
        fs::remove_file(tree.join("etc/hostname"))?;
        symlink(outside.path().join("victim"), tree.join("etc/hostname"))?;
        symlink(outside.path(), tree.join("etc/folder"))?;
        fs::create_dir_all(tree.join(outside.path().strip_prefix("/")?))?;
        Ok(symlink(format!("{}{}", "../".repeat(20), text(outside.path())), tree.join("up"))?)
    })?;
    let archive = tar(&[
        Entry::file("etc/hostname", b"dropped\n"),
        Entry::file("etc/folder/a", b"a"),
        Entry::file("up/b", b"b"),
    ]);
    drop_in(&lab, &archive)?.expect(0)?;
    ensure!(lab.read("etc/hostname")?.as_deref() == Some("dropped\n"));
    // A folder that is a link is where the link leads in the loaded system.
    let inside = text(outside.path().strip_prefix("/")?).to_owned();
    ensure!(lab.read(&format!("{inside}/a"))?.as_deref() == Some("a"));
    ensure!(lab.read(&format!("{inside}/b"))?.as_deref() == Some("b"));
    let names: Vec<_> = fs::read_dir(outside.path())?.collect();
    ensure!(names.len() == 1, "{names:?}");
    ensure!(fs::read_to_string(outside.path().join("victim"))? == "precious\n");
    Ok(())
}

#[test]
fn what_is_wrong_with_an_archive_changes_nothing() -> Result<()> {
    if !can_run("what_is_wrong_with_an_archive_changes_nothing", &[]) {
        return Ok(());
    }
    let outside = tempfile::tempdir()?;
    let victim = text(outside.path()).to_owned();
    let lab = Rooted::new(|_| Ok(()))?;
    let before = lab.tree()?;
    let good = || Entry::file("etc/motd", b"welcome\n");
    let one = |entry: Entry| tar(&[good(), entry]);
    let whole = sample();
    let packed = gzipped(&whole)?;
    let mut flipped = packed.clone();
    let middle = packed.len() / 2;
    flipped[middle] ^= 0x10;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("absolute", one(Entry::file("/etc/x", b"x")), "may lead out"),
        ("up", one(Entry::file("../x", b"x")), "lead"),
        ("up inside", one(Entry::file("etc/../../x", b"x")), "lead"),
        ("up at the end", one(Entry::folder("etc/..", 0o755)), "lead"),
        ("control characters", one(Entry::file("etc/a\x1b[2J", b"x")), "control characters"),
        ("newline", one(Entry::file("etc/a\n../x", b"x")), ""),
        ("link out", one(Entry::link("etc/l", "../../x")), "leads out, to ../../x"),
        ("link out, long", one(Entry::link("l", "a/../../x")), "leads out"),
        ("device", one(Entry::new("etc/null", b'3', "")), "no file, folder or link"),
        ("fifo", one(Entry::new("etc/fifo", b'6', "")), "no file, folder or link"),
        (
            "file for a folder",
            one(Entry::file("usr/lib", b"x")),
            "is a folder in the loaded system",
        ),
        ("folder for a file", one(Entry::folder("etc/hosts", 0o755)), "none in the loaded system"),
        ("through its own link", tar(&[Entry::link("l", &victim), Entry::file("l/x", b"x")]), ""),
        (
            "through its own link, relative",
            tar(&[
                Entry::link("etc/l", &format!("..{victim}")),
                Entry::link("r", "var/run"),
                Entry::file("r/../../x", b"x"),
            ]),
            "lead",
        ),
        ("hard link out", one(Entry::new("etc/h", b'1', "/etc/passwd")), ""),
        ("cut", whole[..whole.len() - 1024].to_vec(), "cut short"),
        ("cut in the middle", whole[..1536].to_vec(), "cut short"),
        ("cut, gzip", packed[..packed.len() - 9].to_vec(), "damaged or cut short"),
        ("damaged, gzip", flipped, ""),
        ("empty", Vec::new(), "cut short"),
        ("a page", b"<html>not found</html>".repeat(100), "not a tar"),
        ("zeros and noise", [vec![7; 4096], vec![0; 2048]].concat(), ""),
    ];
    for (name, archive, words) in cases {
        let ran = drop_in(&lab, &archive)?.expect(1).context(name)?;
        let ran = ran.saying("run-hooks: drop-files failed: ").context(name)?;
        ran.saying(words).context(name)?;
        ensure!(lab.tree()? == before, "{name}: something was changed");
        ensure!(fs::read_dir(outside.path())?.next().is_none(), "{name} led out");
    }
    for (source, words) in [
        ("", "no archive"),
        ("/nowhere/x.tar", "there is no file"),
        ("https://host/x.tar", "expected http://"),
        ("x.tar", "expected http://"),
        ("tftp://host", "expected tftp://HOST"),
        ("tftp:///x", "expected tftp://HOST"),
    ] {
        lab.hooks("drop-files", &[("FRISBEE_FILES", source)])?.expect(1)?.saying(words)?;
    }
    ensure!(lab.tree()? == before, "something was changed");
    Ok(())
}

/// What a tar does with a link of its own that is used as a folder is up to tar; ours must stay
/// inside.
#[test]
fn a_link_of_the_archive_used_as_a_folder_stays_inside() -> Result<()> {
    if !can_run("a_link_of_the_archive_used_as_a_folder_stays_inside", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    // On the loaded system `var/run` leads to /run, which is a folder of this machine too.
    let archive = tar(&[Entry::link("d", "var/run"), Entry::file("d/imagezip-test", b"x")]);
    let ran = drop_in(&lab, &archive)?;
    ensure!(matches!(ran.status, 0 | 1), "{ran:?}");
    ensure!(!Path::new("/run/imagezip-test").exists(), "{ran:?}");
    Ok(())
}

/// A server in a thread.
struct Served<S> {
    url: String,
    thread: JoinHandle<std::io::Result<()>>,
    /// Wakes it, should nobody have come.
    wake: S,
}

impl<S: FnOnce()> Served<S> {
    fn end(self) -> Result<()> {
        (self.wake)();
        self.thread.join().ok().context("the server")?.context("the server")
    }
}

/// Answers one request by HTTP with these bytes and closes.
fn http(answer: Vec<u8>) -> Result<Served<impl FnOnce()>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut request = [0; 4096];
        let mut len = 0;
        while !request[..len].windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut request[len..])? {
                0 => break,
                more => len += more,
            }
        }
        stream.write_all(&answer)
    });
    let wake = move || drop(TcpStream::connect(address));
    Ok(Served { url: format!("http://{address}/files.tar"), thread, wake })
}

#[test]
fn files_come_by_http() -> Result<()> {
    if !can_run("files_come_by_http", &[]) {
        return Ok(());
    }
    let body = sample();
    let answer = |status: &str, length: Option<usize>, body: &[u8]| {
        let length = length.map(|n| format!("Content-Length: {n}\r\n")).unwrap_or_default();
        [format!("HTTP/1.0 {status}\r\n{length}\r\n").as_bytes(), body].concat()
    };
    let ok = "200 OK";
    let half = &body[..body.len() / 2];
    for (name, answer, words) in [
        ("not found", answer("404 Not Found", Some(3), b"no\n"), "cannot be fetched"),
        ("closed early", answer(ok, Some(body.len()), half), "cannot be fetched"),
        ("closed early, no length", answer(ok, None, half), "cut short"),
        ("nothing", answer(ok, Some(0), b""), "cut short"),
    ] {
        let lab = Rooted::new(|_| Ok(()))?;
        let before = lab.tree()?;
        let served = http(answer)?;
        let ran =
            lab.hooks("drop-files", &[("FRISBEE_FILES", &served.url)])?.expect(1).context(name)?;
        ran.saying("run-hooks: drop-files failed: http://")?.saying(words).context(name)?;
        ensure!(lab.tree()? == before, "{name}");
        served.end()?;
    }
    for length in [Some(body.len()), None] {
        let lab = Rooted::new(|_| Ok(()))?;
        let served = http(answer(ok, length, &body))?;
        lab.hooks("drop-files", &[("FRISBEE_FILES", &served.url)])?.expect(0)?;
        check_sample(&lab)?;
        served.end()?;
    }
    Ok(())
}

/// A TFTP server for one file; it breaks off with an error after `blocks` blocks. RFC 1350.
fn tftp(file: Vec<u8>, blocks: usize) -> Result<Served<impl FnOnce()>> {
    let (first, second) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let url = format!("tftp://{}/dir/files.tar", first.local_addr()?);
    for socket in [&first, &second] {
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    }
    let thread = std::thread::spawn(move || {
        let mut request = [0; 600];
        let (len, client) = first.recv_from(&mut request)?;
        assert!(request[..len].starts_with(b"\0\x01dir/files.tar\0octet\0"), "{request:?}");
        // The last block is shorter than 512 bytes, perhaps empty.
        let mut pieces: Vec<&[u8]> = file.chunks(512).collect();
        if file.len().is_multiple_of(512) {
            pieces.push(&[]);
        }
        for (number, piece) in (1u16..).zip(pieces) {
            if usize::from(number) > blocks {
                second.send_to(b"\0\x05\0\0broken\0", client)?;
                return Ok(());
            }
            let data = [&[0, 3], &number.to_be_bytes()[..], piece].concat();
            let mut answer = [0; 600];
            second.send_to(&data, client)?;
            while second.recv(&mut answer)? < 4 || answer[2..4] != number.to_be_bytes() {}
        }
        Ok(())
    });
    Ok(Served { url, thread, wake: || () })
}

#[test]
fn files_come_by_tftp() -> Result<()> {
    if !can_run("files_come_by_tftp", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|_| Ok(()))?;
    let before = lab.tree()?;
    let served = tftp(sample(), 3)?;
    let ran = lab.hooks("drop-files", &[("FRISBEE_FILES", &served.url)])?.expect(1)?;
    ran.saying("run-hooks: drop-files failed: tftp://")?.saying("cannot be fetched")?;
    ensure!(lab.tree()? == before);
    served.end()?;
    let served = tftp(sample(), usize::MAX)?;
    lab.hooks("drop-files", &[("FRISBEE_FILES", &served.url)])?.expect(0)?;
    check_sample(&lab)?;
    served.end()?;
    Ok(())
}

#[test]
fn what_a_power_cut_left_is_cleared_away() -> Result<()> {
    if !can_run("what_a_power_cut_left_is_cleared_away", &[]) {
        return Ok(());
    }
    let lab = Rooted::new(|tree| {
        fs::create_dir_all(tree.join(".frisbee-files.abc/tree/etc"))?;
        Ok(fs::write(tree.join(".frisbee-files.abc/archive"), "x")?)
    })?;
    drop_in(&lab, &sample())?.expect(0)?;
    check_sample(&lab)?;
    run("e2fsck", &["-fn", text(&lab.attached.partition(2))])?;
    Ok(())
}
