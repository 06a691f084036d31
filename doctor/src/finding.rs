//! What the doctor says.
//!
//! What it owns: the form of a finding, for people and for programs. What it never does: find
//! anything.

use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// May be the reason for trouble; it is not certain, or does no harm yet.
    Warn,
    /// Wrong.
    Fail,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok  ",
            Self::Note => "note",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}

/// One thing that was found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// A name for programs, such as `multicast_none`; docs/multicast.md lists them.
    pub code: &'static str,
    /// How bad it is.
    pub mark: Mark,
    /// A sentence: what is so.
    pub what: String,
    /// A sentence: what to do. None where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// All that was found, the most telling first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    /// Adds something that is as it should be.
    pub(crate) fn ok(&mut self, code: &'static str, what: impl Into<String>) {
        self.all.push(Finding { code, mark: Mark::Ok, what: what.into(), remedy: None });
    }

    /// Adds something good to know.
    pub(crate) fn note(&mut self, code: &'static str, what: impl Into<String>) {
        self.all.push(Finding { code, mark: Mark::Note, what: what.into(), remedy: None });
    }

    /// Adds something that may be wrong.
    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into());
        self.all.push(Finding { code, mark: Mark::Warn, what: what.into(), remedy });
    }

    /// Adds something that is wrong.
    pub(crate) fn fail(
        &mut self,
        code: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = Some(remedy.into());
        self.all.push(Finding { code, mark: Mark::Fail, what: what.into(), remedy });
    }

    /// All of them.
    pub fn all(&self) -> &[Finding] {
        &self.all
    }

    /// True when this code was found.
    pub fn has(&self, code: &str) -> bool {
        self.all.iter().any(|finding| finding.code == code)
    }

    /// True when nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.all.iter().all(|finding| finding.mark != Mark::Fail)
    }

    /// For programs: `ok`, the findings, and whatever was measured.
    pub fn json(&self, measured: Value) -> Value {
        let mut object = json!({ "ok": self.is_well(), "findings": self.all });
        if let (Some(object), Value::Object(measured)) = (object.as_object_mut(), measured) {
            object.extend(measured);
        }
        object
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for finding in &self.all {
            writeln!(text, "{}  {}", finding.mark, finding.what.replace('\n', "\n      "))?;
            if let Some(remedy) = &finding.remedy {
                writeln!(text, "      > {}", remedy.replace('\n', "\n      > "))?;
            }
        }
        f.write_str(&text)
    }
}

/// Makes a sentence of a clause, such as an error's text.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_said_to_people_and_to_programs() {
        let mut findings = Findings::default();
        findings.ok("a", "This is well.");
        findings.warn("b", "This may be bad.", "Look at it.");
        assert!(findings.is_well() && findings.has("b") && !findings.has("c"));
        findings.fail("c", "This is bad.", "Mend it.");
        assert!(!findings.is_well());
        assert_eq!(
            findings.to_string(),
            "ok    This is well.\nWARN  This may be bad.\n      > Look at it.\nFAIL  This is \
             bad.\n      > Mend it.\n"
        );
        let object = findings.json(json!({ "seconds": 3 }));
        assert_eq!((&object["ok"], &object["seconds"]), (&json!(false), &json!(3)));
        assert_eq!(
            object["findings"][0],
            json!({"code": "a", "mark": "ok", "what": "This is well."})
        );
        assert_eq!(object["findings"][2]["remedy"], "Mend it.");
    }

    #[test]
    fn every_code_is_explained() {
        let explained = include_str!("../../docs/multicast.md");
        let sources = [
            include_str!("client/conclude.rs"),
            include_str!("client/mod.rs"),
            include_str!("server/mod.rs"),
        ];
        let mut codes = 0;
        for call in sources.iter().flat_map(|source| source.split("findings.").skip(1)) {
            let verb = ["ok(", "note(", "warn(", "fail("].iter().find_map(|v| call.strip_prefix(v));
            // What follows is the code, unless it is a variable.
            let code = verb.and_then(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            if let Some(code) = code {
                assert!(explained.contains(&format!("`{code}`")), "{code} is not explained");
                codes += 1;
            }
        }
        assert!(codes > 50, "only {codes} found");
    }
}
