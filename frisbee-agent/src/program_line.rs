//! Lines that programs print: JSON objects about their work, or words for people.
//!
//! What it owns: which fields are read, and limits. What it never does: read.

use serde_json::Value;

/// A line is at most this long; the end of a longer one is lost. The last object of a save lists what
/// was lost of a failing disk.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum ProgramLine {
    /// How far it is.
    Progress(Progress),
    /// It is done.
    Done(Summary),
    /// Why it failed.
    Failed(ProgramFailure),
    /// Something else a program tells programs: the name of the event, and a sentence.
    Event(String),
    /// Words for people.
    Words(String),
}

/// How far a program is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Of 100.
    pub percent: u32,
    /// Since it began.
    pub seconds: u64,
    /// Chunks that are still to come; mebibytes to be read, for a save.
    pub chunks_left: u64,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Bytes written to the disk (load), or of the image (save).
    pub bytes: u64,
    /// How long it took.
    pub seconds: u64,
    /// Ranges of sectors that could not be read, and are zeros in the image.
    pub ranges_lost: usize,
}

/// Why a program failed, in its own words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProgramFailure {
    /// `class`.
    pub class: Option<String>,
    /// `error`.
    pub error: String,
    /// Nothing was written, and trying again will not help.
    pub refused: bool,
}

impl ProgramLine {
    /// Understands a line. What is no object with an `event` is words.
    pub fn parse(line: &str) -> Self {
        let words = || Self::Words(line.to_owned());
        if !line.starts_with('{') {
            return words();
        }
        let Ok(object) = serde_json::from_str::<Value>(line) else { return words() };
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| object.get(key).and_then(whole);
        let seconds = number("seconds").unwrap_or(0);
        match object.get("event").and_then(Value::as_str) {
            None => words(),
            Some("progress") => {
                let mebibytes = || number("bytes_left").map(|bytes| bytes.div_ceil(1 << 20));
                let percent = number("percent").and_then(|percent| u32::try_from(percent).ok());
                Self::Progress(Progress {
                    percent: percent.unwrap_or(0).min(100),
                    seconds,
                    chunks_left: number("chunks_left").or_else(mebibytes).unwrap_or(0),
                })
            }
            Some("done" | "checked") => {
                let bytes = number("bytes_written").or_else(|| number("image_bytes"));
                let lost = object.get("lost_sectors").and_then(Value::as_array).map_or(0, Vec::len);
                Self::Done(Summary { bytes: bytes.unwrap_or(0), seconds, ranges_lost: lost })
            }
            Some("failed") => Self::Failed(ProgramFailure {
                class: text("class"),
                error: text("error").unwrap_or_default(),
                refused: object.get("refused").and_then(Value::as_bool).unwrap_or(false),
            }),
            Some(event) => Self::Event(sentence(event, &object)),
        }
    }
}

/// A number that is not negative, rounded down.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        // Times and percentages only: far below what both types hold.
        let whole = format!("{:.0}", number.floor());
        whole.parse().ok()
    })
}

/// What people should know of an event.
fn sentence(event: &str, object: &Value) -> String {
    let text = |key: &str| match object.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "?".into(),
    };
    match event {
        "found" => format!(
            "{} has {} ({} bytes) on {} port {}, by {}",
            text("server"),
            text("image"),
            text("image_bytes"),
            text("group"),
            text("port"),
            text("method")
        ),
        "joined" => format!("joined {}: {} chunks to load", text("server"), text("chunks")),
        "fallback" => format!(
            "{} for {} s on {}: going on by {} from {}",
            text("reason"),
            object.get("silent_seconds").and_then(whole).unwrap_or(0),
            text("from"),
            text("method"),
            text("to")
        ),
        event => event.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_both_programs_are_understood() {
        let parse = ProgramLine::parse;
        let progress = |percent, seconds, chunks_left| {
            ProgramLine::Progress(Progress { percent, seconds, chunks_left })
        };
        let line = r#"{"event":"progress","percent":30,"seconds":12.9,"chunks_left":70,"bytes_written":1}"#;
        assert_eq!(parse(line), progress(30, 12, 70));
        let line =
            r#"{"event":"progress","percent":10,"seconds":1,"bytes_read":5,"bytes_left":1048577}"#;
        assert_eq!(parse(line), progress(10, 1, 2));
        let line = r#"{"event":"failed","class":"server","error":"no","refused":true}"#;
        let failed =
            ProgramFailure { class: Some("server".into()), error: "no".into(), refused: true };
        assert_eq!(parse(line), ProgramLine::Failed(failed));
        let line = r#"{"event":"done","image_bytes":9,"seconds":3.2,"lost_sectors":[[1,2]]}"#;
        assert_eq!(
            parse(line),
            ProgramLine::Done(Summary { bytes: 9, seconds: 3, ranges_lost: 1 })
        );
        let line =
            r#"{"event":"joined","server":"10.0.0.1:7000","bytes":1,"chunks":9,"seconds":0}"#;
        assert_eq!(
            parse(line),
            ProgramLine::Event("joined 10.0.0.1:7000: 9 chunks to load".into())
        );
    }

    #[test]
    fn nonsense_is_words_and_odd_numbers_are_bounded() {
        for words in ["", "imagezip: warning", "{", "{}", "{\"event\":1}", "[1]"] {
            assert_eq!(ProgramLine::parse(words), ProgramLine::Words(words.into()));
        }
        let line = r#"{"event":"progress","percent":1e300,"seconds":-5,"chunks_left":"x"}"#;
        let none = Progress { percent: 0, seconds: 0, chunks_left: 0 };
        assert_eq!(ProgramLine::parse(line), ProgramLine::Progress(none));
    }
}
