//! Vectors of configs: what holds of given levels, and what a level becomes by a patch. Not for
//! decisions.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::difference::{Difference, compare_faults, find_difference};
use crate::answer::ResolveError;
use crate::calls::{InvalidRecord, PatchConfig, ValidateConfig};
use crate::runtime::sandbox::Sandbox;
use ordain_coherence::shares::Whose;
use ordain_store::ids::{Level, Tenant, User};

/// Levels of a tenant and one of its users, and what holds for the user.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    pub name: String,
    levels: Given,
    /// Without provenance.
    effective: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    global: Option<Box<RawValue>>,
    tenant: Option<Box<RawValue>>,
    user: Option<Box<RawValue>>,
}

/// A stored level, a merge patch of it, and what comes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub name: String,
    level: Value,
    patch: Box<RawValue>,
    becomes: Option<Value>,
    faults: Option<Vec<String>>,
}

impl Levels {
    pub async fn ask(&self, sandbox: &Sandbox, tenant: &Tenant) -> Result<(), Difference> {
        let user = User::new("u").map_err(|error| Difference::Answer(error.to_string()))?;
        let nothing = RawValue::from_string("{}".to_owned()).ok();
        let Given {
            global,
            tenant: own,
            user: of_user,
        } = &self.levels;
        let mut revision = 0;
        for (level, text) in [
            // All vectors share it: what an earlier one has set must go.
            (Level::Global, global.as_ref().or(nothing.as_ref())),
            (Level::Tenant(tenant.clone()), own.as_ref()),
            (Level::User(tenant.clone(), user.clone()), of_user.as_ref()),
        ] {
            let Some(text) = text else { continue };
            let canonical = match sandbox.check(ValidateConfig(text.get().into())).await {
                Ok(canonical) => canonical,
                Err(InvalidRecord::Component(failed)) => {
                    return Err(Difference::Failure(failed.why));
                }
                Err(why @ (InvalidRecord::Late | InvalidRecord::Overloaded)) => {
                    return Err(Difference::Busy(why.to_string()));
                }
                Err(why) => {
                    return Err(Difference::Answer(format!("the level is refused: {why}")));
                }
            };
            let written = sandbox.put_level(&level, canonical).await;
            revision = written.map_err(Difference::Answer)?;
        }
        for way in ["read from the origin", "read from near"] {
            let user = Some(user.as_str());
            let answer = sandbox
                .runtime
                .effective_config(Whose::Operator, tenant, user, revision);
            let found = match answer.await {
                Ok(effective) => serde_json::to_value(&effective)
                    .map_err(|error| Difference::Answer(error.to_string()))?,
                Err(ResolveError::Component(failed)) => {
                    return Err(Difference::Failure(failed.why));
                }
                Err(error @ (ResolveError::Late | ResolveError::Overloaded)) => {
                    return Err(Difference::Busy(error.to_string()));
                }
                Err(error) => {
                    return Err(Difference::Answer(format!("{way}: there is none: {error}")));
                }
            };
            for part in ["config", "levels"] {
                let expected = self.effective.get(part).unwrap_or(&Value::Null);
                let found = found.get(part).unwrap_or(&Value::Null);
                if let Some(why) = find_difference(found, expected, &format!("/{part}")) {
                    return Err(Difference::Answer(format!("{way}: {why}")));
                }
            }
        }
        Ok(())
    }
}

impl Patch {
    pub fn check(&self) -> Result<(), String> {
        match (&self.becomes, &self.faults) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            _ => Err(format!(
                "`{}` must have either `becomes` or `faults`",
                self.name
            )),
        }
    }

    pub async fn ask(&self, sandbox: &Sandbox) -> Result<(), Difference> {
        let level = self.level.to_string();
        let check = PatchConfig {
            level: level.as_str().into(),
            patch: self.patch.get().into(),
        };
        let patched = sandbox.check(check).await;
        match (patched, &self.becomes, &self.faults) {
            (Ok(text), Some(expected), _) => {
                let found = serde_json::from_str(&text).unwrap_or(Value::Null);
                match find_difference(&found, expected, "") {
                    None => Ok(()),
                    Some(why) => Err(Difference::Answer(why)),
                }
            }
            (Err(InvalidRecord::Component(failed)), ..) => Err(Difference::Failure(failed.why)),
            (Err(why @ (InvalidRecord::Late | InvalidRecord::Overloaded)), ..) => {
                Err(Difference::Busy(why.to_string()))
            }
            (Err(InvalidRecord::Faults(found)), _, Some(expected)) => compare_faults(
                found.into_iter().map(|fault| fault.pointer).collect(),
                expected,
            ),
            (Ok(_), ..) => Err(Difference::Answer("the patch is taken".to_owned())),
            (Err(why), ..) => Err(Difference::Answer(format!("the patch is refused: {why}"))),
        }
    }
}
