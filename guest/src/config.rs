//! Configs: what holds for a tenant or a user, merged field by field from three levels that are
//! cached each by itself. The read is `read`'s, what a level may hold is `level`'s, which fields
//! there are is said in `fields`. Not for policies.

mod fields;
pub mod level;

use serde::ser::{Serialize, Serializer};

use crate::limits;
use crate::ports::{Ports, Present, Scope, Severity, Subject};
use crate::read::{self, Found, Wanted};
use crate::resolve::Instance;
use crate::words::{Effective, Failure, Fault};
use fields::FIELDS;
use level::Set;

/// Who sets a field, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Default,
    Global,
    Tenant,
    User,
}

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
    match user {
        None => {
            let subjects = [GLOBAL, TENANT];
            let wanted = Wanted { subjects };
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
            let wanted = Wanted { subjects };
            let found = read::find(ports, settings, &wanted, min_revision)?;
            merged(ports, &found)
        }
    }
}

/// The levels that were found, from the weakest to the strongest: what one sets replaces what weaker
/// ones set, and nothing else.
fn merged<const N: usize>(ports: &mut impl Ports, found: &Found<N>) -> Result<Effective, Failure> {
    let mut config = FIELDS.map(|field| (field.default, Level::Default));
    let levels = [Level::Global, Level::Tenant, Level::User];
    for ((index, level), present) in (0..).zip(levels).zip(found.present) {
        let Some(present) = present else { continue };
        let set = decode(ports, index, level, present)?;
        for (field, value) in config.iter_mut().zip(set) {
            if let Some(value) = value {
                *field = (value, level);
            }
        }
    }
    Ok(Effective {
        config: write(config.map(|(value, _)| value)),
        levels: write(config.map(|(_, level)| level)),
        provenance: found.provenance(),
    })
}

/// JSON of something for each field.
fn write<T: Serialize>(values: [T; FIELDS.len()]) -> String {
    struct Fields<T>([T; FIELDS.len()]);

    impl<T: Serialize> Serialize for Fields<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let names = FIELDS.iter().map(|field| field.name);
            serializer.collect_map(names.zip(&self.0))
        }
    }

    // Strings and numbers: there is nothing that JSON could not say.
    serde_json::to_string(&Fields(values)).unwrap_or_default()
}

fn decode(
    ports: &mut impl Ports,
    index: u32,
    level: Level,
    present: Present,
) -> Result<Set, Failure> {
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

#[cfg(test)]
mod tests;
