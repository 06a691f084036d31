//! A real S3-speaking server on loopback, shared by the tests of this program.

use image_store::{Store, StoreOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

/// Ends when its standard input does, so that nothing is left of a test that was killed.
const SCRIPT: &str = "\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', '0'])
";

/// The server.
pub(crate) struct Moto {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
}

static SHARED: Mutex<Weak<Moto>> = Mutex::new(Weak::new());

impl Moto {
    /// The server, or `None` (said loudly) where moto is not installed.
    pub(crate) fn get() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap();
        if let Some(moto) = shared.upgrade() {
            return Some(moto);
        }
        let moto = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&moto);
        Some(moto)
    }

    fn start() -> Option<Self> {
        // Where .ci/need-moto puts it.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let python = target.join("moto/bin/python");
        if !target.join("moto/installed").exists() {
            let must = std::env::var("CI").is_ok_and(|ci| ci == "true")
                && rustix::process::geteuid().is_root();
            assert!(!must, "no moto in {}; run make packages", target.display());
            eprintln!("SKIPPED: no moto in {}; run make packages", target.display());
            return None;
        }
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { panic!("moto does not start: {seen}") };
            if let Some((_, address)) = line.split_once("Running on http://") {
                break address.trim().to_owned();
            }
            seen += &line;
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        Some(Self { child, address, log })
    }

    /// One request; the answer as text.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, \
             SignedHeaders=host, Signature=0\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        answer
    }

    /// Makes a bucket.
    pub(crate) fn bucket(&self, bucket: &str) {
        self.request("PUT", &format!("/{bucket}"), "");
    }

    /// True when parts of an unfinished upload are in the bucket.
    pub(crate) fn has_unfinished(&self, bucket: &str) -> bool {
        self.request("GET", &format!("/{bucket}?uploads"), "").contains("<UploadId>")
    }

    /// Requests so far whose line in the log has this in it.
    pub(crate) fn requests(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Options of a store in this server.
    pub(crate) fn options(&self, cache: &Path) -> StoreOptions {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        StoreOptions {
            cache_dir: Some(PathBuf::from(cache)),
            settings: vec![
                setting("AWS_ENDPOINT", &format!("http://{}", self.address)),
                setting("AWS_REGION", "us-east-1"),
                setting("AWS_ACCESS_KEY_ID", "test"),
                setting("AWS_SECRET_ACCESS_KEY", "test"),
            ],
            ..StoreOptions::default()
        }
    }

    /// A store in this server.
    pub(crate) fn store(&self, location: &str, cache: &Path) -> Store {
        Store::open(location, self.options(cache)).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
