//! What is done before an answer is made: computing, allocating, calling the host. Deeds that
//! change the answer itself are in `spoiling`.

use std::hint::black_box;

use guest::component::bindings::ordain::host::log::Severity;
use guest::component::bindings::ordain::host::types::{LookedUp, Scope, Subject};
use guest::component::bindings::ordain::host::{far, feed, held, log, near, origin};

use crate::mode::{self, Mode};
use crate::spoiling;

pub const MIB: usize = 1 << 20;

pub fn perform(mode: &Mode) {
    let n = mode.number();
    match mode.deed.as_str() {
        "none" => {}
        "hang" => hang(),
        "start-hang" if mode::is_first_call() => hang(),
        "start-hang" => {}
        // A thousand times `n` steps: slow, and right in the end.
        "spin" => (0..n * 1000).for_each(|step| {
            black_box(step);
        }),
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("as I was told"),
        "recurse" => {
            recurse(1);
        }
        "memory" => {
            let all = hoard();
            // More than was refused: the allocator gives up, and the instance with it.
            black_box(vec![1_u8; all.len() * MIB + 64 * MIB]);
        }
        // The answer is right, but the instance stays as large as it may be.
        "hoard" => drop(black_box(hoard())),
        "near" => (0..n).for_each(|_| {
            near::look_up(&[policy()]);
        }),
        "feed" => (0..n).for_each(|_| {
            feed::catch_up(u64::MAX, 0);
        }),
        "feed-wait" => (0..n).for_each(|_| {
            feed::catch_up(u64::MAX, u32::MAX);
        }),
        "origin" => (0..n).for_each(|_| {
            origin::read(&[policy()], 0);
        }),
        "far" => (0..n).for_each(|_| {
            far::look_up(&[policy()]);
        }),
        "log" => {
            let message = "m".repeat(MIB);
            (0..n).for_each(|_| log::write(Severity::Error, &message));
        }
        "attach" => {
            near::look_up(&[policy()]);
            let bytes = vec![7; MIB];
            (0..n).for_each(|_| held::attach(0, &bytes));
        }
        "text" => {
            near::look_up(&[policy()]);
            (0..n).for_each(|_| {
                black_box(held::text(0));
            });
        }
        "near-subjects" | "near-names" => {
            with_subjects(mode, near::look_up);
        }
        "far-subjects" | "far-names" => {
            with_subjects(mode, far::look_up);
        }
        "origin-subjects" | "origin-names" => {
            with_subjects(mode, |subjects| origin::read(subjects, 0));
        }
        deed if spoiling::knows(deed) => {}
        unknown => panic!("a deed that nobody knows: {unknown:?}"),
    }
}

fn hang() -> ! {
    loop {
        black_box(());
    }
}

fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 16]);
    if depth == 0 {
        return 0;
    }
    recurse(black_box(depth + 1)).wrapping_add(here[3])
}

/// All memory that there is, in pieces that have been written to.
fn hoard() -> Vec<Vec<u8>> {
    let mut all = Vec::with_capacity(1 << 16);
    loop {
        let mut piece = Vec::new();
        if piece.try_reserve_exact(MIB - 64).is_err() {
            return all;
        }
        piece.resize(MIB - 64, 0xa5);
        all.push(piece);
    }
}

fn policy() -> Subject<'static> {
    Subject {
        scope: Scope::Tenant,
        name: "policy",
    }
}

/// So many subjects; those of `-names` share one name of a mebibyte, which a host that copies names
/// has to make as many times.
fn with_subjects(mode: &Mode, call: impl Fn(&[Subject<'_>]) -> LookedUp) {
    let name = if mode.deed.ends_with("-names") {
        "n".repeat(MIB)
    } else {
        "policy".to_owned()
    };
    let subject = || Subject {
        scope: Scope::Tenant,
        name: name.as_str(),
    };
    let _ = call(&(0..mode.number()).map(|_| subject()).collect::<Vec<_>>());
}
