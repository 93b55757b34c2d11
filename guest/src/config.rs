//! Configs: what holds for a tenant or a user, merged field by field from three levels that are
//! cached each by itself. The read is `read`'s, what a level may hold is `level`'s. Not for
//! policies.

pub mod level;

use crate::limits;
use crate::ports::{Ports, Present, Scope, Severity, Store, Subject};
use crate::read::{self, Found, Wanted};
use crate::resolve::Instance;
use crate::words::{Config, Effective, Failure, Fault, Level, MergeStrategy, PathStrategy};
use level::Fields;

const GLOBAL: Subject<'static> = Subject {
    scope: Scope::Fleet,
    name: "config",
};
const TENANT: Subject<'static> = Subject {
    scope: Scope::Tenant,
    name: "config",
};
/// Before the id of the user whose level is meant.
const USER: &str = "config/";

/// What holds for a user of the call's tenant, or for the tenant, at `min_revision` or later.
pub fn effective(
    instance: &mut Instance,
    ports: &mut impl Ports,
    user: Option<&str>,
    min_revision: u64,
) -> Result<Effective, Failure> {
    let settings = instance.settings(ports);
    let store = Store::Configs;
    match user {
        None => {
            let subjects = [GLOBAL, TENANT];
            let wanted = Wanted { store, subjects };
            let found = read::find(ports, settings, &wanted, min_revision)?;
            merged(ports, &found)
        }
        Some(user) => {
            if let Some(message) = limits::user_fault(user) {
                return Err(Failure::RequestInvalid(vec![Fault {
                    pointer: "/user".to_owned(),
                    message,
                }]));
            }
            let name = format!("{USER}{user}");
            let of_user = Subject {
                scope: Scope::Tenant,
                name: &name,
            };
            let subjects = [GLOBAL, TENANT, of_user];
            let wanted = Wanted { store, subjects };
            let found = read::find(ports, settings, &wanted, min_revision)?;
            merged(ports, &found)
        }
    }
}

/// The levels that were found, from the weakest to the strongest.
fn merged<const N: usize>(ports: &mut impl Ports, found: &Found<N>) -> Result<Effective, Failure> {
    let mut config = Config::default();
    let levels = [Level::Global, Level::Tenant, Level::User];
    for ((index, level), present) in (0..).zip(levels).zip(found.present) {
        if let Some(present) = present {
            let fields = decode(ports, index, level, present)?;
            config.set(level, &fields);
        }
    }
    Ok(Effective {
        config,
        provenance: found.provenance(),
    })
}

fn decode(
    ports: &mut impl Ports,
    index: u32,
    level: Level,
    present: Present,
) -> Result<Fields, Failure> {
    level::decode(&ports.text(index)).map_err(|faults| {
        let whose = match level {
            Level::Default | Level::Global => "global",
            Level::Tenant => "tenant's",
            Level::User => "user's",
        };
        // The count alone: what is wrong may quote the record.
        let message = format!(
            "the {whose} config of revision {} breaks the rules of this component ({} faults)",
            present.revision,
            faults.len()
        );
        ports.log(Severity::Error, &message);
        let named = |fault: Fault| Fault {
            message: format!("in the {whose} config: {}", fault.message),
            ..fault
        };
        Failure::RecordInvalid(faults.into_iter().map(named).collect())
    })
}

impl Default for Config {
    fn default() -> Config {
        let level = Level::Default;
        Config {
            merge_compression_strategy: (MergeStrategy::Moderate, level),
            merge_max_messages: (100, level),
            merge_preserve_pinned: (true, level),
            path_compression_strategy: (PathStrategy::SlidingWindow, level),
            path_max_messages: (200, level),
            path_sliding_window_size: (50, level),
            path_compression_threshold: (0.85, level),
            auto_compact_enabled: (true, level),
            compaction_interval_minutes: (60, level),
        }
    }
}

impl Config {
    /// Lets a level have its say: what it sets replaces what weaker levels set, and nothing else.
    fn set(&mut self, level: Level, fields: &Fields) {
        fn put<T: Copy>(field: &mut (T, Level), value: Option<T>, level: Level) {
            if let Some(value) = value {
                *field = (value, level);
            }
        }
        put(
            &mut self.merge_compression_strategy,
            fields.merge_compression_strategy,
            level,
        );
        put(
            &mut self.merge_max_messages,
            fields.merge_max_messages,
            level,
        );
        put(
            &mut self.merge_preserve_pinned,
            fields.merge_preserve_pinned,
            level,
        );
        put(
            &mut self.path_compression_strategy,
            fields.path_compression_strategy,
            level,
        );
        put(&mut self.path_max_messages, fields.path_max_messages, level);
        put(
            &mut self.path_sliding_window_size,
            fields.path_sliding_window_size,
            level,
        );
        put(
            &mut self.path_compression_threshold,
            fields.path_compression_threshold,
            level,
        );
        put(
            &mut self.auto_compact_enabled,
            fields.auto_compact_enabled,
            level,
        );
        put(
            &mut self.compaction_interval_minutes,
            fields.compaction_interval_minutes,
            level,
        );
    }
}

#[cfg(test)]
mod tests;
