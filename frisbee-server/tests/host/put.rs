//! Handing images in, in all ways, and what may go wrong.

use crate::support::{Host, sample};
use nix::sys::signal::Signal;
use rendezvous::ErrorCode;
use rendezvous::client::{self, Limits, Patience};
use rendezvous::frame::Token;
use rendezvous::record::{Methods, PutRequest};
use rendezvous::upload::UploadOptions;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use tests::wait::until;

const PUT: &str = "[[access]]\nallow = ['get', 'put']";

fn put_request(name: &str, bytes: usize) -> PutRequest {
    PutRequest {
        host: None,
        status: false,
        image: name.parse().unwrap(),
        bytes: bytes.try_into().unwrap(),
        modified: 1_000_000_000,
        timeout: 60,
    }
}

/// Sends as a deployed client does.
fn put_deployed(host: &Host, name: &str, announced: usize, bytes: &[u8]) {
    let request = put_request(name, announced);
    let answer =
        client::put(&host.server(), &request, &Patience::NONE, &Limits::default()).unwrap();
    let mut stream = TcpStream::connect(answer.address.unwrap()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn aside(host: &Host) -> usize {
    fs::read_dir(host.image(".aside")).map_or(0, |all| {
        all.filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_none_or(|extension| extension != "txt")
        })
        .count()
    })
}

#[test]
fn an_upload_is_published_with_its_digest_and_may_replace_another() {
    let host = Host::start(20, PUT, &[]);
    for seed in [1, 2] {
        let (_, image) = sample(seed, 5);
        let mut sender = host.upload("saves/n1.ndz", UploadOptions::default());
        assert!(sender.is_verified());
        sender.append(&image).unwrap();
        assert!(fs::read(host.image("saves/n1.ndz")).is_ok_and(|b| b != image) || seed == 1);
        let published = sender.finish().unwrap();
        assert_eq!(published.digest.unwrap().0, *blake3::hash(&image).as_bytes());
        assert!(fs::read(host.image("saves/n1.ndz")).unwrap() == image);
    }
}

#[test]
fn a_damaged_or_cut_image_is_never_published() {
    let host = Host::start(21, PUT, &[]);
    let (_, image) = sample(3, 8);
    let mut damaged = image.clone();
    damaged[(3 << 20) + 5000] ^= 1;
    let mut sender = host.upload("a.ndz", UploadOptions::default());
    let error = sender.append(&damaged).and_then(|()| sender.finish()).unwrap_err();
    assert!(error.to_string().contains("chunk 3"), "{error}");
    let mut sender = host.upload("a.ndz", UploadOptions::default());
    sender.append(&image[..4 << 20]).unwrap();
    assert!(sender.finish().is_err());
    assert!(!host.image("a.ndz").exists());
    assert_eq!(aside(&host), 2);
}

#[test]
fn nobody_may_send_unless_allowed_and_tokens_are_asked_for() {
    let host = Host::start(22, "", &[]);
    let start = |host: &Host, options| {
        rendezvous::upload::Sender::start(&host.server(), &"a".parse().unwrap(), options)
    };
    let error = start(&host, UploadOptions::default()).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NoAccess), "{error}");
    let host = Host::start(22, "[[access]]\nallow = ['put']\ntoken = 'secret'", &[]);
    let with = |token: &str| UploadOptions {
        token: Some(Token(token.into())),
        image: false,
        ..UploadOptions::default()
    };
    assert!(start(&host, with("wrong")).unwrap_err().to_string().contains("token"));
    let mut sender = start(&host, with("secret")).unwrap();
    sender.append(b"any file").unwrap();
    sender.finish().unwrap();
    assert!(!host.log().contains("secret"));
}

#[test]
fn two_writers_of_one_name_do_not_mix_and_limits_hold() {
    let settings = format!("[uploads]\nbytes_max = '3M'\nat_once = 2\n{PUT}");
    let host = Host::start(23, &settings, &[]);
    let file = |bytes| UploadOptions {
        image: false,
        bytes,
        patience: Duration::ZERO,
        ..UploadOptions::default()
    };
    let start = |name: &str, bytes| {
        rendezvous::upload::Sender::start(&host.server(), &name.parse().unwrap(), file(bytes))
    };
    let mut first = start("a", None).unwrap();
    first.append(b"first").unwrap();
    assert_eq!(start("a", None).unwrap_err().code(), Some(ErrorCode::TryAgain));
    let _second = start("b", None).unwrap();
    assert_eq!(start("c", None).unwrap_err().code(), Some(ErrorCode::TryAgain), "two at once");
    first.finish().unwrap();
    assert_eq!(fs::read(host.image("a")).unwrap(), b"first");
    assert_eq!(start("d", Some(4 << 20)).unwrap_err().code(), Some(ErrorCode::TooBig));
    let mut long = start("d", None).unwrap();
    let error = long.append(&vec![1; 4 << 20]).and_then(|()| long.finish()).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::TooBig), "{error}");
    assert!(!host.image("d").exists());
}

