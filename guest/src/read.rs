//! Which tier answers: near, after a word with the feed where near is old or behind, then far, then
//! the origin; and if the origin does not answer, near or far with a stale answer. Rules N2, N6
//! (re-proving), A2, R2 and R3 of the coherence protocol. What a value says is not looked at here,
//! and neither is what it proves: positions and ages come from the host, and a value goes into a
//! cache by `keep` alone (D4).

use crate::ports::{
    LookedUp, Ports, Present, Scope, Settings, Severity, State, Subject, Unavailable, View,
};
use crate::words::{Failure, Provenance};

/// Which records answer a call: all of them, or a tier does not answer. So all are of one view
/// (R4), and whatever is missing costs one round trip for all.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a, const N: usize> {
    pub subjects: [Subject<'a>; N],
}

/// The policy of the call's tenant.
pub const POLICY: Wanted<'static, 1> = Wanted {
    subjects: [Subject {
        scope: Scope::Tenant,
        name: "policy",
    }],
};

/// Records that may answer a call, as the host holds them at the index that they were asked under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<const N: usize> {
    pub view: View,
    /// `None`: there is no such record.
    pub present: [Option<Present>; N],
    /// Whether the answer could not be proven to be as fresh as the bound.
    pub stale: bool,
}

impl<const N: usize> Found<N> {
    pub fn provenance(&self) -> Provenance {
        let revisions = self
            .present
            .iter()
            .flatten()
            .map(|present| present.revision);
        Provenance {
            revision: revisions.max(),
            tier: self.view.tier,
            stale: self.stale,
            age_ms: self.view.age_ms,
            position: self.view.position,
        }
    }
}

