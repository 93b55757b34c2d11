//! What the guest may do: one file per import of the world, each a few lines over `coherence`.
//! A call's capabilities are bound to one tenant here, by [`HostState::begin`]; no import can name
//! another. Not for policy rules (the guest) nor for drivers (`backends`).

mod far;
mod feed;
mod held;
mod near;
mod policy_origin;
mod services;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{StoreLimits, StoreLimitsBuilder};

use crate::backends::Record;
use crate::caches::{Caches, InForce};
use crate::coherence::far::{Far, FarFlight};
use crate::coherence::origin::{OriginFlight, OriginReader};
use crate::coherence::window::View;
use crate::coherence::{Coherence, Entry, Moment};
use crate::ids::{Key, Tenant};
use crate::options::Options;
use crate::runtime::bindings;
use crate::runtime::bindings::types::{LookedUp, Scope, Subject, Tier, Unavailable};

use services::GuestSettings;

/// Ticks of one call that are put down to an import that waited.
const WAITS_MAX: u32 = 64;

/// What all calls share.
pub struct Services {
    pub coherence: Arc<Coherence>,
    pub origin: Arc<OriginReader>,
    /// `None`: no far cache is configured.
    pub far: Option<Arc<Far>>,
    pub caches: Arc<Caches>,
    pub options: Options,
    /// Fills that wait for the feed, at most so many at once.
    pub late_fills: Arc<Semaphore>,
}

/// State of one instance: who calls it now, and what that call holds.
pub struct HostState {
    services: Arc<Services>,
    /// What was in force when the instance was made; it is retired when that changes (rule D1).
    in_force: InForce,
    settings: GuestSettings,
    /// Digest of the component, the owner of derived bytes.
    component: Arc<str>,
    pub(crate) limits: StoreLimits,
    tenant: Option<Tenant>,
    /// Start of the call (t0 of the protocol).
    began: Moment,
    /// When it must have been answered.
    deadline: Moment,
    /// Ticks of the engine that the guest may still compute through.
    ticks: u32,
    /// The next tick is not the guest's: it passed while an import waited.
    waited: bool,
    /// How many such ticks are left: a guest that loops over imports is stopped all the same.
    waits: u32,
    held: Vec<Held>,
    /// Headers of unusable far values by key, which a later put may replace (rule A3), and when they
    /// were seen.
    seen: Vec<(Key, Vec<u8>, Moment)>,
    /// Shared replies stay findable until the call ends.
    flights: (Option<FarFlight>, Option<OriginFlight>),
    /// A record that is tried without being stored: near answers with it and nothing else does.
    trial: Option<Arc<Entry>>,
    /// The guest asked for what this instance cannot do without waiting.
    pub(crate) wanted_io: bool,
    /// What would have to be waited for counts as failed.
    hurried: bool,
}

