//! Talking to people and programs that may have stopped listening.
//!
//! `println!` and `eprintln!` panic when a pipe is closed, as in `imagezip -i /dev/sda | head -1`.

use std::error::Error;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Says a line on standard error. Nobody may be listening; work goes on all the same.
pub fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// An error and its causes in one line. A cause that the error has told itself is not repeated.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text += &format!(": {words}");
        }
        next = cause.source();
    }
    text
}

/// Prints text on standard output. A reader who has seen enough is no error.
///
/// # Errors
/// When it cannot be written for another reason, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::chain;
    use thiserror::Error;

    #[derive(Debug, Error)]
    enum Example {
        #[error("no room: {source}")]
        Told { source: std::fmt::Error },
        #[error("no room")]
        Untold { source: std::fmt::Error },
    }

    #[test]
    fn a_cause_is_told_once() {
        let source = std::fmt::Error;
        let told = format!("no room: {source}");
        assert_eq!(chain(&Example::Told { source }), told);
        assert_eq!(chain(&Example::Untold { source }), told);
    }
}
