//! Components at hand: those that run, those that were loaded before, those in the origin, and the
//! file of this instance. Not for which of them should run (`fleet`, `follow`).

use std::sync::Arc;

use super::state::Components;
use super::types::{ComponentError, Hindrance};
use crate::runtime::{Generation, LoadError, Runtime, digest};
use ordain_store::{OriginError, StoredComponent};

/// Why a component is not at hand.
pub enum Missing {
    /// Worth another try.
    Later(Hindrance),
    Never(Hindrance),
}

impl From<OriginError> for Missing {
    fn from(error: OriginError) -> Missing {
        Missing::Later(error.to_string().into())
    }
}

impl From<LoadError> for Missing {
    fn from(error: LoadError) -> Missing {
        let why = Hindrance::from(&error);
        match error {
            LoadError::Busy(_) | LoadError::Denied(_) => Missing::Later(why),
            _ => Missing::Never(why),
        }
    }
}

impl Components {
    /// A component by its digest: one that runs or was loaded before, else from the origin.
    pub(super) async fn find(
        &self,
        runtime: &Runtime,
        digest: &str,
    ) -> Result<Arc<Generation>, Missing> {
        let lineup = runtime.lineup();
        let candidate = lineup.shadow.as_ref().map(|shadow| shadow.candidate());
        let near = [Some(&lineup.current), lineup.good.as_ref(), candidate];
        let file = self.state().file.clone();
        let mut known = near.into_iter().flatten().chain([&file]);
        if let Some(generation) = known.find(|g| &**g.digest() == digest) {
            return Ok(generation.clone());
        }
        if let Some(generation) = self.loader.loaded(digest) {
            return Ok(generation);
        }
        let stored = self.origin.component(digest).await?;
        let missing =
            || Missing::Never("it is not in the database: push it again".to_owned().into());
        let stored = stored.ok_or_else(missing)?;
        check_name(digest, &stored)?;
        let signature = stored.signature.as_deref();
        Ok(self.loader.load(&stored.bytes, signature).await?)
    }

    /// A component that every instance can fetch, and this one can load.
    pub(in crate::door) async fn try_load(&self, digest: &str) -> Result<(), ComponentError> {
        let stored = self.origin.component(digest).await?;
        let stored = stored.ok_or_else(|| ComponentError::Unknown(digest.to_owned()))?;
        check_name(digest, &stored)?;
        let signature = stored.signature.as_deref();
        self.loader.load_for_call(&stored.bytes, signature).await?;
        Ok(())
    }
}

/// Whoever can write past the table's CHECK must not choose what runs under a name that others
/// trust.
fn check_name(asked: &str, stored: &StoredComponent) -> Result<(), LoadError> {
    let found = digest(&stored.bytes);
    match found == asked {
        true => Ok(()),
        false => Err(LoadError::OtherBytes {
            asked: asked.to_owned(),
            found,
        }),
    }
}
