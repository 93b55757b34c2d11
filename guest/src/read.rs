//! Which tier answers: near, after a word with the feed where near is old or behind, then far, then
//! the origin; and if the origin does not answer, near or far with a stale answer. Rules N2, N6
//! (re-proving), A2, R2 and R3 of the coherence protocol. What a value says is not looked at here, and
//! neither is what it proves: positions and ages come from the host, and a value goes into a cache
//! by `keep` alone (D4).

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
        stale_limit_ms: settings.stale_limit_ms,
    };
    let feed = match near(ports, settings, need) {
        Near::Answer(record) => return Ok(record),
        Near::Nothing => Some(Feed::IsAsked),
        Near::Off => Some(Feed::MayBeAsked),
        // Without the log nothing can prove a value of far either (F2).
        Near::NotReady => None,
    };
    let far = feed.map_or(Far::Nothing, |feed| far(ports, settings, need, feed));
    if let Far::Answer(record) = far {
        return Ok(record);
    }
    origin(ports, settings, need).or_else(|failure| match failure {
        Failure::Unavailable if feed.is_some() => {
            stale(ports, need, far == Far::Unproven).ok_or(Failure::Unavailable)
        }
        other => Err(other),
    })
}

/// What a view has to meet to be an answer.
#[derive(Clone, Copy)]
struct Need {
    min_revision: u64,
    bound_ms: u32,
    stale_limit_ms: u32,
}

impl Need {
    fn is_met_by(self, view: View) -> bool {
        view.position >= self.min_revision && view.age_ms <= self.bound_ms
    }

    /// Whether an answer of this view, marked as stale, is better than none (R3). A demand holds for
    /// stale answers too (R2).
    fn allows_stale(self, view: View) -> bool {
        view.position >= self.min_revision && view.age_ms <= self.stale_limit_ms.max(self.bound_ms)
    }

    fn found(self, view: View, entry: State) -> Option<Record> {
        found(view, entry).map(|record| Record {
            stale: view.age_ms > self.bound_ms,
            ..record
        })
    }
}

enum Near {
    /// Fresh, or stale if the origin is known not to answer.
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
    match catch_up(ports, settings, need, view) {
        LookedUp::View(_) => {}
        LookedUp::Unavailable(Unavailable::NotReady) => return Near::NotReady,
        // The origin is known not to answer, and nobody has waited: what near has is as good now as
        // it was when it was looked up.
        LookedUp::Unavailable(_) if need.allows_stale(view) => {
            return need.found(view, entry).map_or(Near::Nothing, Near::Answer);
        }
        LookedUp::Unavailable(_) => return Near::Nothing,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Far {
    Answer(Record),
    /// There is a value, which is not proven to be as fresh as the bound.
    Unproven,
    Nothing,
}

/// Nothing that far does fails a request: what it cannot answer, the origin can.
fn far(ports: &mut impl Ports, settings: &Settings, need: Need, feed: Feed) -> Far {
    let LookedUp::View(view) = ports.far(POLICY) else {
        return Far::Nothing;
    };
    if need.is_met_by(view) {
        // It is in far already: into near only.
        return found(view, ports.entry(0))
            .map_or(Far::Nothing, |record| Far::Answer(kept(ports, record, 0)));
    }
    if view.position >= need.min_revision {
        return match ports.entry(0) {
            State::Missing => Far::Nothing,
            State::Absent | State::Present(_) => Far::Unproven,
        };
    }
    if feed == Feed::IsAsked {
        return Far::Nothing;
    }
    match catch_up(ports, settings, need, view) {
        LookedUp::View(after) if after.position >= need.min_revision => {
            far(ports, settings, need, Feed::IsAsked)
        }
        _ => Far::Nothing,
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

/// The origin does not answer: what near or far can still vouch for, up to the stale limit (R3). Looked
/// up anew, since this host may have learnt of a change while it waited: then there is no stale
/// answer, for no entry with a newer change is ever shown.
fn stale(ports: &mut impl Ports, need: Need, far_has_it: bool) -> Option<Record> {
    if let LookedUp::View(view) = ports.near(POLICY)
        && need.allows_stale(view)
        && let Some(record) = need.found(view, ports.entry(0))
    {
        return Some(record);
    }
    if !far_has_it {
        return None;
    }
    match ports.far(POLICY) {
        LookedUp::View(view) if need.allows_stale(view) => {
            let record = need.found(view, ports.entry(0))?;
            Some(kept(ports, record, 0))
        }
        _ => None,
    }
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
