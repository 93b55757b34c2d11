//! Globs of `allowedModels` (DESIGN 7.1): only `*` is special, it stands for any run of characters,
//! `/` and the empty run included; everything else is compared exactly. Not a general glob library:
//! those give meaning to `?`, `[` and `{`, which model names contain.
//!
//! Of a long list nearly all globs are passed over by their *grams*: pairs of bytes that a text has
//! in it if it matches. Each glob keeps the two that fewest others of its list have.

/// A list of so many is searched as it is.
pub const FEW: usize = 8;
/// Pairs of bytes are told apart so far; that the others share a gram costs a look in vain.
const GRAMS: usize = 4096;
/// Every text has this one.
const ANY: u16 = 0;

/// A glob and the grams that it keeps.
pub type Compiled<'a> = (&'a str, [u16; 2]);

/// Makes a list ready to be searched. The order of a list means nothing.
pub fn compile(mut globs: Vec<&str>) -> Vec<Compiled<'_>> {
    if globs.len() <= FEW {
        return globs.into_iter().map(|glob| (glob, [ANY; 2])).collect();
    }
    globs.sort_unstable();
    globs.dedup();
    let mut counts = vec![0_u32; GRAMS];
    for glob in &globs {
        grams(glob).for_each(|gram| counts[usize::from(gram)] += 1);
    }
    let rarest = |glob: &str| {
        let mut kept = [ANY; 2];
        let mut least = [u32::MAX; 2];
        for gram in grams(glob).filter(|gram| *gram != ANY) {
            let count = counts[usize::from(gram)];
            if count < least[0] && gram != kept[1] {
                (least, kept) = ([count, least[0]], [gram, kept[0]]);
            } else if count < least[1] && gram != kept[0] {
                (least[1], kept[1]) = (count, gram);
            }
        }
        kept
    };
    globs.into_iter().map(|glob| (glob, rarest(glob))).collect()
}

/// Grams of what stands between stars.
fn grams(glob: &str) -> impl Iterator<Item = u16> {
    glob.split('*').flat_map(|piece| {
        let bytes = piece.as_bytes();
        let alone = match bytes {
            [one] => Some(single(*one)),
            _ => None,
        };
        let pairs = bytes.windows(2).map(|two| pair(two[0], two[1]));
        alone.into_iter().chain(pairs)
    })
}

fn pair(first: u8, second: u8) -> u16 {
    (u16::from(first) << 5 ^ u16::from(second)) % GRAMS as u16
}

fn single(byte: u8) -> u16 {
    (u16::from(byte) * 37) % GRAMS as u16
}

/// All grams of a text.
pub struct Grams([u64; GRAMS / 64]);

impl Grams {
    pub fn of(text: &str) -> Grams {
        let mut grams = Grams([0; GRAMS / 64]);
        grams.set(ANY);
        let bytes = text.as_bytes();
        bytes.iter().for_each(|byte| grams.set(single(*byte)));
        let pairs = bytes.windows(2);
        pairs.for_each(|two| grams.set(pair(two[0], two[1])));
        grams
    }

    fn set(&mut self, gram: u16) {
        self.0[usize::from(gram / 64) % (GRAMS / 64)] |= 1 << (gram % 64);
    }

    pub fn has(&self, gram: u16) -> bool {
        self.0[usize::from(gram / 64) % (GRAMS / 64)] & 1 << (gram % 64) != 0
    }
}

/// Whether the name of a model with that of its provider matches.
pub fn allows(glob: &str, provider: &str, model: &str) -> bool {
    match beyond_provider(glob, provider) {
        Some(rest) => matches(rest, model),
        None => matches(glob, &[provider, "/", model].concat()),
    }
}

/// What is left of a glob that begins with exactly this provider and its slash, as nearly all do:
/// that spares putting the name together. Only where no star comes before, as a star stands for
/// anything, also in the name of a provider.
fn beyond_provider<'a>(glob: &'a str, provider: &str) -> Option<&'a str> {
    let rest = glob.strip_prefix(provider)?.strip_prefix('/')?;
    (!provider.contains('*')).then_some(rest)
}

/// Whether the whole of `text` matches. The pieces between stars are searched from left to right
/// and never again, so the time is linear in both lengths whatever the pattern.
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
        let found = match piece.as_bytes() {
            // A search would cost more to begin than to carry out.
            [one] => text.bytes().position(|byte| byte == *one),
            _ => text.find(piece),
        };
        match found {
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
