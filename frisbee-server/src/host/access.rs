//! Who may do what with which images.
//!
//! What it owns: the rules, and the answer. What it never does: know how a request came.
//!
//! A request is allowed when one rule allows it. Without any rule everybody may get images, and
//! nobody may do anything else.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use std::net::IpAddr;

/// Something that is asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// See images, sessions and clients; load an image.
    Get,
    /// Send an image to this host, or replace one.
    Put,
    /// Remove an image.
    Delete,
    /// End a session.
    Stop,
    /// Ask on behalf of another machine.
    Proxy,
}

impl Action {
    /// What it is, in words, of an image.
    pub(crate) fn of(self, name: Option<&str>) -> String {
        let name = name.unwrap_or("images");
        match self {
            Self::Get => format!("get {name}"),
            Self::Put => format!("send {name}"),
            Self::Delete => format!("delete {name}"),
            Self::Stop => format!("end sessions of {name}"),
            Self::Proxy => "ask on behalf of another machine".into(),
        }
    }
}

/// One rule: all that it names must fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What is allowed.
    pub allow: Vec<Action>,
    /// From these addresses or networks; from everywhere when empty.
    #[serde(default, deserialize_with = "networks")]
    pub from: Vec<IpNet>,
    /// To whoever knows this word; to everybody when absent.
    #[serde(default)]
    pub token: Option<Token>,
    /// With images whose names match one of these patterns, in which `*` stands for anything; with
    /// all when empty.
    #[serde(default)]
    pub images: Vec<String>,
}

/// A secret word. It is not shown when a configuration is printed for debugging, and compared in
/// constant time.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Token(blake3::Hash);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Yes.
    Allowed,
    /// Not without the right token.
    TokenNeeded,
    /// Not from this address, or not with this image, whatever the token.
    Refused,
}

/// All rules.
#[derive(Clone, Debug)]
pub struct Access {
    rules: Vec<Rule>,
}

impl Access {
    /// These rules; without any, everybody may get.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        if rules.is_empty() {
            let (from, token, images) = (Vec::new(), None, Vec::new());
            rules.push(Rule { allow: vec![Action::Get], from, token, images });
        }
        Self { rules }
    }

    /// Whether `peer` may do this with the image `name`, or at all when no image is concerned.
    pub fn check(
        &self,
        peer: IpAddr,
        token: Option<&str>,
        action: Action,
        name: Option<&str>,
    ) -> Answer {
        let peer = peer.to_canonical();
        let hash = token.map(|token| blake3::hash(token.as_bytes()));
        let mut answer = Answer::Refused;
        for rule in &self.rules {
            let fits = rule.allow.contains(&action)
                && (rule.from.is_empty() || rule.from.iter().any(|net| net.contains(&peer)))
                && rule.fits_name(name);
            match &rule.token {
                _ if !fits => {}
                Some(wanted) if hash.is_none_or(|hash| hash != wanted.0) => {
                    answer = Answer::TokenNeeded
                }
                _ => return Answer::Allowed,
            }
        }
        answer
    }
}

impl Rule {
    fn fits_name(&self, name: Option<&str>) -> bool {
        let Some(name) = name else { return true };
        self.images.is_empty() || self.images.iter().any(|pattern| matches(pattern, name))
    }
}

/// True when `name` is `pattern` with something in place of each `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        // The first place is as good as any other: what follows has most room then.
        let Some(at) = name.find(part) else { return false };
        name = name.get(at + part.len()..).unwrap_or_default();
    }
    name.ends_with(end)
}

fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| parse_network(text).map_err(serde::de::Error::custom)).collect()
}

/// A network such as `10.0.0.0/8`, or one address.
///
/// # Errors
/// What was expected.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("'{text}': expected an address or a network such as 10.0.0.0/8");
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => text.parse::<IpNet>().map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> Access {
        #[derive(Deserialize)]
        struct Rules {
            access: Vec<Rule>,
        }
        Access::new(toml::from_str::<Rules>(text).unwrap().access)
    }

    #[test]
    fn without_rules_everybody_may_get_and_nothing_else() {
        let access = Access::new(Vec::new());
        let peer = "192.0.2.1".parse().unwrap();
        assert_eq!(access.check(peer, None, Action::Get, Some("x")), Answer::Allowed);
        for action in [Action::Put, Action::Delete, Action::Stop, Action::Proxy] {
            assert_eq!(access.check(peer, Some("token"), action, None), Answer::Refused);
        }
    }

    #[test]
    fn address_token_and_name_must_all_fit_one_rule() {
        let access = access(
            "[[access]]\nallow = ['get']\n\
             [[access]]\nallow = ['put']\nfrom = ['10.1.0.0/16', '::1']\nimages = ['saves/*']\n\
             [[access]]\nallow = ['put', 'delete']\ntoken = 'secret'\n",
        );
        let check = |peer: &str, token, action, name| {
            access.check(peer.parse().unwrap(), token, action, Some(name))
        };
        assert_eq!(check("10.1.2.3", None, Action::Put, "saves/x"), Answer::Allowed);
        assert_eq!(check("::ffff:10.1.2.3", None, Action::Put, "saves/x"), Answer::Allowed);
        assert_eq!(check("10.1.2.3", None, Action::Put, "base.ndz"), Answer::TokenNeeded);
        assert_eq!(check("10.2.2.3", None, Action::Put, "saves/x"), Answer::TokenNeeded);
        assert_eq!(check("10.2.2.3", Some("wrong"), Action::Delete, "x"), Answer::TokenNeeded);
        assert_eq!(check("10.2.2.3", Some("secret"), Action::Delete, "x"), Answer::Allowed);
        assert_eq!(check("10.2.2.3", Some("secret"), Action::Stop, "x"), Answer::Refused);
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("base.ndz", "base.ndz", true),
            ("base.ndz", "base.ndz.old", false),
            ("a/*", "a/b/c", true),
            ("a/*", "b/a/", false),
            ("*.ndz", "a/b.ndz", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let access = access("[[access]]\nallow = ['put']\ntoken = 'secret'\n");
        assert!(!format!("{access:?}").contains("secret"));
    }
}
