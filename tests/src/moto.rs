//! A real S3-speaking server (moto, from PyPI) on loopback, shared by the tests of one program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

/// Ends when its standard input does, so that nothing is left of a test that was killed.
const SCRIPT: &str = "\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', '0'])
";

/// The server. It ends with the last handle.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
}

static SHARED: Mutex<Weak<Moto>> = Mutex::new(Weak::new());

impl Moto {
    /// The server, or `None` (said loudly) where moto is not installed.
    ///
    /// # Panics
    /// When it does not start, or is missing in CI.
    pub fn get() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap();
        if let Some(moto) = shared.upgrade() {
            return Some(moto);
        }
        let moto = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&moto);
        Some(moto)
    }

    fn start() -> Option<Self> {
        // Where .ci/need-moto puts it; test programs are in target/debug/deps.
        let program = std::env::current_exe().unwrap();
        let target = program.ancestors().nth(3).unwrap();
        let python = target.join("moto/bin/python");
        if !target.join("moto/installed").exists() {
            let must = std::env::var("CI").is_ok_and(|ci| ci == "true") && crate::tools::is_root();
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
    ///
    /// # Panics
    /// When the server does not answer as it should.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
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
    ///
    /// # Panics
    /// When the server does not answer as it should.
    pub fn bucket(&self, bucket: &str) {
        self.request("PUT", &format!("/{bucket}"), "");
    }

    /// True when parts of an unfinished upload are in the bucket.
    ///
    /// # Panics
    /// When the server does not answer as it should.
    pub fn has_unfinished(&self, bucket: &str) -> bool {
        self.request("GET", &format!("/{bucket}?uploads"), "").contains("<UploadId>")
    }

    /// Requests so far whose line in the log has this in it.
    ///
    /// # Panics
    /// When the server does not answer as it should.
    pub fn requests(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// What a client needs to know to use it, as variables of its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        variables.map(|(name, value)| (name.into(), value.into())).into()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
