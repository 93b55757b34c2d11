//! What callers can make an instance hold in memory: bodies until their calls are answered, and
//! answers until they are taken. The one place that says how much that may be, and of whom. Not for
//! where answers are counted and whose connection goes (`edge`), nor for limits of one body
//! (`input`, `coding`).
//!
//! It is the memory of the process that is short, so what is here is the process's, too.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::Extensions;

use super::caller;
use super::problem::Problem;
use ordain_coherence::places::Places;
use ordain_coherence::shares::Place;

/// Bytes of a body that are held without a place. All small calls fit in; the bounds on connections
/// and on requests of one are the bound for these. Not more: with HTTP/2 a connection can hold 128
/// of them.
pub const SMALL: usize = 16 << 10;
/// Bytes of answers that are made and not taken, of all connections: as many as 128 of the longest
/// pages. Those that are taken are held for milliseconds, so what comes near that is of callers
/// that take nothing.
pub const ANSWERS: u64 = 128 << 20;

/// Bodies above [`SMALL`] that are held at a time, and those of one tenant; operators have as many
/// as that beside them. With at most 4 MiB each (operators: 8 MiB) these are 256 MiB of all
/// callers, 64 of one, and 128 of operators. Counted by bodies and not by bytes: whoever held a
/// part of what it needs and waited for the rest could keep others who do the same from ever having
/// all.
const BODIES: (usize, usize) = (64, 16);
/// Bodies that are unpacked at a time once they turn out to be large, and those of one caller: a
/// few hundred bytes can ask for 4 MiB, and for a window of 8 MiB beside them.
const UNPACKED: (usize, usize) = (4, 2);
/// Longest time that a body waits for either. Meanwhile it is not read: its client has to wait,
/// too.
pub const PATIENCE: Duration = Duration::from_secs(10);

static BODIES_HELD: LazyLock<Places> = LazyLock::new(|| Places::bodies(BODIES.0, BODIES.1));
static UNPACKING: LazyLock<Places> = LazyLock::new(|| Places::unpacking(UNPACKED.0, UNPACKED.1));

/// Both kinds, as operators measure them.
pub fn places() -> [&'static Places; 2] {
    [&BODIES_HELD, &UNPACKING]
}

/// Room for one body, in the share of whoever sends it. Kept until the call is answered.
pub struct Room<'a> {
    of: &'a Extensions,
    place: Option<Place>,
}

impl<'a> Room<'a> {
    /// For the body of a call with these extensions. It holds nothing yet.
    pub fn new(of: &'a Extensions) -> Room<'a> {
        Room { of, place: None }
    }

    /// Takes a place for a body that is not small; waits for it.
    pub async fn take(&mut self) -> Result<(), Problem> {
        if self.place.is_none() {
            let detail = "too many large bodies are being received or worked on";
            self.place = Some(self.wait(&BODIES_HELD, detail).await?);
        }
        Ok(())
    }

    /// A place to unpack a large body in.
    pub async fn unpacking(&self) -> Result<Place, Problem> {
        let detail = "too many large bodies are being decompressed";
        self.wait(&UNPACKING, detail).await
    }

    async fn wait(&self, places: &Places, detail: &str) -> Result<Place, Problem> {
        let place = places.take(&caller::payer(self.of)?, PATIENCE).await;
        place.ok_or_else(|| Problem::later("overloaded", format!("{detail}; nothing was done")))
    }

    /// What it is kept with.
    pub fn hold<T>(self, content: T) -> Held<T> {
        Held {
            content,
            place: self.place,
        }
    }
}

/// What came, with its room.
pub struct Held<T> {
    content: T,
    place: Option<Place>,
}

impl<T> Held<T> {
    /// Something else that takes its place.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Held<U> {
        Held {
            content: f(self.content),
            place: self.place,
        }
    }

    pub fn try_map<U, E>(self, f: impl FnOnce(T) -> Result<U, E>) -> Result<Held<U>, E> {
        Ok(Held {
            content: f(self.content)?,
            place: self.place,
        })
    }
}

impl<T> std::ops::Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

/// Makes room for `more` bytes of at most `most` in all: twice as much as there was, but never
/// beyond that.
pub fn grow(bytes: &mut Vec<u8>, more: usize, most: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let room = (bytes.capacity() * 2).min(most).max(needed);
        bytes.reserve_exact(room - bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::Principal;

    fn call_of(tenant: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Arc::new(Principal::editor(tenant)));
        extensions
    }

    #[tokio::test]
    async fn of_bodies_one_caller_has_a_part_and_another_finds_a_place() {
        let (noisy, quiet) = (call_of("memory-noisy"), call_of("memory-quiet"));
        let mut held = Vec::new();
        for _ in 0..BODIES.1 {
            let mut room = Room::new(&noisy);
            room.take().await.expect("a place");
            // Once for each body.
            room.take().await.expect("it has one");
            held.push(room);
        }
        let mut more = Room::new(&noisy);
        let mut waiting = std::pin::pin!(more.take());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        Room::new(&quiet).take().await.expect("a place");
        let last = held.pop().expect("one");
        drop(last.hold("a body").map(str::len));
        waiting.await.expect("the place that became free");
    }

    #[test]
    fn what_grows_has_never_more_room_than_it_may_need() {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            grow(&mut bytes, 10, 1000);
            bytes.extend_from_slice(&[0; 10]);
            assert!(bytes.capacity() <= 1000);
            assert!(bytes.capacity() <= 2 * bytes.len());
        }
        // More than was said, if there is more.
        grow(&mut bytes, 10, 1000);
        assert!(bytes.capacity() >= 1010);
    }
}
