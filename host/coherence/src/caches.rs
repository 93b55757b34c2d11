//! Which caches are on, and why not: what is configured, what the fleet's settings say (rows of the
//! log, rule D1), what this host overrides, and what follows from the three. The freshness bound
//! and the stale limit are settings of the same kind. Not for caching, nor for how settings are
//! stored.

mod configured;
mod setting;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use ordain_store::FleetSetting;
use ordain_store::ids::Kind;

pub use configured::{Configured, Switches};
pub use setting::{Setting, Source, ValueError};
pub use value::{Value, duration, switch};

/// Pause between two reads of the change log (rule F3): no bound can be below it.
pub const FEED_INTERVAL: Duration = Duration::from_millis(250);

/// What holds now. An instance of the component keeps what held when it was made, and is retired
/// when that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// Differs whenever anything else does.
    pub version: u64,
    pub near: Kinds,
    pub far: Kinds,
    /// An answer older than this is not fresh.
    pub bound: Duration,
    /// An answer older than this is not even given as a stale one.
    pub stale_limit: Duration,
}

/// Of which kinds of record a tier keeps any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    pub policy: bool,
    pub config: bool,
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |on| if on { "on" } else { "off" };
        write!(
            f,
            "policy {}, config {}",
            word(self.policy),
            word(self.config)
        )
    }
}

impl Kinds {
    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Policy => self.policy,
            Kind::Config => self.config,
        }
    }

    pub fn any(self) -> bool {
        self.policy || self.config
    }
}

/// One setting and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingReport {
    pub setting: Setting,
    pub value: Value,
    pub source: Source,
    pub configured: Value,
    /// Of the fleet, with the revision that set it.
    pub fleet: Option<(Value, u64)>,
    pub local: Option<Value>,
}

/// One cache: a kind of record in a tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheReport {
    pub kind: Kind,
    pub tier: &'static str,
    /// Why it is off; `None`: it is on.
    pub off: Option<String>,
}

pub struct Caches {
    configured: BTreeMap<Setting, Value>,
    has_far: bool,
    feed_deadline: Duration,
    state: Mutex<State>,
    in_force: ArcSwap<InForce>,
    version: AtomicU64,
}

#[derive(Default)]
struct State {
    fleet: BTreeMap<Setting, (Value, u64)>,
    local: BTreeMap<Setting, Value>,
}

impl State {
    /// The first that says something: this host's override, the fleet, the configuration (D1).
    fn value(&self, setting: Setting, configured: Value) -> (Value, Source) {
        if let Some(value) = self.local.get(&setting) {
            return (*value, Source::Local);
        }
        match self.fleet.get(&setting) {
            Some((value, revision)) => (*value, Source::Fleet(*revision)),
            None => (configured, Source::Configuration),
        }
    }
}

impl Caches {
    pub fn new(configured: impl Into<Configured>) -> Caches {
        let Configured {
            switches,
            has_far,
            bound,
            stale_limit,
            feed_deadline,
        } = configured.into();
        let configured = BTreeMap::from([
            (Setting::All, Value::Switch(switches.all)),
            (Setting::Policy, Value::Switch(switches.policy)),
            (Setting::Config, Value::Switch(switches.config)),
            (Setting::Near, Value::Switch(switches.near)),
            (Setting::Far, Value::Switch(switches.far)),
            (Setting::Bound, Value::Time(bound)),
            (Setting::StaleLimit, Value::Time(stale_limit)),
        ]);
        let caches = Caches {
            configured,
            has_far,
            feed_deadline,
            state: Mutex::default(),
            in_force: ArcSwap::from_pointee(InForce {
                version: 0,
                near: Kinds::default(),
                far: Kinds::default(),
                bound,
                stale_limit,
            }),
            version: AtomicU64::new(0),
        };
        caches.settle(&caches.state());
        caches
    }

    pub fn in_force(&self) -> InForce {
        **self.in_force.load()
    }

    /// Of what is in force: cheap enough for every call.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Takes the fleet's settings, all of them, as the origin has them. Returns whether anything is
    /// different now; then near must be emptied. What cannot be understood (an edit by hand, a
    /// newer program) is as if it were not there.
    pub fn set_fleet(&self, settings: &[FleetSetting]) -> bool {
        let mut fleet = BTreeMap::new();
        for row in settings {
            let value = Setting::named(&row.name)
                .ok_or(ValueError::Unknown)
                .and_then(|setting| {
                    let value = setting.parse(&row.value)?;
                    self.check(setting, value).map(|()| (setting, value))
                });
            match value {
                Ok((setting, value)) => {
                    fleet.insert(setting, (value, row.revision));
                }
                Err(error) => {
                    let (setting, value) = (&*row.name, &*row.value);
                    tracing::error!(setting, value, %error, "a setting of the fleet is ignored");
                }
            }
        }
        let mut state = self.state();
        state.fleet = fleet;
        self.settle(&state)
    }

