//! Which tier answers: near, after a word with the feed where near is old or behind, then far, then
//! the origin. Rules N2, N6 (re-proving), A2 and R2 of the coherence protocol. What a value says is
//! not looked at here, and neither is what it proves: positions and ages come from the host, and a
//! value goes into a cache by `keep` alone (D4).

use crate::ports::{
    LookedUp, Ports, Present, Scope, Settings, Severity, State, Subject, Unavailable, View,
};
use crate::words::Failure;

const POLICY: &[Subject] = &[Subject {
    scope: Scope::Tenant,
    name: "policy",
}];

/// A record that may answer a request, as the host holds it at index 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub view: View,
    /// `None`: there is no such record.
    pub present: Option<Present>,
    /// Whether the answer could not be proven to be as fresh as the bound.
    pub stale: bool,
}

/// Finds the policy of the call's tenant at `min_revision` or later (0: wherever near is).
pub fn policy(
    ports: &mut impl Ports,
    settings: &Settings,
    min_revision: u64,
) -> Result<Record, Failure> {
    let need = Need {
        min_revision,
        bound_ms: settings.bound_ms,
    };
    match near(ports, settings, need) {
        Near::Answer(record) => return Ok(record),
        Near::Nothing => {
            if let Some(record) = far(ports, settings, need, Feed::IsAsked) {
                return Ok(record);
            }
        }
        Near::Off => {
            if let Some(record) = far(ports, settings, need, Feed::MayBeAsked) {
                return Ok(record);
            }
        }
        // Without the log nothing can prove a value of far either (F2).
        Near::NotReady => {}
    }
    origin(ports, settings, need)
}

/// What a view has to meet to be a fresh answer.
#[derive(Clone, Copy)]
struct Need {
    min_revision: u64,
    bound_ms: u32,
}

impl Need {
    fn is_met_by(self, view: View) -> bool {
        view.position >= self.min_revision && view.age_ms <= self.bound_ms
    }
}

enum Near {
    Answer(Record),
    Nothing,
    Off,
    NotReady,
}

fn near(ports: &mut impl Ports, settings: &Settings, need: Need) -> Near {
    let (view, entry) = match ports.near(POLICY) {
        LookedUp::View(view) => (view, ports.entry(0)),
        LookedUp::Unavailable(reason) => return unavailable(reason),
    };
    if need.is_met_by(view) {
        return found(view, entry).map_or(Near::Nothing, Near::Answer);
    }
    // An entry past the bound is proven again together with all others (N6). Where there is no
    // entry, the read that follows brings its own proof: only a demand is worth waiting for.
    if entry == State::Missing && view.position >= need.min_revision {
        return Near::Nothing;
    }
    if catch_up(ports, settings, need, view) == LookedUp::Unavailable(Unavailable::NotReady) {
        return Near::NotReady;
    }
    // Again from the start: what the feed applied may have removed the entry.
    match ports.near(POLICY) {
        LookedUp::View(view) if need.is_met_by(view) => {
            found(view, ports.entry(0)).map_or(Near::Nothing, Near::Answer)
        }
        LookedUp::View(_) => Near::Nothing,
        LookedUp::Unavailable(reason) => unavailable(reason),
    }
}

fn unavailable(reason: Unavailable) -> Near {
    match reason {
        Unavailable::NotReady => Near::NotReady,
        Unavailable::Off | Unavailable::Failed | Unavailable::Late => Near::Off,
    }
}

/// Whether the feed was asked before far is read, so that asking again is of no use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    IsAsked,
    MayBeAsked,
}

/// Nothing that far does fails a request: what it cannot answer, the origin can.
fn far(ports: &mut impl Ports, settings: &Settings, need: Need, feed: Feed) -> Option<Record> {
    let LookedUp::View(view) = ports.far(POLICY) else {
        return None;
    };
    if need.is_met_by(view) {
        let record = found(view, ports.entry(0))?;
        // It is in far already: into near only.
        return Some(kept(ports, record, 0));
    }
    if feed == Feed::IsAsked || view.position >= need.min_revision {
        return None;
    }
    match catch_up(ports, settings, need, view) {
        LookedUp::View(after) if after.position >= need.min_revision => {
            far(ports, settings, need, Feed::IsAsked)
        }
        _ => None,
    }
}

fn origin(ports: &mut impl Ports, settings: &Settings, need: Need) -> Result<Record, Failure> {
    let LookedUp::View(view) = ports.origin(POLICY, need.min_revision) else {
        return Err(Failure::Unavailable);
    };
    // Never an older answer than was demanded (R2).
    if view.position < need.min_revision {
        return Err(Failure::RevisionUnknown);
    }
    let Some(record) = found(view, ports.entry(0)) else {
        ports.log(Severity::Error, "the origin answered without an entry");
        return Err(Failure::Unavailable);
    };
    Ok(kept(ports, record, settings.far_ttl_ms))
}

/// Waits for the feed: for a demand as long as is configured, for a proof as long as the call may
/// last (the host has a deadline of its own for one read of the log).
fn catch_up(ports: &mut impl Ports, settings: &Settings, need: Need, view: View) -> LookedUp {
    let remaining = ports.remaining_ms();
    let wait_ms = if need.min_revision > view.position {
        remaining.min(settings.min_revision_wait_ms)
    } else {
        remaining
    };
    ports.catch_up(need.min_revision, wait_ms)
}

/// "No such record" is an answer like any other; "not here" is none.
fn found(view: View, entry: State) -> Option<Record> {
    let present = match entry {
        State::Missing => return None,
        State::Absent => None,
        State::Present(present) => Some(present),
    };
    Some(Record {
        view,
        present,
        stale: false,
    })
}

fn kept(ports: &mut impl Ports, mut record: Record, far_ttl_ms: u32) -> Record {
    let fill = ports.keep(0, far_ttl_ms);
    if let Some(present) = &mut record.present {
        present.fill = fill;
    }
    record
}

#[cfg(test)]
mod tests;
