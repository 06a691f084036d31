//! Lines out of a stream of bytes.
//!
//! What it owns: the limit. A line that is too long is passed over to its end and told once.

use thiserror::Error;

/// Bytes of a line at most, with its end.
pub const LINE_BYTES_MAX: usize = 4096;

/// What is no line.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LineError {
    /// Too long.
    #[error("a line has {LINE_BYTES_MAX} bytes at most")]
    TooLong,
    /// Not text.
    #[error("a line is UTF-8 without control characters")]
    NotText,
}

/// Collects bytes until a line is whole.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    is_passing: bool,
}

impl Lines {
    /// Takes bytes; the lines that end in them, without their ends. Empty ones are left out.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Result<String, LineError>> {
        let mut found = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let is_end = part.ends_with(b"\n");
            if self.line.len().saturating_add(part.len()) > LINE_BYTES_MAX {
                if !self.is_passing {
                    found.push(Err(LineError::TooLong));
                }
                self.is_passing = true;
                self.line.clear();
            }
            if !self.is_passing {
                self.line.extend_from_slice(part);
            }
            if is_end {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.is_passing) {
                    found.extend(text(&line).transpose());
                }
            }
        }
        found
    }
}

fn text(line: &[u8]) -> Result<Option<String>, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::NotText)?.trim();
    match text.contains(|c: char| c.is_control() && c != '\t') {
        true => Err(LineError::NotText),
        false => Ok((!text.is_empty()).then(|| text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_bytes_come() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let longest = "y".repeat(LINE_BYTES_MAX - 1);
        let all = format!("PING\r\n\n  \nSTATUS id=1\n{long}\n{longest}\nA\x07\n\u{e9}\nrest");
        let mut bytes = all.into_bytes();
        bytes.splice(0..0, *b"\xff\n");
        let expected = [
            Err(LineError::NotText),
            Ok("PING".to_owned()),
            Ok("STATUS id=1".into()),
            Err(LineError::TooLong),
            Ok(longest),
            Err(LineError::NotText),
            Ok("\u{e9}".into()),
        ];
        for size in [1, 2, 3, 1000, 100_000] {
            let mut lines = Lines::default();
            let found: Vec<_> = bytes.chunks(size).flat_map(|part| lines.push(part)).collect();
            assert_eq!(found, expected, "{size}");
            assert!(lines.line.capacity() <= 2 * LINE_BYTES_MAX);
        }
    }
}
