//! Components at hand: those that run, those that were loaded before, those in the origin, and the
//! file of this instance. Not for which of them should run (`fleet`, `follow`).

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::ComponentError;
use super::fleet::FILE;
use super::follow::{Components, trouble};
use crate::backends::{OriginError, StoredComponent};
use crate::runtime::{Generation, LoadError, Runtime};

/// Why a component is not at hand.
pub enum Missing {
    /// Worth another try.
    Later(String),
    Never(String),
}

impl From<OriginError> for Missing {
    fn from(error: OriginError) -> Missing {
        Missing::Later(error.to_string())
    }
}

impl From<LoadError> for Missing {
    fn from(error: LoadError) -> Missing {
        match error {
            LoadError::Busy(_) | LoadError::Denied(_) => Missing::Later(error.to_string()),
            error => Missing::Never(error.to_string()),
        }
    }
}

impl Components {
    /// A component by its digest: one that runs or was loaded before, else from the origin.
    pub(super) async fn at_hand(
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
        let missing = || Missing::Never("it is not in the database: push it again".to_owned());
        let stored = stored.ok_or_else(missing)?;
        as_named(digest, &stored)?;
        let signature = stored.signature.as_deref();
        Ok(self.loader.load(&stored.bytes, signature).await?)
    }

    /// A component that every instance can fetch, and this one can load.
    pub(in crate::ordain) async fn fetched(&self, digest: &str) -> Result<(), ComponentError> {
        let stored = self.origin.component(digest).await?;
        let stored = stored.ok_or_else(|| ComponentError::Unknown(digest.to_owned()))?;
        as_named(digest, &stored)?;
        let signature = stored.signature.as_deref();
        self.loader.load_for_call(&stored.bytes, signature).await?;
        Ok(())
    }

    /// Looks whether the file has changed (`--watch`), and takes what is in it.
    pub(super) async fn reload(&self, runtime: &Runtime) {
        // Before what it describes is read: a change in between is seen by the next look.
        let now = Stamp::of(&self.path).await;
        if now.is_none() || now == self.state().seen {
            // Unchanged, or being replaced, or gone: what runs goes on.
            return;
        }
        let Ok((bytes, signature)) = read_signed(&self.path).await else {
            return;
        };
        self.state().seen = now;
        let path = self.path.display().to_string();
        match self.loader.load(&bytes, signature.as_deref()).await {
            Ok(file) => {
                let is_promoted = {
                    let mut state = self.state();
                    state.file = file.clone();
                    state.trouble.take_if(|trouble| trouble.digest == FILE);
                    state.chosen.is_some()
                };
                if is_promoted {
                    tracing::warn!(
                        path,
                        "the file has changed, but the fleet runs another component"
                    );
                } else {
                    self.swap(runtime, file, true, None);
                }
            }
            Err(error) => {
                tracing::error!(path, %error, "the changed component is refused");
                self.state().trouble = Some(trouble(FILE, &error.to_string()));
            }
        }
    }
}

/// Whoever can write past the table's CHECK must not choose what runs under a name that others trust.
fn as_named(digest: &str, stored: &StoredComponent) -> Result<(), LoadError> {
    let found = crate::runtime::digest(&stored.bytes);
    match found == digest {
        true => Ok(()),
        false => Err(LoadError::OtherBytes {
            asked: digest.to_owned(),
            found,
        }),
    }
}

/// What tells a file, and the signature beside it, from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp([Option<(u64, SystemTime)>; 2]);

impl Stamp {
    /// `None`: there is no such file.
    pub async fn of(path: &Path) -> Option<Stamp> {
        let stamp = async |path: &Path| {
            let metadata = tokio::fs::metadata(path).await.ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        };
        let file = stamp(path).await?;
        Some(Stamp([Some(file), stamp(&beside(path)).await]))
    }
}

fn beside(path: &Path) -> std::path::PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    beside.into()
}

/// A component file, and its signature if there is one beside it (`FILE.sig`: 64 bytes or base64).
pub async fn read_signed(path: &Path) -> std::io::Result<(Arc<[u8]>, Option<String>)> {
    let bytes = tokio::fs::read(path).await?;
    let signature = match tokio::fs::read(beside(path)).await {
        Ok(signature) => Some(crate::runtime::signature::text(&signature)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok((bytes.into(), signature))
}
