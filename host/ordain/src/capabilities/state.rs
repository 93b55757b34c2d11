//! One instance: who calls it now, what that call holds, and how much it may still do. A call's
//! capabilities are bound to one tenant here, by [`HostState::begin`]; no import can name another.
//! Not for what an import does.

use std::sync::Arc;
use std::time::Duration;

use super::limits::{HOST_CALLS_MAX, Limit, Limits};
use super::settings::GuestSettings;
use super::{Call, Services, Turn};
use crate::world::bindings::types::{Tier, View as WitView};
use ordain_coherence::caches::InForce;
use ordain_coherence::far::FarFlight;
use ordain_coherence::origin::OriginFlight;
use ordain_coherence::shares::Whose;
use ordain_coherence::window::View;
use ordain_coherence::{Entry, Moment};
use ordain_store::Record;
use ordain_store::ids::{Key, Tenant};

/// Ticks of one call that are put down to an import that waited.
const WAITS_MAX: u32 = 128;
/// Messages that are logged of one call.
const MESSAGES_MAX: u32 = 20;

/// What a tick of the engine was spent with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// An import waited: nobody had less of the cores for it.
    Waited,
    Computed,
    /// The guest has computed through all that it had.
    OneTooMany,
}

/// State of one instance: who calls it now, and what that call holds.
pub struct HostState {
    pub(super) services: Arc<Services>,
    /// What was in force when the instance was made; it is retired when that changes (rule D1).
    pub(super) in_force: InForce,
    pub(super) settings: GuestSettings,
    /// Digest of the component, the owner of derived bytes.
    pub(super) component: Arc<str>,
    /// The same in short; never 0.
    pub(super) mark: u64,
    pub(crate) limits: Limits,
    pub(super) tenant: Option<Tenant>,
    pub(super) whose: Whose,
    /// Start of the call (t0 of the protocol).
    pub(super) began: Moment,
    /// When it must have been answered.
    pub(super) deadline: Moment,
    /// Ticks of the engine that the guest may still compute through.
    ticks: u32,
    /// Where a call that may wait computes for longer than a tick.
    turn: Option<Turn>,
    /// The call has a thread to itself, for as short as can be.
    pub(crate) is_spared: bool,
    /// It looked up what is known to take longer.
    pub(crate) is_heavy: bool,
    /// The next tick is not the guest's: it passed while an import waited.
    pub(super) waited: bool,
    /// How many such ticks are left: a guest that loops over imports is stopped all the same.
    waits: u32,
    pub(super) held: Vec<Held>,
    /// Headers of unusable far values by key, which a later put may replace (rule A3), and when
    /// they were seen.
    pub(super) seen: Vec<(Key, Vec<u8>, Moment)>,
    /// Shared replies stay findable until the call ends.
    pub(super) flights: (Option<FarFlight>, Option<OriginFlight>),
    /// A record that is tried without being stored: near answers with it and nothing else does.
    pub(super) trial: Option<Arc<Entry>>,
    /// Imports that the guest may still call.
    pub(super) host_calls: u32,
    /// Messages that it may still log.
    pub(super) messages: u32,
    /// The guest asked for what this instance cannot do without waiting.
    pub(crate) wanted_io: bool,
    /// Something did not answer, so the guest is not to blame if it has no answer either.
    pub(crate) excused: bool,
    /// A candidate that answers beside the component in force: it changes nothing.
    pub(super) shadow: bool,
    /// What would have to be waited for counts as failed.
    pub(super) hurried: bool,
}

/// One value that a look-up left here (rule D4): the guest sees its text, never its position.
pub(super) enum Held {
    Missing,
    Near(Arc<Entry>),
    Read {
        key: Key,
        record: Option<Record>,
        as_of: u64,
        /// When it was sent for; `None`: it comes from far.
        from_origin: Option<Moment>,
    },
}

impl HostState {
    pub fn new(services: Arc<Services>, component: Arc<str>, memory: usize) -> HostState {
        let limits = Limits::new(memory);
        let in_force = services.caches.in_force();
        HostState {
            in_force,
            settings: GuestSettings::new(&services.options, in_force),
            services,
            mark: mark(&component),
            component,
            limits,
            tenant: None,
            whose: Whose::Operator,
            began: Moment::now(),
            deadline: Moment::now(),
            // For being instantiated; a call brings its own.
            ticks: 2,
            turn: None,
            is_spared: false,
            is_heavy: false,
            waited: false,
            waits: 0,
            held: Vec::new(),
            seen: Vec::new(),
            flights: (None, None),
            trial: None,
            host_calls: HOST_CALLS_MAX,
            messages: MESSAGES_MAX,
            wanted_io: false,
            excused: false,
            shadow: false,
            hurried: false,
        }
    }

