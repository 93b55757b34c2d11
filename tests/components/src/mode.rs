//! What the component is told to do, and when. The mode is written into the file, behind a marker,
//! by whoever wants such a component; `tests/src/components.rs` does it.
//!
//! A mode is `DEED`, `DEED:ARGUMENT`, or several of them separated by `;`. Each is done for
//! requests whose task begins with `x-` (for `validate`: records that contain a text that does), or
//! with `@always` on every call, or with `@every:N` on every N-th call of an instance's life.

use std::cell::{Cell, RefCell};
use std::hint::black_box;

const MARKER: usize = b"ORDAIN-TEST-MODE:".len();
const ROOM: usize = 128;

/// The file holds this once. Spaces around the mode mean nothing.
static MODE: [u8; MARKER + ROOM] = *b"ORDAIN-TEST-MODE:none                                                                                                                            ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Asked,
    Always,
    Every(u32),
}

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Mode {
    pub deed: String,
    pub argument: String,
    when: When,
}

thread_local! {
    static MODES: RefCell<Option<Vec<Mode>>> = const { RefCell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// The modes of a call that begins now. `bad`: it is of the kind that asks for it.
pub fn of_call(bad: bool) -> Vec<Mode> {
    let calls = CALLS.get() + 1;
    CALLS.set(calls);
    MODES.with_borrow_mut(|modes| {
        let all = modes.get_or_insert_with(read).iter();
        let meant = all.filter(|mode| match mode.when {
            When::Asked => bad,
            When::Always => true,
            When::Every(n) => calls.is_multiple_of(n),
        });
        meant.cloned().collect()
    })
}

/// Whether this is the first call of the instance.
pub fn is_first_call() -> bool {
    CALLS.get() == 1
}

impl Mode {
    /// Whether it concerns one request of a batch, being meant for the whole.
    pub fn concerns(&self, bad: bool) -> bool {
        bad || self.when != When::Asked
    }

    pub fn number(&self) -> usize {
        self.argument.parse().unwrap_or(1)
    }
}

fn read() -> Vec<Mode> {
    // What is behind a black box is read when the program runs: the file's bytes, not the
    // compiler's.
    let text = String::from_utf8_lossy(black_box(&MODE).get(MARKER..).unwrap_or_default());
    text.split(';')
        .map(|one| parse(one.trim_matches([' ', '\0'])))
        .collect()
}

/// Unclear text is a deed that nobody knows, which traps: a test never passes for a typing error.
fn parse(text: &str) -> Mode {
    let (what, when) = text.split_once('@').unwrap_or((text, ""));
    let (deed, argument) = what.split_once(':').unwrap_or((what, ""));
    let when = match when.split_once(':') {
        Some(("every", n)) => n.parse().ok().filter(|n| *n > 0).map(When::Every),
        None if when == "always" => Some(When::Always),
        None if when.is_empty() => Some(When::Asked),
        _ => None,
    };
    Mode {
        deed: when.map_or_else(|| text.to_owned(), |_| deed.to_owned()),
        argument: argument.to_owned(),
        when: when.unwrap_or(When::Always),
    }
}
