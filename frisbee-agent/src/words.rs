//! Lines made of words, as the kernel's command line and control lines are.
//!
//! What it owns: where a word ends, quotes, and what may be printed. What it never does: know what
//! a word means.

/// The words of a line. Spaces in quotes (`"`) do not end a word; the quotes themselves are left
/// out, as the kernel does it. A quote that is not closed ends with the line.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A value that [`split`] takes as one word, and that harms no terminal.
pub fn quote(value: &str) -> String {
    let clean = printable(value).replace('"', "'");
    match clean.is_empty() || clean.contains(char::is_whitespace) {
        true => format!("\"{clean}\""),
        false => clean,
    }
}

/// The text in one line, without what a terminal obeys.
pub fn printable(text: &str) -> String {
    let clean = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(clean).collect()
}

/// At most this many bytes of the text, cut between characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let fits = |at: &usize| *at <= bytes_max;
    let ends = text.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
    let end = ends.take_while(fits).last().unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The known word that is most like `word`, unless none is.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = known.into_iter().map(|one| (distance(word, one), one)).min()?;
    let limit = word.chars().count().div_ceil(2).min(6);
    (best.0 <= limit).then_some(best.1)
}

/// Characters to insert, leave out or replace. Long words are compared by their beginnings.
fn distance(one: &str, other: &str) -> usize {
    const LEN_MAX: usize = 64;
    let other: Vec<char> = other.chars().take(LEN_MAX).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(LEN_MAX).enumerate() {
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (b, pair) in other.iter().zip(row.windows(2)) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => (0, 0),
            };
            let replaced = diagonal.saturating_add(usize::from(a != *b));
            left = replaced.min(above.saturating_add(1)).min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        let line = "  quiet frisbee.load=boss/a \"k=x y\" m=\"p q\" e=\"\" \"\" open=\"a b ";
        let all = ["quiet", "frisbee.load=boss/a", "k=x y", "m=p q", "e=", "", "open=a b "];
        assert_eq!(split(line), all);
        assert_eq!(split(" \t\n"), Vec::<String>::new());
        for value in ["a", "a b", "", "ü x"] {
            assert_eq!(split(&quote(value)), [value]);
        }
        assert_eq!(split(&quote("a\"b\nc\x1b[2J")), ["a'b c?[2J"]);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!((cut("äb", 0), cut("äb", 1), cut("äb", 2), cut("äb", 9)), ("", "", "ä", "äb"));
    }

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["load", "save", "disk", "retry", "retry-after"];
        let near = |word| nearest(word, known);
        assert_eq!(
            (near("laod"), near("disc"), near("saev")),
            (Some("load"), Some("disk"), Some("save"))
        );
        assert_eq!((near("retry_after"), near("zzzzzz")), (Some("retry-after"), None));
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
