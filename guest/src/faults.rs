//! A list of faults with JSON pointers (RFC 6901). Not for what is a fault: see `validate`.

use std::fmt;

use crate::words::Fault;

/// Most faults that are listed, and most bytes that their texts take. Pointers repeat the keys
/// above them, so a hostile record of 256 KiB could otherwise fill the memory of the instance.
const MOST: usize = 1000;
const MOST_BYTES: usize = 1024 * 1024;

/// A place in a document, as a chain of borrowed steps: nothing is allocated until a fault is
/// found.
#[derive(Clone, Copy)]
pub enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub fn member(&'a self, name: &'a str) -> Path<'a> {
        Path::Member(self, name)
    }

    pub fn item(&'a self, index: usize) -> Path<'a> {
        Path::Item(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Item(above, index) => write!(f, "{above}/{index}"),
            Path::Member(above, name) => {
                write!(f, "{above}/")?;
                for c in name.chars() {
                    match c {
                        '~' => f.write_str("~0")?,
                        '/' => f.write_str("~1")?,
                        c => write!(f, "{c}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

/// Faults in the order in which they were found.
#[derive(Default)]
pub struct Faults {
    list: Vec<Fault>,
    bytes: usize,
    unlisted: usize,
}

impl Faults {
    pub fn add(&mut self, at: &Path<'_>, message: impl Into<String>) {
        // Once full it stays full: what is listed is a beginning without gaps.
        if self.unlisted > 0 || self.list.len() == MOST {
            self.unlisted += 1;
            return;
        }
        let fault = Fault {
            pointer: at.to_string(),
            message: message.into(),
        };
        let bytes = self.bytes + fault.pointer.len() + fault.message.len();
        if bytes > MOST_BYTES && !self.list.is_empty() {
            self.unlisted += 1;
            return;
        }
        self.bytes = bytes;
        self.list.push(fault);
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn into_list(mut self) -> Vec<Fault> {
        if self.unlisted > 0 {
            let message = format!("has {} more faults than are listed here", self.unlisted);
            self.list.push(Fault {
                pointer: String::new(),
                message,
            });
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_tilde_and_slash_and_nothing_else() {
        let (root, users) = (Path::Root, Path::Root.member("userPolicies").to_string());
        assert_eq!(root.to_string(), "");
        assert_eq!(users, "/userPolicies");
        let above = root.member("a/b~c %\"ä");
        let item = above.item(7);
        assert_eq!(item.member("").to_string(), "/a~1b~0c %\"ä/7/");
    }

    #[test]
    fn the_list_is_bounded_in_number_and_says_how_many_are_left_out() {
        let mut faults = Faults::default();
        for index in 0..MOST + 5 {
            faults.add(&Path::Root.item(index), "wrong");
        }
        let list = faults.into_list();
        assert_eq!(list.len(), MOST + 1);
        assert_eq!(list[MOST].pointer, "");
        assert_eq!(list[MOST].message, "has 5 more faults than are listed here");
    }

    #[test]
    fn the_list_is_bounded_in_bytes_but_never_empty() {
        let key = "k".repeat(MOST_BYTES);
        let mut faults = Faults::default();
        faults.add(&Path::Root.member(&key), "wrong");
        faults.add(&Path::Root.member(&key), "wrong");
        faults.add(&Path::Root, "wrong");
        let list = faults.into_list();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1].message, "has 2 more faults than are listed here");
    }
}
