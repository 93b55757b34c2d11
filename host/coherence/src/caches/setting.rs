//! The settings that can be changed while Ordain runs: their names, and which values they have. Not
//! for what they do.

use std::time::Duration;

use super::value::{Value, duration, switch};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Switch of all caches.
    All,
    /// Switches of one kind of record.
    Policy,
    Config,
    /// Switches of one tier.
    Near,
    Far,
    /// How old a fresh answer may be.
    Bound,
    /// How old a stale answer may be.
    StaleLimit,
}

/// Who decided the value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An override of this host.
    Local,
    /// A row of the log, written at this revision.
    Fleet(u64),
    Configuration,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("there is no such setting")]
    Unknown,
    #[error("{0}")]
    Unreadable(String),
    #[error(
        "the bound must be above the feed's interval (250ms) plus its deadline ({})",
        humantime::format_duration(*.0)
    )]
    Bound(Duration),
}

impl Setting {
    pub const ALL: [Setting; 7] = [
        Setting::All,
        Setting::Policy,
        Setting::Config,
        Setting::Near,
        Setting::Far,
        Setting::Bound,
        Setting::StaleLimit,
    ];

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Setting::All => "cache",
            Setting::Policy => "cache.policy",
            Setting::Config => "cache.config",
            Setting::Near => "cache.near",
            Setting::Far => "cache.far",
            Setting::Bound => "bound",
            Setting::StaleLimit => "stale-limit",
        }
    }

    /// Its name in JSON and on the command line.
    pub fn member(self) -> &'static str {
        match self {
            Setting::All => "all",
            Setting::Policy => "policy",
            Setting::Config => "config",
            Setting::Near => "near",
            Setting::Far => "far",
            Setting::Bound => "bound",
            Setting::StaleLimit => "staleLimit",
        }
    }

    /// The variable that configures it.
    pub fn variable(self) -> &'static str {
        match self {
            Setting::All => "ORDAIN_CACHE",
            Setting::Policy => "ORDAIN_CACHE_POLICY",
            Setting::Config => "ORDAIN_CACHE_CONFIG",
            Setting::Near => "ORDAIN_CACHE_NEAR",
            Setting::Far => "ORDAIN_CACHE_FAR",
            Setting::Bound => "ORDAIN_BOUND",
            Setting::StaleLimit => "ORDAIN_STALE_LIMIT",
        }
    }

    pub fn named(name: &str) -> Option<Setting> {
        Setting::ALL.into_iter().find(|s| s.name() == name)
    }

    pub fn of_member(member: &str) -> Option<Setting> {
        Setting::ALL.into_iter().find(|s| s.member() == member)
    }

    pub fn is_switch(self) -> bool {
        !matches!(self, Setting::Bound | Setting::StaleLimit)
    }

    /// Reads a value as the configuration would.
    pub fn parse(self, text: &str) -> Result<Value, ValueError> {
        let value = match self.is_switch() {
            true => switch(text).map(Value::Switch),
            false => duration(text).map(Value::Time),
        };
        value.map_err(ValueError::Unreadable)
    }
}