    /// Binds the instance to one call. `tenant` is `None` for calls that concern no tenant; then
    /// every look-up fails.
    pub fn begin(&mut self, call: &Call, ticks: u32) {
        self.tenant.clone_from(&call.tenant);
        self.whose.clone_from(&call.whose);
        self.began = call.began;
        self.deadline = call.deadline;
        self.ticks = ticks;
        self.turn.clone_from(&call.turn);
        self.is_spared = ticks < call.ticks && !call.insists;
        self.is_heavy = false;
        self.waited = false;
        self.waits = WAITS_MAX;
        self.trial.clone_from(&call.trial);
        self.host_calls = HOST_CALLS_MAX;
        self.messages = MESSAGES_MAX;
        self.wanted_io = false;
        self.excused = false;
        self.shadow = call.shadow;
        self.hurried = call.hurried;
    }

    /// Whether the instance was made under what is still in force.
    pub fn is_current(&self) -> bool {
        self.in_force.version == self.services.caches.version()
    }

    pub fn component_digest(&self) -> &Arc<str> {
        &self.component
    }

    /// Names the settings that the guest goes by.
    pub fn settings_digest(&self) -> &Arc<str> {
        &self.settings.digest
    }

    /// Lets go of all that the call held.
    pub fn end(&mut self) {
        self.tenant = None;
        self.held.clear();
        self.seen.clear();
        self.flights = (None, None);
        self.trial = None;
        self.turn = None;
    }

    /// Ticks that the guest may still compute through.
    pub fn ticks_left(&self) -> u32 {
        self.ticks
    }

    /// What a call that may wait does when a tick is over; an error: it has to end.
    pub(crate) fn turn(&self) -> Result<impl Future<Output = ()> + Send + 'static, Limit> {
        let turn = self.turn.clone();
        if turn.as_ref().is_some_and(Turn::is_refused) {
            return Err(Limit::Crowded);
        }
        Ok(async move {
            match turn {
                Some(turn) => turn.come().await,
                None => tokio::task::yield_now().await,
            }
        })
    }

    /// Gives back the place to compute in, if it has one: what comes next only waits.
    pub(super) fn step_aside(&self) {
        if let Some(turn) = &self.turn {
            turn.leave();
        }
    }

    /// The engine's clock ticked while the guest was running.
    /// Ticks are counted rather than time taken: a guest whose thread was given to others, or whose
    /// import waited, has computed for one tick at most, however long it took.
    pub(crate) fn tick(&mut self) -> Tick {
        if std::mem::take(&mut self.waited)
            && let Some(waits) = self.waits.checked_sub(1)
        {
            self.waits = waits;
            return Tick::Waited;
        }
        let left = self.ticks.checked_sub(1);
        self.ticks = left.unwrap_or(0);
        left.map_or(Tick::OneTooMany, |_| Tick::Computed)
    }

    /// Whether all that near has given belongs to the state at `watermark`. An entry that was
    /// filled after a feed step may be newer than the view that was taken before (rule R4): the
    /// caller starts over, or here it is left out for good.
    pub(super) fn within(&mut self, watermark: u64, leave_out: bool) -> bool {
        let newer = |held: &Held| matches!(held, Held::Near(entry) if entry.as_of > watermark);
        if leave_out {
            for held in self.held.iter_mut().filter(|held| newer(held)) {
                *held = Held::Missing;
            }
        }
        !self.held.iter().any(newer)
    }

    pub(super) fn view(&self, view: View, tier: Tier) -> WitView {
        WitView {
            position: view.watermark,
            age_ms: millis(self.began.since(view.proven)),
            tier,
        }
    }
}

/// A short name of a component, from the beginning of its digest.
fn mark(digest: &str) -> u64 {
    let digits = digest.trim_start_matches("sha256:").get(..16);
    digits.map_or(1, |digits| u64::from_str_radix(digits, 16).unwrap_or(1) | 1)
}

/// Whole milliseconds, rounded up: an age is never told smaller than it is.
pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
