//! Shows a component the records that are stored, without changing anything. Not for what is valid.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::types::ComponentError;
use crate::calls::{InvalidRecord, ValidateConfig, ValidatePolicy};
use crate::door::Ordain;
use crate::runtime::LoadError;
use crate::world::Export;
use ordain_coherence::Moment;
use ordain_store::LevelPlace;

/// Records that are validated between two looks at the clock.
const PAGE: u32 = 100;
/// Records that the component failed at, after which a check has seen enough for one answer.
const FAILURES_MAX: u32 = 5;
/// Invalid records that one answer lists.
const LISTED_MAX: usize = 100;

/// How far a check has got: through policies first, then through levels of config.
enum Place {
    /// After this tenant.
    Policies(Option<String>),
    Levels(Option<LevelPlace>),
}

/// No id has it: it parts the ids of a cursor, and begins one of levels.
const PART: char = '\u{1}';

impl Place {
    fn of(cursor: String) -> Place {
        let Some(ids) = cursor.strip_prefix(PART) else {
            return Place::Policies(Some(cursor));
        };
        Place::Levels(ids.split_once(PART).map(|(tenant, user)| LevelPlace {
            tenant: tenant.to_owned(),
            user: user.to_owned(),
        }))
    }

    fn cursor(&self) -> String {
        match self {
            Place::Policies(tenant) => tenant.clone().unwrap_or_default(),
            Place::Levels(None) => PART.to_string(),
            Place::Levels(Some(LevelPlace { tenant, user })) => {
                format!("{PART}{tenant}{PART}{user}")
            }
        }
    }
}

/// A level of config, as a report names it.
fn config_of(place: &LevelPlace) -> String {
    match (&*place.tenant, &*place.user) {
        ("", _) => "the global config".to_owned(),
        (tenant, "") => format!("the config of {tenant}"),
        (tenant, user) => format!("the config of {tenant}, user {user}"),
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub vectors: usize,
    /// Stored records that the component was shown.
    pub records: u64,
    /// Tenants whose record it refuses, with its faults.
    pub invalid: Vec<(String, InvalidRecord)>,
    /// Not all were shown: the last tenant that was.
    pub more_after: Option<String>,
}

impl Ordain {
    /// Checks a component as a push does, and shows it stored records, policies and then configs,
    /// those after the cursor `after`, for as long as `patience`. Changes nothing.
    pub async fn check_component(
        &self,
        bytes: Arc<[u8]>,
        signature: Option<&str>,
        after: Option<String>,
        patience: Duration,
    ) -> Result<Checked, ComponentError> {
        let began = Moment::now();
        let inner = &self.inner;
        let loader = &inner.components.loader;
        let generation = loader.load_for_call(&bytes, signature).await?;
        let mut checked = Checked {
            vectors: inner.components.loader.vectors(),
            ..Checked::default()
        };
        let first = match generation.offers(Export::ValidatePolicy) {
            true => Place::Policies(None),
            false => Place::Levels(None),
        };
        let mut at = after.map_or(first, Place::of);
        loop {
            let (page, more) = match &at {
                Place::Policies(after) => {
                    let page = inner.origin.policies(after.as_deref(), PAGE).await?;
                    let records = page.items.into_iter().map(|(entry, body)| {
                        let name = entry.tenant.clone();
                        (Place::Policies(Some(entry.tenant)), name, body)
                    });
                    (records.collect::<Vec<_>>(), page.more)
                }
                Place::Levels(after) => {
                    let page = inner.origin.levels(after.as_ref(), PAGE).await?;
                    let records = page.items.into_iter().map(|(place, body)| {
                        let name = config_of(&place);
                        (Place::Levels(Some(place)), name, body)
                    });
                    (records.collect(), page.more)
                }
            };
            let mut failures = 0;
            for (place, name, body) in page {
                let (runtime, text) = (&inner.runtime, Cow::Borrowed(&*body));
                let checked_by = match &place {
                    Place::Policies(_) => {
                        let check = ValidatePolicy(text);
                        runtime.check_by(&generation, check).await
                    }
                    Place::Levels(_) => {
                        let check = ValidateConfig(text);
                        runtime.check_by(&generation, check).await
                    }
                };
                match checked_by {
                    Ok(_) => {}
                    // It has not been seen: the next check begins with it.
                    Err(why @ (InvalidRecord::Late | InvalidRecord::Overloaded)) => {
                        if checked.records == 0 {
                            return Err(LoadError::Busy(why.to_string()).into());
                        }
                        checked.more_after = Some(at.cursor());
                        return Ok(checked);
                    }
                    Err(why) => {
                        failures += u32::from(matches!(why, InvalidRecord::Component(_)));
                        checked.invalid.push((name, why));
                    }
                }
                at = place;
                checked.records += 1;
                // It computes: others have their turn, and the time is looked at.
                tokio::task::yield_now().await;
                if Moment::now().since(began) >= patience || failures >= FAILURES_MAX {
                    checked.more_after = Some(at.cursor());
                    return Ok(checked);
                }
            }
            at = match at {
                at if more => at,
                // A component without configs is not asked about them.
                Place::Policies(_) if generation.offers(Export::ValidateConfig) => {
                    Place::Levels(None)
                }
                _ => return Ok(checked),
            };
            if Moment::now().since(began) >= patience || checked.invalid.len() >= LISTED_MAX {
                checked.more_after = Some(at.cursor());
                return Ok(checked);
            }
        }
    }
}
