//! The calls of the capability `config`: what holds, whether a record is a level, and what a level
//! becomes by a patch. Not for policies.

use std::borrow::Cow;
use std::sync::Arc;

use super::checked::{self, Checked};
use super::convert::{read_failure, read_provenance};
use super::question::{Compared, Question, Reply, Shown};
use crate::answer::ResolveError;
use crate::effective::EffectiveConfig;
use crate::world::Export;
use crate::world::bindings::config::Effective;
use crate::world::bindings::types::Failure;
use ordain_store::ids::Tenant;

type Held = Result<Effective, Failure>;

/// What config holds for a user, or for the tenant.
pub struct GetEffective<'a> {
    pub user: Option<Cow<'a, str>>,
    pub min_revision: u64,
}

/// Whether a record is a level.
pub struct ValidateConfig<'a>(pub Cow<'a, str>);

/// What a stored level becomes by a patch.
pub struct PatchConfig<'a> {
    pub level: Cow<'a, str>,
    pub patch: Cow<'a, str>,
}

impl Question for GetEffective<'_> {
    const EXPORT: Export = Export::GetEffective;
    type Arguments<'a>
        = (Option<&'a str>, u64)
    where
        Self: 'a;
    type Reply = Held;

    fn arguments(&self) -> (Option<&str>, u64) {
        (self.user.as_deref(), self.min_revision)
    }

    fn demand(&self, _index: usize) -> u64 {
        self.min_revision
    }
}

impl Compared for GetEffective<'_> {
    type Kept = GetEffective<'static>;

    fn keep(&self) -> GetEffective<'static> {
        GetEffective {
            user: self.user.as_deref().map(|user| user.to_owned().into()),
            min_revision: self.min_revision,
        }
    }

    fn show(&self, _tenant: Option<&Tenant>, held: Held) -> Option<Shown> {
        let effective = read_effective(held, Arc::default(), Arc::default()).ok()?;
        let mut fields = serde_json::to_value(&effective).ok()?;
        fields.as_object_mut()?.remove("provenance");
        Some(Shown {
            revision: effective.provenance.revision,
            fields,
        })
    }
}

impl Question for ValidateConfig<'_> {
    const EXPORT: Export = Export::ValidateConfig;
    type Arguments<'a>
        = (&'a str,)
    where
        Self: 'a;
    type Reply = Checked;

    fn arguments(&self) -> (&str,) {
        (&self.0,)
    }

    fn is_heavy(&self) -> bool {
        checked::is_heavy(self.0.len())
    }
}

impl Compared for ValidateConfig<'_> {
    type Kept = ValidateConfig<'static>;

    fn keep(&self) -> ValidateConfig<'static> {
        ValidateConfig(self.0.to_string().into())
    }

    fn show(&self, _tenant: Option<&Tenant>, checked: Checked) -> Option<Shown> {
        Some(checked::show(&checked))
    }
}

impl Question for PatchConfig<'_> {
    const EXPORT: Export = Export::PatchConfig;
    type Arguments<'a>
        = (&'a str, &'a str)
    where
        Self: 'a;
    type Reply = Checked;

    fn arguments(&self) -> (&str, &str) {
        (&self.level, &self.patch)
    }

    fn is_heavy(&self) -> bool {
        checked::is_heavy(self.level.len() + self.patch.len())
    }
}

impl Compared for PatchConfig<'_> {
    type Kept = PatchConfig<'static>;

    fn keep(&self) -> PatchConfig<'static> {
        PatchConfig {
            level: self.level.to_string().into(),
            patch: self.patch.to_string().into(),
        }
    }

    fn show(&self, _tenant: Option<&Tenant>, checked: Checked) -> Option<Shown> {
        Some(checked::show(&checked))
    }
}

impl Reply for Held {
    /// What the fields are and may hold is the guest's: here it is enough that they can be told.
    fn check(&self) -> Result<(), String> {
        let Ok(effective) = self else {
            return Ok(());
        };
        for (what, text) in [("config", &effective.config), ("levels", &effective.levels)] {
            checked::check_object(text).map_err(|why| format!("it answered {what} that {why}"))?;
        }
        Ok(())
    }

    fn answers(&self) -> impl Iterator<Item = Result<(), &Failure>> {
        std::iter::once(self.as_ref().map(|_| ()))
    }
}

/// What holds. `component` and `settings`: digests of what it was answered by.
pub fn read_effective(
    held: Held,
    component: Arc<str>,
    settings: Arc<str>,
) -> Result<EffectiveConfig, ResolveError> {
    let effective = held.map_err(read_failure)?;
    Ok(EffectiveConfig {
        config: effective.config,
        levels: effective.levels,
        provenance: read_provenance(effective.provenance, component, settings),
    })
}
