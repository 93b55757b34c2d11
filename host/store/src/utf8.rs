//! The text in bytes that somebody wrote (JSON, TOML): UTF-8, with or without the byte order mark
//! that some editors and shells write. Not for what the text says.

/// U+FEFF at the beginning of a text in UTF-8.
const MARK: char = '\u{feff}';

/// Why bytes are no such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    #[error("not UTF-8 at byte {0}")]
    Utf8(usize),
    /// Told apart, since such a file looks right in every editor.
    #[error("UTF-16 and not UTF-8")]
    Utf16,
    #[error("UTF-32 and not UTF-8")]
    Utf32,
}

/// The text without its mark.
pub fn read(bytes: &[u8]) -> Result<&str, NoText> {
    refuse_wide(bytes)?;
    std::str::from_utf8(bytes)
        .map(unmarked)
        .map_err(|error| NoText::Utf8(error.valid_up_to()))
}

/// The same, of bytes that are not needed any more.
pub fn text(bytes: Vec<u8>) -> Result<String, NoText> {
    refuse_wide(&bytes)?;
    let mut text =
        String::from_utf8(bytes).map_err(|error| NoText::Utf8(error.utf8_error().valid_up_to()))?;
    text.drain(..text.len() - unmarked(&text).len());
    Ok(text)
}

fn refuse_wide(bytes: &[u8]) -> Result<(), NoText> {
    match bytes {
        // No JSON and no TOML has a zero byte, and UTF-8 begins with no such mark.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [_, 0, 0, 0, ..] | [0, 0, 0, _, ..] => {
            Err(NoText::Utf32)
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, ..] | [0, _, ..] => Err(NoText::Utf16),
        _ => Ok(()),
    }
}

/// The text without its mark.
pub fn unmarked(text: &str) -> &str {
    text.trim_start_matches(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_no_part_of_the_text_and_another_encoding_is_named() {
        for bytes in [&b"{}"[..], b"\xef\xbb\xbf{}"] {
            assert_eq!(read(bytes), Ok("{}"));
            assert_eq!(text(bytes.to_vec()).as_deref(), Ok("{}"));
        }
        assert_eq!(read(b""), Ok(""));
        assert_eq!(read(b"1"), Ok("1"));
        assert_eq!(read("\u{feff}".as_bytes()), Ok(""));
        assert_eq!(read("\"a\u{feff}\"".as_bytes()), Ok("\"a\u{feff}\""));
        for broken in [&b"{\"a\xff\"}"[..], b"{\0"] {
            assert!(read(broken).is_err());
            assert_eq!(text(broken.to_vec()).err(), read(broken).err());
        }
        assert_eq!(read(b"{\"a\xff\"}"), Err(NoText::Utf8(3)));
        for (little, marked) in [(true, true), (true, false), (false, true), (false, false)] {
            let text = if marked { "\u{feff}{}" } else { "{}" };
            let bytes: Vec<u8> = text
                .encode_utf16()
                .flat_map(|unit| match little {
                    true => unit.to_le_bytes(),
                    false => unit.to_be_bytes(),
                })
                .collect();
            assert_eq!(read(&bytes), Err(NoText::Utf16), "{bytes:?}");
            let bytes: Vec<u8> = text
                .chars()
                .flat_map(|c| match little {
                    true => u32::from(c).to_le_bytes(),
                    false => u32::from(c).to_be_bytes(),
                })
                .collect();
            assert_eq!(read(&bytes), Err(NoText::Utf32), "{bytes:?}");
        }
    }
}
