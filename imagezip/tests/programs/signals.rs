//! ^C: the program ends by the signal, and nothing half-made stays.

use crate::process::{Place, finish, noise};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::process::{Child, Stdio};

const KILLED_BY_INT: i32 = 128 + 2;

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// Waits until a temporary file has appeared.
fn wait_for_partial(place: &Place, child: &mut Child) {
    while !place.names().iter().any(|name| name.contains(".partial")) {
        assert!(child.try_wait().unwrap().is_none(), "it was done before it could be interrupted");
        std::thread::yield_now();
    }
}

#[test]
fn an_interrupted_save_leaves_nothing_behind() {
    let place = Place::new();
    // A hole of a tebibyte, to be saved as data: hours of work, whatever the machine.
    std::fs::File::create(place.path("disk")).unwrap().set_len(1 << 40).unwrap();
    place.write("out.ndz", b"the image of yesterday");
    let names = place.names();
    let words = "-r -3 --threads 1 disk out.ndz";
    let mut child = place.command("imagezip", words).spawn().unwrap();
    wait_for_partial(&place, &mut child);
    interrupt(&child);
    finish(child).expect(KILLED_BY_INT).saying("interrupted").in_one_line();
    assert_eq!(place.names(), names);
    assert_eq!(place.read("out.ndz"), b"the image of yesterday");
}

#[test]
fn an_interrupted_load_leaves_nothing_behind() {
    let place = Place::new();
    place.write("disk", &noise(1, 5 << 20));
    place.imagezip("-r disk image.ndz").expect(0);
    let names = place.names();
    let image = place.read("image.ndz");
    let mut child = place.command("imageunzip", "- new").stdin(Stdio::piped()).spawn().unwrap();
    // The load waits for the rest, which does not come.
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&image[..2 << 20]).unwrap();
    wait_for_partial(&place, &mut child);
    interrupt(&child);
    // The first ^C waits for what is under way; the second does not.
    while child.try_wait().unwrap().is_none() {
        interrupt(&child);
        std::thread::yield_now();
    }
    drop(pipe);
    finish(child).expect(KILLED_BY_INT);
    assert_eq!(place.names(), names);
}