#[test]
fn deployed_clients_hand_in_files_and_images() {
    let host = Host::start(24, PUT, &[]);
    let (_, image) = sample(5, 4);
    let file: Vec<u8> = (0..=255).cycle().take(300_007).collect();
    put_deployed(&host, "up.bin", file.len(), &file);
    put_deployed(&host, "up.ndz", 0, &image);
    let bytes = |name: &str| host.get(name, Methods::ANY, true).map(|answer| answer.bytes);
    until("both are there", || {
        bytes("up.bin").is_ok_and(|len| len == 300_007) && bytes("up.ndz").is_ok()
    });
    assert!(fs::read(host.image("up.bin")).unwrap() == file);
    assert!(fs::read(host.image("up.ndz")).unwrap() == image);
    // The signature is the time that the client announced.
    let request = PutRequest { status: true, ..put_request("up.bin", 0) };
    let answer =
        client::put(&host.server(), &request, &Patience::NONE, &Limits::default()).unwrap();
    let signature = answer.existing.unwrap().signature;
    assert_eq!(signature, rendezvous::record::Signature::Modified(1_000_000_000));
    // Too little, and an image that is not whole, are kept aside.
    put_deployed(&host, "short.bin", 1000, b"too little");
    put_deployed(&host, "up.ndz", 0, &image[..image.len() / 2]);
    until("both are aside", || aside(&host) == 2);
    assert!(!host.image("short.bin").exists());
    assert!(fs::read(host.image("up.ndz")).unwrap() == image, "the old one stays");
}

#[test]
fn plain_streams_are_named_checked_and_published() {
    let settings = format!("[uploads]\nstream_listen = '127.0.0.1:0'\n{PUT}");
    let host = Host::start(25, &settings, &[]);
    let (_, image) = sample(6, 4);
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(host.streams()).unwrap();
        // The host may have seen enough.
        let _ = stream.write_all(bytes);
    };
    send(b"GET / HTTP/1.0\r\n\r\n");
    send(&image[..(1 << 20) + 77]);
    send(&image);
    let saves = || fs::read_dir(host.image("saves")).map_or(0, Iterator::count);
    until("the whole one is there", || saves() == 1);
    until("the cut one is aside", || aside(&host) == 1);
    let name = fs::read_dir(host.image("saves")).unwrap().next().unwrap().unwrap();
    assert!(name.file_name().to_str().unwrap().starts_with("127.0.0.1-"), "{name:?}");
    assert!(fs::read(name.path()).unwrap() == image);
}

#[test]
fn a_killed_server_loses_nothing_and_the_sender_goes_on() {
    let (_, old) = sample(7, 3);
    let (_, image) = sample(8, 40);
    let host = Host::start(26, &format!("listen = '127.0.0.1:20529'\n{PUT}"), &[("a.ndz", &old)]);
    let options = UploadOptions { back_off: Duration::from_millis(50), ..UploadOptions::default() };
    let mut sender = host.upload("a.ndz", options);
    let (first, rest) = image.split_at(24 << 20);
    sender.append(first).unwrap();
    let (folder, number) = host.end(Signal::SIGKILL);
    assert!(fs::read(folder.path().join("images/a.ndz")).unwrap() == old);
    let settings = format!("listen = '127.0.0.1:20529'\n{PUT}");
    let host = Host::start_in(folder, number, &settings);
    sender.append(rest).unwrap();
    let published = sender.finish().unwrap();
    assert!(published.resumed >= 1);
    assert!(fs::read(host.image("a.ndz")).unwrap() == image);
}

#[test]
fn a_full_disk_is_told() {
    if !tests::tools::ready("a_full_disk_is_told", &["mkfs.ext4", "mount"], true) {
        return;
    }
    let device = tempfile::NamedTempFile::new().unwrap();
    device.as_file().set_len(12 << 20).unwrap();
    let path = device.path().to_str().unwrap();
    tests::tools::run("mkfs.ext4", &["-q", path]).unwrap();
    let outer = tempfile::tempdir().unwrap();
    let small = tests::mount::Mount::new(device.path(), outer.path(), "").unwrap();
    let folder = tempfile::tempdir_in(small.point()).unwrap();
    fs::create_dir(folder.path().join("images")).unwrap();
    let host = Host::start_in(folder, 27, PUT);
    let options =
        UploadOptions { image: false, patience: Duration::ZERO, ..UploadOptions::default() };
    let mut sender = host.upload("a", options);
    let error = sender.append(&vec![7; 24 << 20]).and_then(|()| sender.finish()).unwrap_err();
    assert!(error.to_string().contains("full") || error.to_string().contains("room"), "{error}");
    assert!(!host.image("a").exists());
}
