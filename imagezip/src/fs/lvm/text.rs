//! The text of LVM2 metadata: sections, names with values, lists, comments.
//!
//! What it owns: the syntax, within limits on depth and number of things. What it never does: know
//! what a name means, or take two answers to one question: a name that is there twice is an error.
//!
//! Syntax as `lvm.conf(5)` and the metadata that lvm2 writes show it. Unquoted words, numbers with a
//! fraction, and other forms which only configuration files use are errors here.

use std::collections::BTreeMap;
use thiserror::Error;

/// Sections in sections. lvm2 writes 4: group, `logical_volumes`, volume, segment.
const DEPTH_MAX: usize = 8;

/// Names and list items in one text: a volume group of 100 000 segments.
const ITEMS_MAX: usize = 4 << 20;

/// Names with what stands behind them.
pub(super) type Section = BTreeMap<String, Node>;

/// What stands behind a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Node {
    /// `name { ... }`
    Section(Section),
    /// `name = 7`
    One(Value),
    /// `name = [ 7, "text" ]`
    List(Vec<Value>),
}

/// A number or a string.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Number(i64),
    /// What was in quotes, without them.
    Text(String),
}

/// What is wrong with a text.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{what} in line {line}")]
pub(super) struct SyntaxError {
    what: &'static str,
    line: usize,
}

/// Reads a whole text.
///
/// # Errors
/// When it is not what lvm2 would write, or too deep, or too much.
pub(super) fn parse(text: &[u8]) -> Result<Section, SyntaxError> {
    let mut parser = Parser { text, at: 0, items: 0 };
    let mut open: Vec<(String, Section)> = Vec::new();
    let mut section = Section::new();
    loop {
        parser.skip_blanks();
        let Some(byte) = parser.peek() else { break };
        if byte == b'}' {
            parser.at += 1;
            let (name, outer) = open.pop().ok_or_else(|| parser.error("a brace too many"))?;
            let inner = std::mem::replace(&mut section, outer);
            parser.put(&mut section, name, Node::Section(inner))?;
            continue;
        }
        let name = parser.name()?;
        parser.skip_blanks();
        match parser.peek() {
            Some(b'{') => {
                parser.at += 1;
                if open.len() == DEPTH_MAX {
                    return Err(parser.error("too many sections inside each other"));
                }
                open.push((name, std::mem::take(&mut section)));
            }
            Some(b'=') => {
                parser.at += 1;
                let node = parser.node()?;
                parser.put(&mut section, name, node)?;
            }
            _ => return Err(parser.error("neither '{' nor '=' behind a name")),
        }
    }
    if open.is_empty() { Ok(section) } else { Err(parser.error("a section without an end")) }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    items: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn error(&self, what: &'static str) -> SyntaxError {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        SyntaxError { what, line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    }

    fn count(&mut self) -> Result<(), SyntaxError> {
        self.items += 1;
        if self.items > ITEMS_MAX { Err(self.error("too many names")) } else { Ok(()) }
    }

    fn put(&mut self, to: &mut Section, name: String, node: Node) -> Result<(), SyntaxError> {
        self.count()?;
        match to.insert(name, node) {
            None => Ok(()),
            Some(_) => Err(self.error("a name that is there twice")),
        }
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'#' {
                let rest = self.text.get(self.at..).unwrap_or_default();
                self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            } else if byte.is_ascii_whitespace() {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// The bytes from here on for which `belongs` is true.
    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &[u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        // What a group or volume may be called (lvm(8), "valid names").
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte);
        let name = String::from_utf8_lossy(self.take(is_name)).into_owned();
        if name.is_empty() { Err(self.error("a name was expected")) } else { Ok(name) }
    }

    fn node(&mut self) -> Result<Node, SyntaxError> {
        self.skip_blanks();
        if self.peek() != Some(b'[') {
            return self.value().map(Node::One);
        }
        self.at += 1;
        let mut list = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() == Some(b']') {
                break;
            }
            self.count()?;
            list.push(self.value()?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.error("a list without an end")),
            }
        }
        self.at += 1;
        Ok(Node::List(list))
    }

    fn value(&mut self) -> Result<Value, SyntaxError> {
        if self.peek() == Some(b'"') {
            self.at += 1;
            return self.quoted().map(Value::Text);
        }
        let digits = self.take(|byte| byte == b'-' || byte.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let number = number.ok_or_else(|| self.error("a whole number or quotes expected"))?;
        match self.peek() {
            // A fraction, an exponent, a unit.
            Some(byte) if byte == b'.' || byte.is_ascii_alphanumeric() => {
                Err(self.error("a number that is not whole"))
            }
            _ => Ok(Value::Number(number)),
        }
    }

    /// The rest of a string; a backslash makes the next byte an ordinary one.
    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    bytes.extend(self.peek());
                }
                Some(byte) => bytes.push(byte),
                None => return Err(self.error("a string without an end")),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Node {
        Node::One(Value::Text(text.into()))
    }

    #[test]
    fn everything_lvm2_writes() {
        let read = parse(
            b"vg0 {\nid = \"a-b\"\nseqno = 7\nstatus = [\"READ\", \"WRITE\"]\nflags = []\n\
              lv+1.x_y { stripes = [\n\"pv0\", 0\n] }\n}\n\
              # Generated by { = [ \"\ncreation_host = \"vm\"\t# Linux {\ntext = \"q\\\"\\\\z\"\nn = -5\n",
        )
        .unwrap();
        let Some(Node::Section(group)) = read.get("vg0") else { panic!("{read:?}") };
        assert_eq!(group.get("seqno"), Some(&Node::One(Value::Number(7))));
        assert_eq!(group.get("flags"), Some(&Node::List(vec![])));
        let Some(Node::Section(volume)) = group.get("lv+1.x_y") else { panic!("{group:?}") };
        let stripes = vec![Value::Text("pv0".into()), Value::Number(0)];
        assert_eq!(volume.get("stripes"), Some(&Node::List(stripes)));
        assert_eq!(read.get("creation_host"), Some(&text("vm")));
        assert_eq!(read.get("text"), Some(&text("q\"\\z")));
        assert_eq!(read.get("n"), Some(&Node::One(Value::Number(-5))));
    }

    #[test]
    fn anything_else_is_an_error_with_its_line() {
        for wrong in [
            "a",
            "a {",
            "}",
            "a = ",
            "a = [1",
            "a = [1 2]",
            "a = \"x",
            "a = 1.5",
            "a = 0x10",
            "a = 99999999999999999999",
            "a = 1\na = 2",
            "a { } a = 1",
            "= 1",
            "a = b",
            "a == 1",
            "a = --",
            "a = [[1]]",
            "\"a\" = 1",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(
            parse(b"a = 1\nb = 2\n}").unwrap_err().to_string(),
            "a brace too many in line 3"
        );
        assert!(parse("a{".repeat(8).as_bytes()).unwrap_err().what.contains("without an end"));
        assert!(parse("a{".repeat(1_000_000).as_bytes()).unwrap_err().what.contains("inside each"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_tokens_are_read_or_refused(tokens in prop::collection::vec(
            prop::sample::select(vec!["a", "b", "{", "}", "=", "[", "]", ",", "\"x\"", "7", "-", "#", "\n", "\\"]), 0..60)) {
            let _ = parse(tokens.concat().as_bytes());
        }
    }
}
