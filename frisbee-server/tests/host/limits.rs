//! What others may do to a host without harm, and what a new operator does wrong.

use crate::support::{Host, sample};
use rendezvous::record::Methods;
use rendezvous::upload::UploadOptions;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;
use tests::wait::until;

#[test]
fn those_who_say_nothing_or_nonsense_are_shown_out() {
    let settings = "[limits]\nconnections = 40\nconnections_per_address = 30\nrequest_secs = 1";
    let host = Host::start(100, settings, &[("a", b"x")]);
    let connect = || TcpStream::connect(host.rendezvous()).unwrap();
    // As many as may come in from here; none of them says a whole request.
    let mut idle: Vec<_> = (0..30).map(|_| connect()).collect();
    for stream in &mut idle {
        stream.write_all(b"V01\0\0").unwrap();
    }
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0",
        b"F01\0\0\0\0\x01\xff\xff\xff\xff",
        b"V01\0\0\0\0\x02",
    ] {
        let mut stream = connect();
        let _ = stream.write_all(nonsense);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "it was shown out");
    }
    assert!(host.get("a", Methods::ANY, true).is_ok(), "and others are served");
}

#[test]
fn an_upload_that_takes_too_long_is_broken_off() {
    let rules = "[[access]]\nallow = ['get', 'put']\n";
    let host = Host::start(103, &format!("[uploads]\ntotal_secs = 1\n{rules}"), &[]);
    let options = UploadOptions { image: false, ..UploadOptions::default() };
    let mut sender = host.upload("a", options);
    let mut told = String::new();
    until("it is told that it is too slow", || match sender.append(&[7; 5000]) {
        Ok(()) => false,
        Err(error) => {
            told = error.to_string();
            true
        }
    });
    assert!(told.contains("total_secs"), "{told}");
    assert!(!host.image("a").exists());
}

#[test]
fn an_upload_that_stands_still_is_broken_off() {
    let rules = "[[access]]\nallow = ['get', 'put']\n";
    let host = Host::start(101, &format!("[uploads]\nidle_secs = 1\n{rules}"), &[]);
    let (_, image) = sample(1, 3);
    let mut stream = TcpStream::connect(host.rendezvous()).unwrap();
    let upload = rendezvous::frame::Upload {
        name: "a".parse().unwrap(),
        token: None,
        bytes: None,
        image: true,
        resume: None,
    };
    let message = rendezvous::frame::Message::Upload(upload);
    stream.write_all(&message.encode().unwrap()).unwrap();
    stream.write_all(b"F01").unwrap();
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    // The name is free again.
    let mut sender = host.upload("a", UploadOptions::default());
    sender.append(&image).unwrap();
    sender.finish().unwrap();
}

fn server(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_frisbee-server")).args(args).output().unwrap()
}

fn refused(args: &[&str], status: i32) -> String {
    let output = server(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{text}");
    text
}

#[test]
fn mistakes_of_operators_are_explained() {
    assert!(refused(&["--dir", "/nonexistent/images"], 1).contains("/nonexistent/images"));
    assert!(refused(&["--config", "/nonexistent.toml"], 2).contains("cannot read"));
    assert!(refused(&["--dir", "/tmp", "disk.ndz"], 2).contains("cannot be used with"));
    assert!(refused(&["--dir", "/tmp", "--groups", "10.0.0.1"], 2).contains("239.192.1.1"));
    let host = Host::start(102, "", &[]);
    let taken = host.rendezvous().to_string();
    let line = ["--dir", "/tmp", "--http", "off", "--listen", &taken];
    assert!(refused(&line, 1).contains("another frisbee-server"));
}

#[test]
fn a_configuration_is_checked_and_the_example_printed() {
    let output = server(&["--print-config"]);
    assert!(output.status.success());
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let path = folder.path().display().to_string();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace("/srv/images", &path).replace("/var/lib/frisbee", &path);
    std::fs::write(&config, &text).unwrap();
    let config = config.display().to_string();
    let output = server(&["--config", &config, "--check-config"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(&config, text.replace("sessions.json", "none/sessions.json")).unwrap();
    assert!(refused(&["--config", &config, "--check-config"], 2).contains("none"));
    std::fs::write(&config, text.replace("ttl = 5", "ttl = 500")).unwrap();
    let told = refused(&["--config", &config, "--check-config"], 2);
    assert!(told.contains("line") && told.contains("ttl"), "{told}");
}
