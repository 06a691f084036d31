//! Sessions that outlive the program.
//!
//! What it owns: a small JSON file that names each session's image, group and port. A server that
//! is started again opens the same sessions, and clients in mid-load go on where they were. What
//! it never does: hold anything that would be missed; without the file clients ask again.

use crate::host::addresses::Address;
use image_store::ImageName;
use imagezip::output::{Output, OutputError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// One session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SavedSession {
    /// The image's name.
    pub(crate) image: String,
    /// Tells it from another image under that name.
    pub(crate) version: String,
    /// Where it was served.
    pub(crate) group: Ipv4Addr,
    /// ... and the port.
    pub(crate) port: u16,
}

impl SavedSession {
    /// The image, if its name is still one.
    pub(crate) fn name(&self) -> Option<ImageName> {
        ImageName::parse(&self.image).ok()
    }

    /// Where it was served.
    pub(crate) fn address(&self) -> Address {
        Address { group: self.group, port: self.port }
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct Content {
    version: u32,
    sessions: Vec<SavedSession>,
}

/// Version of the file's layout; another one is ignored.
const VERSION: u32 = 1;

/// More sessions than this are no state of ours.
const BYTES_MAX: u64 = 4 << 20;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What was saved; nothing when there is no file. What cannot be understood is told and taken
    /// for nothing: sessions can be made anew.
    pub(crate) fn read(&self) -> Vec<SavedSession> {
        let path = self.path.display();
        let text = match self.read_text() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::warn!("{path}: cannot read the saved sessions: {error}");
                return Vec::new();
            }
        };
        match serde_json::from_str::<Content>(&text) {
            Ok(content) if content.version == VERSION => content.sessions,
            Ok(content) => {
                tracing::warn!("{path}: is of version {}, not {VERSION}; ignored", content.version);
                Vec::new()
            }
            Err(error) => {
                tracing::warn!("{path}: is no state file of ours: {error}; ignored");
                Vec::new()
            }
        }
    }

    fn read_text(&self) -> io::Result<String> {
        if fs::metadata(&self.path)?.len() > BYTES_MAX {
            return Err(io::Error::other("larger than any state file of ours"));
        }
        fs::read_to_string(&self.path)
    }

    /// Replaces what was saved, in one step.
    pub(crate) fn write(&self, sessions: Vec<SavedSession>) -> Result<(), OutputError> {
        let text = serde_json::to_vec_pretty(&Content { version: VERSION, sessions });
        let mut output = Output::open(&self.path)?;
        output.append(&text.unwrap_or_default())?;
        output.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_rubbish_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let file = StateFile::new(path.clone());
        assert!(file.read().is_empty());
        let session = SavedSession {
            image: "a/b.ndz".into(),
            version: "7-5".into(),
            group: Ipv4Addr::new(239, 192, 1, 2),
            port: 7001,
        };
        file.write(vec![session.clone()]).unwrap();
        assert_eq!(file.read(), std::slice::from_ref(&session));
        assert_eq!(session.address().to_string(), "239.192.1.2:7001");
        for rubbish in ["", "{", r#"{"version":9,"sessions":[]}"#] {
            fs::write(&path, rubbish).unwrap();
            assert!(file.read().is_empty());
        }
    }
}
