//! The name that somebody probably meant who wrote another. Not for what becomes of it.

/// Of the known names (lower case, words apart by `-`) the one that was probably meant.
pub fn meant<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), *name))
        .min()?;
    let within = |limit: usize| Some(nearest.1).filter(|_| nearest.0 <= limit);
    // A slip of the fingers, then words left out, then whatever is still near.
    within(2.min(nearest.1.len() / 2))
        .or_else(|| only_one_with_all_words(given, known))
        .or_else(|| within(nearest.1.len() / 3))
}

fn only_one_with_all_words<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let has_all = |name: &str| {
        given
            .split('-')
            .all(|word| name.split('-').any(|w| w == word))
    };
    let mut all = known.iter().copied().filter(|name| has_all(name));
    all.next().filter(|_| all.next().is_none())
}

/// A name as the known ones are written: of `nearBytes`, `near_bytes` and `ORDAIN_NEAR_BYTES`,
/// `near-bytes`.
pub fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        match c {
            '_' | ' ' | '.' => kebab.push('-'),
            c if c.is_ascii_uppercase() => {
                if kebab.ends_with(|before: char| before.is_ascii_lowercase()) && !is_shouted(name)
                {
                    kebab.push('-');
                }
                kebab.push(c.to_ascii_lowercase());
            }
            c => kebab.push(c),
        }
    }
    kebab.trim_start_matches("ordain-").to_owned()
}

fn is_shouted(name: &str) -> bool {
    !name.contains(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 6] = [
        "bound",
        "near-bytes",
        "jwt-hs256-secret",
        "jwt-issuer",
        "database-url",
        "redis-url",
    ];

    #[test]
    fn slips_spellings_and_words_left_out_are_understood_and_nothing_is_guessed_at_random() {
        for (given, expected) in [
            ("bund", Some("bound")),
            ("nearBytes", Some("near-bytes")),
            ("ORDAIN_NEAR_BYTES", Some("near-bytes")),
            ("DATABASE_URL", Some("database-url")),
            ("ORDAIN_JWT_SECRET", Some("jwt-hs256-secret")),
            ("near", Some("near-bytes")),
            ("url", None),
            ("x", None),
            ("", None),
            ("colour-of-the-house", None),
        ] {
            assert_eq!(meant(&kebab(given), &KNOWN), expected, "{given}");
        }
        assert_eq!(meant("bound", &[]), None);
    }
}