/// Finds records at `min_revision` or later (0: wherever near is).
pub fn find<const N: usize>(
    ports: &mut impl Ports,
    settings: &Settings,
    wanted: &Wanted<'_, N>,
    min_revision: u64,
) -> Result<Found<N>, Failure> {
    let need = Need {
        min_revision,
        bound_ms: settings.bound_ms,
        stale_limit_ms: settings.stale_limit_ms,
    };
    let feed = match near(ports, settings, wanted, need) {
        Near::Answer(found) => return Ok(found),
        Near::Nothing => Some(Feed::IsAsked),
        Near::Off => Some(Feed::MayBeAsked),
        // Without the log nothing can prove a value of far either (F2).
        Near::NotReady => None,
    };
    let far = feed.map_or(Far::Nothing, |feed| {
        far(ports, settings, wanted, need, feed)
    });
    if let Far::Answer(found) = far {
        return Ok(found);
    }
    let far_has_it = matches!(far, Far::Unproven);
    origin(ports, settings, wanted, need).or_else(|failure| match failure {
        Failure::Unavailable if feed.is_some() => {
            stale(ports, wanted, need, far_has_it).ok_or(Failure::Unavailable)
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

    /// Whether an answer of this view, marked as stale, is better than none (R3). A demand holds
    /// for stale answers too (R2).
    fn allows_stale(self, view: View) -> bool {
        view.position >= self.min_revision && view.age_ms <= self.stale_limit_ms.max(self.bound_ms)
    }

    fn found<const N: usize>(self, view: View, entries: Entries<N>) -> Option<Found<N>> {
        Some(Found {
            view,
            present: entries?,
            stale: view.age_ms > self.bound_ms,
        })
    }
}

/// What a look-up left of each subject; `None`: of some of them nothing. "No such record" is an
/// answer like any other; "not here" is none.
type Entries<const N: usize> = Option<[Option<Present>; N]>;

fn entries<const N: usize>(ports: &mut impl Ports) -> Entries<N> {
    let mut present = [None; N];
    for (index, present) in (0..).zip(&mut present) {
        *present = match ports.entry(index) {
            State::Missing => return None,
            State::Absent => None,
            State::Present(present) => Some(present),
        };
    }
    Some(present)
}

enum Near<const N: usize> {
    /// Fresh, or stale if the origin is known not to answer.
    Answer(Found<N>),
    Nothing,
    Off,
    NotReady,
}

impl<const N: usize> From<Option<Found<N>>> for Near<N> {
    fn from(found: Option<Found<N>>) -> Near<N> {
        found.map_or(Near::Nothing, Near::Answer)
    }
}

impl<const N: usize> From<Unavailable> for Near<N> {
    fn from(reason: Unavailable) -> Near<N> {
        match reason {
            Unavailable::NotReady => Near::NotReady,
            Unavailable::Off | Unavailable::Failed | Unavailable::Late => Near::Off,
        }
    }
}

fn near<const N: usize>(
    ports: &mut impl Ports,
    settings: &Settings,
    wanted: &Wanted<'_, N>,
    need: Need,
) -> Near<N> {
    let view = match ports.near(&wanted.subjects) {
        LookedUp::View(view) => view,
        LookedUp::Unavailable(reason) => return reason.into(),
    };
    let entries = entries::<N>(ports);
    if need.is_met_by(view) {
        return need.found(view, entries).into();
    }
    // Entries past the bound are proven again together with all others (N6). Where one is missing,
    // the read that follows brings its own proof: only a demand is worth waiting for.
    if entries.is_none() && view.position >= need.min_revision {
        return Near::Nothing;
    }
    match catch_up(ports, settings, need, view) {
        LookedUp::View(_) => {}
        LookedUp::Unavailable(Unavailable::NotReady) => return Near::NotReady,
        // The origin is known not to answer, and nobody has waited: what near has is as good now as
        // it was when it was looked up.
        LookedUp::Unavailable(_) if need.allows_stale(view) => {
            return need.found(view, entries).into();
        }
        LookedUp::Unavailable(_) => return Near::Nothing,
    }
    // Again from the start: what the feed applied may have removed an entry.
    match ports.near(&wanted.subjects) {
        LookedUp::View(view) if need.is_met_by(view) => {
            let entries = self::entries(ports);
            need.found(view, entries).into()
        }
        LookedUp::View(_) => Near::Nothing,
        LookedUp::Unavailable(reason) => reason.into(),
    }
}

/// Whether the feed was asked before far is read, so that asking again is of no use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    IsAsked,
    MayBeAsked,
}

enum Far<const N: usize> {
    Answer(Found<N>),
    /// There are values, which are not proven to be as fresh as the bound.
    Unproven,
    Nothing,
}

/// Nothing that far does fails a call: what it cannot answer, the origin can.
fn far<const N: usize>(
    ports: &mut impl Ports,
    settings: &Settings,
    wanted: &Wanted<'_, N>,
    need: Need,
    feed: Feed,
) -> Far<N> {
    let LookedUp::View(view) = ports.far(&wanted.subjects) else {
        return Far::Nothing;
    };
    if need.is_met_by(view) {
        // It is in far already: into near only.
        let entries = entries(ports);
        return need
            .found(view, entries)
            .map_or(Far::Nothing, |found| Far::Answer(kept(ports, found, 0)));
    }
    if view.position >= need.min_revision {
        return match entries::<N>(ports) {
            None => Far::Nothing,
            Some(_) => Far::Unproven,
        };
    }
    if feed == Feed::IsAsked {
        return Far::Nothing;
    }
    match catch_up(ports, settings, need, view) {
        LookedUp::View(after) if after.position >= need.min_revision => {
            far(ports, settings, wanted, need, Feed::IsAsked)
        }
        _ => Far::Nothing,
    }
}

fn origin<const N: usize>(
    ports: &mut impl Ports,
    settings: &Settings,
    wanted: &Wanted<'_, N>,
    need: Need,
) -> Result<Found<N>, Failure> {
    let looked_up = ports.origin(&wanted.subjects, need.min_revision);
    let LookedUp::View(view) = looked_up else {
        return Err(Failure::Unavailable);
    };
    // Never an older answer than was demanded (R2).
    if view.position < need.min_revision {
        return Err(Failure::RevisionUnknown);
    }
    let Some(present) = entries(ports) else {
        ports.log(Severity::Error, "the origin answered without an entry");
        return Err(Failure::Unavailable);
    };
    let found = Found {
        view,
        present,
        stale: false,
    };
    Ok(kept(ports, found, settings.far_ttl_ms))
}

/// The origin does not answer: what near or far can still vouch for, up to the stale limit (R3).
/// Looked up anew, since this host may have learnt of a change while it waited: then there is no
/// stale answer, for no entry with a newer change is ever shown.
fn stale<const N: usize>(
    ports: &mut impl Ports,
    wanted: &Wanted<'_, N>,
    need: Need,
    far_has_it: bool,
) -> Option<Found<N>> {
    if let LookedUp::View(view) = ports.near(&wanted.subjects)
        && need.allows_stale(view)
    {
        let entries = entries(ports);
        if let Some(found) = need.found(view, entries) {
            return Some(found);
        }
    }
    if !far_has_it {
        return None;
    }
    match ports.far(&wanted.subjects) {
        LookedUp::View(view) if need.allows_stale(view) => {
            let entries = entries(ports);
            let found = need.found(view, entries)?;
            Some(kept(ports, found, 0))
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

fn kept<const N: usize>(ports: &mut impl Ports, mut found: Found<N>, far_ttl_ms: u32) -> Found<N> {
    for (index, present) in (0..).zip(&mut found.present) {
        let fill = ports.keep(index, far_ttl_ms);
        if let Some(present) = present {
            present.fill = fill;
        }
    }
    found
}

#[cfg(test)]
mod tests;
