//! Globs of `allowedModels` (DESIGN 7.1): only `*` is special, it stands for any run of characters,
//! `/` and the empty run included; everything else is compared exactly. Not a general glob library:
//! those give meaning to `?`, `[` and `{`, which model names contain.

/// Whether the whole of `text` matches. The pieces between stars are searched from left to right and
/// never again, so the time is linear in both lengths whatever the pattern.
pub fn matches(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(text) = text.strip_prefix(first) else {
        return false;
    };
    let Some(mut text) = text.strip_suffix(last) else {
        return false;
    };
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_star_is_special() {
        for (glob, text) in [
            ("a/b", "a/b"),
            ("*", ""),
            ("*", "a/b"),
            ("**", "x"),
            ("a/*", "a/"),
            ("a/*", "a/b/c"),
            ("*/b", "a/b"),
            ("a*b", "ab"),
            ("a*b*c", "aXbYbZc"),
            ("*b*", "abc"),
            ("[a]?", "[a]?"),
            ("é*", "éa"),
            ("a*a", "aa"),
            ("*.*.*", "1.2.3"),
        ] {
            assert!(matches(glob, text), "{glob} {text}");
        }
        for (glob, text) in [
            ("a/b", "a/B"),
            ("a/b", "a/bc"),
            ("", "a"),
            ("a/*", "a"),
            ("a*a", "a"),
            ("ab*bc", "abc"),
            ("a?", "ab"),
            ("[ab]", "a"),
            ("*x*", "abc"),
            ("a*b*c", "acb"),
            ("*b", "bc"),
            ("a*b*b", "ab"),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn hostile_patterns_take_no_time() {
        let glob = format!("{}b", "*a".repeat(50_000));
        assert!(!matches(&glob, &"a".repeat(100_000)));
    }
}
