//! Lists of entity tags, as in `If-None-Match` and `If-Match` (RFC 9110, section 8.8.3).

/// Whether a list names the tag, or all (`*`). Weak tags count.
#[must_use]
pub fn names_tag(list: &str, tag: &str) -> bool {
    list.trim() == "*" || Tags(list).any(|(_, named)| named == tag)
}

/// Whether a list names the tag, or all (`*`). Weak tags do not count.
#[must_use]
pub fn names_tag_strongly(list: &str, tag: &str) -> bool {
    list.trim() == "*" || Tags(list).any(|(is_weak, named)| !is_weak && named == tag)
}

/// The tags of a list, each with whether it is weak. Ends at the first that is none.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = (bool, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let (is_weak, rest) = match rest.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (tag, rest) = rest.strip_prefix('"')?.split_once('"')?;
        self.0 = rest;
        Some((is_weak, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags() {
        assert!(names_tag("\"a\"", "a") && names_tag_strongly("\"a\"", "a"));
        assert!(names_tag("W/\"a\"", "a") && !names_tag_strongly("W/\"a\"", "a"));
        assert!(names_tag(" \"x,y\" , \"a\"", "a") && names_tag("\"x,y\"", "x,y"));
        assert!(names_tag("*", "a") && names_tag_strongly(" * ", "a"));
        for list in ["", "a", "\"a", "\"b\"", "W\"a\"", "\"b\" a"] {
            assert!(!names_tag(list, "a"), "{list}");
        }
    }
}
