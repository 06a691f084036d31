//! An image host as a process of its own, on the loopback interface.

use rendezvous::client::{self, ClientError, Limits, Patience, Server};
use rendezvous::record::{GetAnswer, GetRequest, Methods};
use rendezvous::upload::{Sender, UploadOptions};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tests::samples::Sample;

/// A running host and its folder.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    number: u8,
    child: Child,
    start: serde_json::Value,
}

impl Host {
    /// Starts one. `number` keeps the groups and ports of tests apart; `settings` are further lines of
    /// its configuration, and `files` are in its store.
    pub(crate) fn start(number: u8, settings: &str, files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        fs::create_dir(&images).unwrap();
        for (name, bytes) in files {
            let path = images.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Self::start_in(folder, number, settings)
    }

    /// Starts one with variables in its environment.
    pub(crate) fn start_with(number: u8, settings: &str, variables: &[(String, String)]) -> Self {
        Self::run(tempfile::tempdir().unwrap(), number, settings, variables)
    }

    /// Starts one in a folder that was a host's before.
    pub(crate) fn start_in(folder: TempDir, number: u8, settings: &str) -> Self {
        Self::run(folder, number, settings, &[])
    }

    fn run(folder: TempDir, number: u8, settings: &str, variables: &[(String, String)]) -> Self {
        let config = folder.path().join("config.toml");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (images, state, cache) = (path("images"), path("state.json"), path("cache"));
        let first_port = 20_000 + u16::from(number) * 20;
        let defaults = [
            format!("dir = '{images}'"),
            format!("state = '{state}'"),
            "listen = '127.0.0.1:0'".into(),
            "http = '127.0.0.1:0'".into(),
            "interface = 'lo'".into(),
            format!("groups = '239.192.{number}.1-239.192.{number}.9'"),
            format!("ports = '{first_port}-{}'", first_port + 9),
            "session_bandwidth = '300M'".into(),
        ];
        let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
        let given: Vec<_> = settings.lines().filter_map(key).collect();
        let mut text = String::new();
        for line in defaults.iter().filter(|line| !given.contains(&key(line).unwrap())) {
            text += &format!("{line}\n");
        }
        text += &format!("{settings}\n[store]\ncache_dir = '{cache}'\n");
        fs::write(&config, text).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_frisbee-server"))
            .arg("--json")
            .arg("--config")
            .arg(&config)
            .envs(variables.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let start = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("no start: {}", fs::read_to_string(folder.path().join("log")).unwrap())
        });
        Self { folder, number, child, start }
    }

    fn address(&self, of: &str) -> SocketAddr {
        self.start[of].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn rendezvous(&self) -> SocketAddr {
        self.address("rendezvous")
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.address("http")
    }

    pub(crate) fn streams(&self) -> SocketAddr {
        self.address("streams")
    }

    pub(crate) fn server(&self) -> Server {
        self.rendezvous().to_string().parse().unwrap()
    }

    pub(crate) fn image(&self, name: &str) -> PathBuf {
        self.folder.path().join("images").join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Ends it with a signal; returns its folder.
    pub(crate) fn end(mut self, signal: nix::sys::signal::Signal) -> (TempDir, u8) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
        self.child.wait().unwrap();
        let empty = tempfile::tempdir().unwrap();
        (std::mem::replace(&mut self.folder, empty), self.number)
    }

    /// Asks for an image as any client does.
    pub(crate) fn get(
        &self,
        name: &str,
        methods: Methods,
        status: bool,
    ) -> Result<GetAnswer, ClientError> {
        let request = GetRequest { host: None, methods, status, image: name.parse().unwrap() };
        client::get(&self.server(), &request, &Patience::NONE, &Limits::default())
    }

    /// Begins an upload by frames.
    pub(crate) fn upload(&self, name: &str, options: UploadOptions) -> Sender {
        Sender::start(&self.server(), &name.parse().unwrap(), options).unwrap()
    }

    /// One HTTP request; returns status and body.
    pub(crate) fn http_request(
        &self,
        method: &str,
        path: &str,
        more: &str,
        body: &[u8],
    ) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.http()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n{more}Content-Length: {len}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses need not read the body.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = &answer[end..];
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { unchunk(body) } else { body.to_vec() })
    }

    pub(crate) fn http_json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.http_request("GET", path, "", b"");
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "the host's log:\n{}",
                fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
            );
        }
    }
}

/// The content of a chunked body.
fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let line = std::str::from_utf8(&body[..end]).unwrap();
        let len = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        content.extend_from_slice(&body[end + 2..end + 2 + len]);
        if len == 0 {
            break;
        }
        body = &body[end + 2 + len + 2..];
    }
    content
}

/// A disk with content that does not compress, and an image of it.
pub(crate) fn sample(seed: u64, mebibytes: usize) -> (Vec<u8>, Vec<u8>) {
    let sample = Sample::whole(tests::rng::Rng::new(seed).bytes(mebibytes << 20));
    let image = sample.image(imagezip::ndz::Version::Native, imagezip::ndz::Codec::Zstd, 2);
    (sample.bytes, image)
}

/// Runs a client in this process, as a node does: with an address of its own on loopback.
pub(crate) fn load_alone(
    server: SocketAddr,
    name: &str,
    more: &str,
    target: &Path,
) -> Result<(), String> {
    static NODES: AtomicU16 = AtomicU16::new(0x0101);
    let [high, low] = NODES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    load(server, name, &format!("-i 127.79.{high}.{low} {more}"), target)
}

/// Runs a client in this process.
pub(crate) fn load(
    server: SocketAddr,
    name: &str,
    more: &str,
    target: &Path,
) -> Result<(), String> {
    use clap::Parser;
    let server = server.to_string();
    let words = ["frisbee-client", "--server", &server, "--image", name, "-q"];
    let words = words.into_iter().chain(more.split_whitespace()).chain([target.to_str().unwrap()]);
    let args = frisbee_client::Args::try_parse_from(words).map_err(|error| error.to_string())?;
    let (status, interrupt) =
        (frisbee_client::Status::new(), imagezip::interrupt::Interrupt::never());
    frisbee_client::load(&args, &status, &interrupt).map(drop).map_err(|error| error.to_string())
}
