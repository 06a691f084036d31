//! The program as an operator runs it: exit statuses, signals, output.

use proto::wire::{CONTROL_LEN_MAX, Datagram, Message, decode, encode};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The server's own address; tests in other processes use others.
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 82, 70, 1);

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frisbee-server"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn file(len: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![5; len]).unwrap();
    file
}

/// A server that is ready, and the port it chose.
fn serve(image: &Path, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>, u16) {
    let own = SERVER.to_string();
    let mut arguments = vec!["--json", "-m", "127.82.70.9", "-i", &own, "-p", "22000-22999"];
    arguments.extend(more);
    arguments.push(image.to_str().unwrap());
    let mut child = program(&arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let start: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&start["event"], &start["kind"]), (&"start".into(), &"unicast".into()), "{line}");
    (child, lines, u16::try_from(start["port"].as_u64().unwrap()).unwrap())
}

fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits for the end; the exit status, and the last line of output.
fn end(mut child: Child, mut lines: impl Read) -> (Option<i32>, serde_json::Value) {
    let mut text = String::new();
    lines.read_to_string(&mut text).unwrap();
    let summary = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    (child.wait().unwrap().code(), summary)
}

/// Joins as a client at this address; returns its socket when the server has answered.
fn join(client: Ipv4Addr, port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((client, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    say(&socket, client, port, Message::JoinRequest { client_id: 3 });
    let mut buffer = [0; CONTROL_LEN_MAX];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, SocketAddr::from((SERVER, port)));
    let message = decode(&buffer[..len]).unwrap().message;
    assert!(matches!(message, Message::JoinReply { blocks: 1024 }), "{message:?}");
    socket
}

fn say(socket: &UdpSocket, client: Ipv4Addr, port: u16, message: Message<'_>) {
    let mut buffer = [0; CONTROL_LEN_MAX];
    let len = encode(&Datagram { srcip: client.octets(), message }, &mut buffer).unwrap();
    socket.send_to(&buffer[..len], (SERVER, port)).unwrap();
}

#[test]
fn a_signal_is_a_clean_end_unless_somebody_was_loading() {
    let image = file(1 << 20);
    let (child, lines, _) = serve(image.path(), &[]);
    terminate(&child);
    let (code, summary) = end(child, lines);
    assert_eq!((code, &summary["ended"]), (Some(0), &"interrupted".into()), "{summary}");

    let (child, lines, port) = serve(image.path(), &[]);
    let _client = join(Ipv4Addr::new(127, 82, 70, 2), port);
    terminate(&child);
    let (code, summary) = end(child, lines);
    assert_eq!((code, &summary["loading"]), (Some(1), &1.into()), "{summary}");
}

#[test]
fn the_last_client_ends_a_server_with_a_negative_time_out() {
    let image = file(1 << 20);
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("address");
    let (child, lines, port) = serve(image.path(), &["-T", "-1", "-A", address.to_str().unwrap()]);
    let told = std::fs::read_to_string(&address).unwrap();
    assert_eq!(told, format!("127.82.70.9:{port}\n"));
    let here = Ipv4Addr::new(127, 82, 70, 3);
    let client = join(here, port);
    say(&client, here, port, Message::Leave { client_id: 3, elapsed: 1 });
    let (code, summary) = end(child, lines);
    assert_eq!((code, &summary["ended"]), (Some(0), &"empty".into()), "{summary}");
    assert_eq!(summary["clients"][0]["id"], 3);
}

#[test]
fn refusals_and_mistakes_have_their_own_exit_status() {
    let run = |arguments: &[&str]| {
        let output = program(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let broken = file(5000);
    std::fs::write(broken.path(), b"NDZ2 and no more").unwrap();
    let path = broken.path().to_str().unwrap();
    let (code, said) = run(&[path]);
    assert!(code == Some(3) && said.contains("--force"), "{code:?} {said}");
    let (code, said) = run(&["/nonexistent/image"]);
    assert!(code == Some(1) && said.contains("/nonexistent/image"), "{code:?} {said}");
    let (code, said) = run(&["-W", "much", path]);
    assert!(code == Some(2) && said.contains("950M"), "{code:?} {said}");
    let whole = file(100);
    let (code, said) = run(&["-i", "nonesuch0", whole.path().to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("no interface is called `nonesuch0`"), "{said}");
}