    /// Overrides settings on this host alone, or lets go of an override (`None`). Needs no origin.
    /// Returns whether anything is different now.
    pub fn set_local(&self, changes: &[(Setting, Option<Value>)]) -> Result<bool, ValueError> {
        for (setting, value) in changes {
            if let Some(value) = value {
                self.check(*setting, *value)?;
            }
        }
        let mut state = self.state();
        for (setting, value) in changes {
            match value {
                Some(value) => state.local.insert(*setting, *value),
                None => state.local.remove(setting),
            };
        }
        Ok(self.settle(&state))
    }

    /// Rules F3 and D1: a host that is in order must be able to prove itself within the bound.
    pub fn check(&self, setting: Setting, value: Value) -> Result<(), ValueError> {
        match (setting, value) {
            (Setting::Bound, Value::Time(bound)) if bound <= FEED_INTERVAL + self.feed_deadline => {
                Err(ValueError::Bound(self.feed_deadline))
            }
            _ => Ok(()),
        }
    }

    pub fn settings(&self) -> Vec<SettingReport> {
        let state = self.state();
        let report = |(setting, configured): (&Setting, &Value)| {
            let (value, source) = state.value(*setting, *configured);
            SettingReport {
                setting: *setting,
                value,
                source,
                configured: *configured,
                fleet: state.fleet.get(setting).copied(),
                local: state.local.get(setting).copied(),
            }
        };
        self.configured.iter().map(report).collect()
    }

    pub fn caches(&self) -> Vec<CacheReport> {
        let state = self.state();
        let cache = |kind, tier| {
            let off = self.off(&state, kind, tier);
            CacheReport {
                kind: match kind {
                    Setting::Config => Kind::Config,
                    _ => Kind::Policy,
                },
                tier: match tier {
                    Setting::Far => "far",
                    _ => "near",
                },
                off,
            }
        };
        vec![
            cache(Setting::Policy, Setting::Near),
            cache(Setting::Policy, Setting::Far),
            cache(Setting::Config, Setting::Near),
            cache(Setting::Config, Setting::Far),
        ]
    }

    /// A cache is on if every switch that concerns it is, and its backend is configured. The first
    /// reason why it is off.
    fn off(&self, state: &State, kind: Setting, tier: Setting) -> Option<String> {
        for setting in [Setting::All, kind, tier] {
            let configured = self.configured.get(&setting)?;
            let (value, source) = state.value(setting, *configured);
            if value == Value::Switch(false) {
                return Some(match source {
                    Source::Configuration => format!("{} is off", setting.variable()),
                    Source::Fleet(revision) => {
                        let name = setting.member();
                        format!("the fleet's switch `{name}` is off since revision {revision}")
                    }
                    Source::Local => {
                        let name = setting.member();
                        format!("the switch `{name}` of this instance is off")
                    }
                });
            }
        }
        (tier == Setting::Far && !self.has_far).then(|| "REDIS_URL is not set".to_owned())
    }

    /// Works out what is in force. Returns whether it differs from before.
    fn settle(&self, state: &State) -> bool {
        let time = |setting, fallback| {
            let configured = self.configured.get(&setting).copied();
            match configured.map(|value| state.value(setting, value).0) {
                Some(Value::Time(time)) => time,
                _ => fallback,
            }
        };
        let before = self.in_force();
        let kinds = |tier| Kinds {
            policy: self.off(state, Setting::Policy, tier).is_none(),
            config: self.off(state, Setting::Config, tier).is_none(),
        };
        let after = InForce {
            version: before.version,
            near: kinds(Setting::Near),
            far: kinds(Setting::Far),
            bound: time(Setting::Bound, before.bound),
            stale_limit: time(Setting::StaleLimit, before.stale_limit),
        };
        if after == before {
            return false;
        }
        let version = before.version + 1;
        self.in_force
            .store(std::sync::Arc::new(InForce { version, ..after }));
        self.version.store(version, Ordering::Release);
        if before.version > 0 {
            tracing::warn!(
                near = %after.near,
                far = %after.far,
                bound = ?after.bound,
                stale_limit = ?after.stale_limit,
                "the settings of the caches have changed"
            );
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
