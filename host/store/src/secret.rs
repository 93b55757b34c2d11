//! Values that are never printed: whoever needs one says so by `reveal`. Not for where secrets come
//! from (the server's configuration), nor for files of them.

mod mask;
#[cfg(any(test, feature = "contract"))]
pub mod random;

use std::fmt;

pub use mask::{MASK, masked_url};

/// A value that is not what it should be, as it may be shown: a URL with a password may have got
/// there.
pub fn misplaced(text: &str) -> String {
    match text.contains("://") {
        true => masked_url(text),
        false => text.to_owned(),
    }
}

/// A key, a password or a token: nothing of it is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// A URL that may hold a password: shown without it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretUrl(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&masked_url(&self.0), f)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked_url(&self.0))
    }
}

macro_rules! holds_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// The value itself: for what needs it, never for what is shown.
            pub fn reveal(&self) -> &str {
                &self.0
            }

            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> $name {
                $name(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> $name {
                $name(text.to_owned())
            }
        }
    )*};
}

holds_text!(Secret, SecretUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_in_the_wrong_place_is_shown_without_its_password() {
        assert_eq!(
            misplaced("postgres://me:s3cret@db/x"),
            "postgres://me:***@db/x"
        );
        assert_eq!(misplaced("localhost"), "localhost");
    }

    #[test]
    fn neither_is_printed_by_any_format() {
        let secret = Secret::from("s3cret");
        let url = SecretUrl::from("postgres://me:s3cret@db/x");
        let shown = format!("{secret} {secret:?} {secret:#?} {url} {url:?} {url:#?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("postgres://me:***@db/x"), "{shown}");
        assert_eq!((secret.reveal(), secret.is_empty()), ("s3cret", false));
    }
}
