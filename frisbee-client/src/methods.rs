//! `-X`: ways of sending, in order of preference.

use rendezvous::record::Methods;
use std::str::FromStr;

/// Ways of sending, the preferred one first; at least one. `any` leaves the choice to the host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MethodList(Vec<Methods>);

impl MethodList {
    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Methods> {
        self.0.iter().copied()
    }

    /// All of them together.
    pub(crate) fn all(&self) -> Methods {
        self.iter().fold(Methods::NONE, |all, one| all | one)
    }
}

impl FromStr for MethodList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |word: &str| match word.trim() {
            "any" => Ok(Methods::ANY),
            "unicast" | "ucast" => Ok(Methods::UNICAST),
            "multicast" | "mcast" => Ok(Methods::MULTICAST),
            "broadcast" | "bcast" => Ok(Methods::BROADCAST),
            other => Err(format!("{other:?}: expected unicast, multicast, broadcast or any")),
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept() {
        let read = |text: &str| text.parse::<MethodList>().map(|list| list.0);
        assert_eq!(read("mcast,ucast"), Ok(vec![Methods::MULTICAST, Methods::UNICAST]));
        assert_eq!(read("any"), Ok(vec![Methods::ANY]));
        assert!(read("").unwrap_err().contains("expected unicast"));
        assert!(read("multicast,x").unwrap_err().contains("\"x\""));
    }
}