/// One value that a look-up left here (rule D4): the guest sees its text, never its position.
enum Held {
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
        let limits = StoreLimitsBuilder::new().memory_size(memory).build();
        let in_force = services.caches.in_force();
        HostState {
            in_force,
            settings: GuestSettings::new(&services.options, in_force),
            services,
            component,
            limits,
            tenant: None,
            began: Moment::now(),
            deadline: Moment::now(),
            // For being instantiated; a call brings its own.
            ticks: 100,
            waited: false,
            waits: 0,
            held: Vec::new(),
            seen: Vec::new(),
            flights: (None, None),
            trial: None,
            wanted_io: false,
            hurried: false,
        }
    }

    /// Binds the instance to one call. `tenant` is `None` for calls that concern no tenant; then
    /// every look-up fails.
    pub fn begin(&mut self, call: &Call) {
        self.tenant.clone_from(&call.tenant);
        self.began = call.began;
        self.deadline = call.deadline;
        self.ticks = call.ticks;
        self.waited = false;
        self.waits = WAITS_MAX;
        self.trial.clone_from(&call.trial);
        self.wanted_io = false;
        self.hurried = call.hurried;
    }

    /// Whether the instance was made under what is still in force.
    pub fn is_current(&self) -> bool {
        self.in_force.version == self.services.caches.version()
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
    }

    /// The engine's clock ticked while the guest was running; false if that was once too often.
    /// Ticks are counted rather than time taken: a guest whose thread was given to others, or whose
    /// import waited, has computed for one tick at most, however long it took.
    pub(crate) fn tick(&mut self) -> bool {
        if std::mem::take(&mut self.waited)
            && let Some(waits) = self.waits.checked_sub(1)
        {
            self.waits = waits;
            return true;
        }
        let left = self.ticks.checked_sub(1);
        self.ticks = left.unwrap_or(0);
        left.is_some()
    }

    /// An import has waited.
    fn resume(&mut self) {
        self.waited = true;
    }

    /// The keys that the guest means, of this call's tenant or the fleet and nobody else.
    fn keys(&self, subjects: &[Subject]) -> Option<Vec<Key>> {
        subjects
            .iter()
            .map(|subject| {
                let tenant = match subject.scope {
                    Scope::Tenant => Some(self.tenant.clone()?),
                    Scope::Fleet => None,
                };
                Some(Key {
                    tenant,
                    subject: subject.name.as_str().into(),
                })
            })
            .collect()
    }

    /// Whether all that near has given belongs to the state at `watermark`. An entry that was
    /// filled after a feed step may be newer than the view that was taken before (rule R4): the
    /// caller starts over, or here it is left out for good.
    fn within(&mut self, watermark: u64, leave_out: bool) -> bool {
        let newer = |held: &Held| matches!(held, Held::Near(entry) if entry.as_of > watermark);
        if leave_out {
            for held in self.held.iter_mut().filter(|held| newer(held)) {
                *held = Held::Missing;
            }
        }
        !self.held.iter().any(newer)
    }

    fn view(&self, view: View, tier: Tier) -> LookedUp {
        LookedUp::View(bindings::types::View {
            position: view.watermark,
            age_ms: millis(self.began.since(view.proven)),
            tier,
        })
    }
}

/// Whole milliseconds, rounded up: an age is never told smaller than it is.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// What an instance is told about a call.
#[derive(Clone)]
pub struct Call {
    pub tenant: Option<Tenant>,
    pub began: Moment,
    pub deadline: Moment,
    /// How many ticks of the engine the guest may compute through.
    pub ticks: u32,
    pub trial: Option<Arc<Entry>>,
    /// There is no place to wait in: servers count as not answering.
    pub hurried: bool,
}

/// Links what answers at once; the same for both kinds of instances.
fn link_common(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    bindings::settings::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    bindings::clock::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    bindings::log::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    bindings::held::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    near::link(linker)?;
    bindings::types::add_to_linker::<_, HasSelf<_>>(linker, |s| s)
}

/// Links instances that wait for servers: their calls are async.
pub fn link_waiting(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_common(linker)?;
    bindings::far::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    bindings::policy_origin::add_to_linker::<_, HasSelf<_>>(linker, |s| s)?;
    bindings::feed::add_to_linker::<_, HasSelf<_>>(linker, |s| s)
}

/// Links instances that never wait, which makes their calls cheaper: what would have to wait answers
/// `off` and notes that it was wanted, and the caller repeats the call on a waiting instance. What is
/// known without waiting (a switch that is off, a breaker that is open) is answered here.
pub fn link_prompt(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_common(linker)?;
    linker.instance("ordain:policy/far@0.1.0")?.func_wrap(
        "look-up",
        |mut store: wasmtime::StoreContextMut<'_, HostState>, (_,): (Vec<Subject>,)| {
            let state = store.data_mut();
            let known = state.far_promptly();
            Ok((state.promptly(known),))
        },
    )?;
    linker
        .instance("ordain:policy/policy-origin@0.1.0")?
        .func_wrap(
            "read",
            |mut store: wasmtime::StoreContextMut<'_, HostState>, (_, _): (Vec<Subject>, u64)| {
                let state = store.data_mut();
                let known = state.origin_promptly();
                Ok((state.promptly(known),))
            },
        )?;
    linker.instance("ordain:policy/feed@0.1.0")?.func_wrap(
        "catch-up",
        |mut store: wasmtime::StoreContextMut<'_, HostState>, (_, _): (u64, u32)| {
            let state = store.data_mut();
            let known = state.feed_promptly();
            Ok((state.promptly(known),))
        },
    )
}

impl HostState {
    fn promptly(&mut self, known: Option<Unavailable>) -> LookedUp {
        let known = known.or(self.hurried.then_some(Unavailable::Failed));
        self.wanted_io |= known.is_none();
        LookedUp::Unavailable(known.unwrap_or(Unavailable::Off))
    }
}
