//! What is wrong with a document, as a list that is bounded however much is wrong: an answer must
//! not be many times as long as what was asked. Not for what is a fault.

use std::cell::Cell;

use super::Fault;

/// Faults of one document, or of one request among many, that are listed.
const MOST: usize = 100;
/// Faults of all requests in one body together that are listed.
const MOST_OF_ALL: usize = 1000;
/// Characters of an unknown name that are shown.
const NAME_MAX: usize = 200;

/// Room for faults in one answer.
pub struct Room(Cell<usize>);

impl Default for Room {
    fn default() -> Room {
        Room(Cell::new(MOST_OF_ALL))
    }
}

/// Faults in the order in which they were found.
#[derive(Debug, Default, PartialEq)]
pub struct Faults {
    list: Vec<Fault>,
    unlisted: usize,
}

impl Faults {
    /// `what`: pointer and message, asked for if they are listed.
    pub fn add<P: Into<String>, M: Into<String>>(&mut self, what: impl FnOnce() -> (P, M)) {
        if self.list.len() < MOST {
            let (pointer, message) = what();
            self.list.push(fault(pointer, message));
        } else {
            self.unlisted += 1;
        }
    }

    /// Of several documents that share the room; of each the first is listed.
    pub fn add_in<P: Into<String>, M: Into<String>>(
        &mut self,
        room: &Room,
        what: impl FnOnce() -> (P, M),
    ) {
        let full = room.0.get() == 0 && !self.list.is_empty();
        if full || self.list.len() == MOST {
            self.unlisted += 1;
            return;
        }
        room.0.set(room.0.get().saturating_sub(1));
        self.add(what);
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn into_list(mut self) -> Vec<Fault> {
        self.list.extend(more(self.unlisted));
        self.list
    }
}

/// Cuts a list that somebody else made down to the room that is left; its first fault stays.
pub fn cut(list: &mut Vec<Fault>, room: &Room) {
    let left = room.0.get().clamp(1, MOST);
    let unlisted = list.len().saturating_sub(left);
    list.truncate(left);
    room.0.set(room.0.get().saturating_sub(list.len()));
    list.extend(more(unlisted));
}

fn more(unlisted: usize) -> Option<Fault> {
    let message = format!("has {unlisted} more faults than are listed here");
    (unlisted > 0).then(|| fault("", message))
}

pub fn fault(pointer: impl Into<String>, message: impl Into<String>) -> Fault {
    Fault {
        pointer: pointer.into(),
        message: message.into(),
    }
}

/// The pointer of a member of the document (RFC 6901); of a name that is longer than any that is
/// known, its beginning.
pub fn pointer(name: &str) -> String {
    let cut = name.char_indices().nth(NAME_MAX).map(|(at, _)| at);
    let shown = &name[..cut.unwrap_or(name.len())];
    let dots = if cut.is_some() { "..." } else { "" };
    format!("/{}{dots}", shown.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(count: usize) -> Vec<Fault> {
        (0..count).map(|_| fault("/x", "wrong")).collect()
    }

    #[test]
    fn a_list_ends_with_how_many_are_left_out() {
        let mut faults = Faults::default();
        (0..150).for_each(|_| faults.add(|| ("/x", "wrong")));
        let list = faults.into_list();
        assert_eq!(list.len(), 101);
        assert_eq!(list[100].message, "has 50 more faults than are listed here");
    }

    #[test]
    fn lists_of_one_body_share_their_room_and_each_has_its_first() {
        let room = Room::default();
        let lists: Vec<usize> = (0..1000)
            .map(|_| {
                let mut faults = Faults::default();
                (0..50).for_each(|_| faults.add_in(&room, || ("/x", "wrong")));
                faults.into_list().len()
            })
            .collect();
        assert_eq!(lists[..20], [50; 20]);
        assert_eq!(lists[20..], [2; 980]);

        let room = Room::default();
        let mut lists: Vec<Vec<Fault>> = (0..100).map(|_| wrong(1001)).collect();
        lists.iter_mut().for_each(|list| cut(list, &room));
        assert!(lists[..10].iter().all(|list| list.len() == 101));
        assert!(lists[10..].iter().all(|list| list.len() == 2));
        assert_eq!(
            lists[10][1].message,
            "has 1000 more faults than are listed here"
        );
        let mut whole = wrong(3);
        cut(&mut whole, &Room::default());
        assert_eq!(whole, wrong(3));
    }

    #[test]
    fn a_name_of_any_length_has_a_pointer_of_some_length() {
        assert_eq!(pointer("we/ird~"), "/we~1ird~0");
        assert_eq!(pointer(&"é".repeat(200)), format!("/{}", "é".repeat(200)));
        let long = pointer(&"é".repeat(201));
        assert_eq!(long, format!("/{}...", "é".repeat(200)));
    }
}
