//! From bytes to a generation that may answer: size, signature, compiled code, world, decision
//! vectors. One at a time, on a thread that gives way to those that answer. What was loaded before is
//! at hand again at once. Not for what becomes of it (`ordain/components`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::generation::{digest, foreign};
use super::signature::Signers;
use super::{Generation, GuestEngine, LoadError, Vectors};
use crate::capabilities::Services;
use crate::options::ComponentOptions;

/// Generations that are kept, beside those in use.
const KEPT: usize = 4;
/// Priority of the thread that compiles (19 is the lowest).
const NICE: i32 = 10;

pub struct Loader {
    engine: Arc<GuestEngine>,
    services: Arc<Services>,
    signers: Signers,
    vectors: Vectors,
    /// The latest is at the end.
    loaded: Mutex<Vec<Arc<Generation>>>,
    turn: tokio::sync::Mutex<()>,
}

impl Loader {
    pub fn new(
        engine: Arc<GuestEngine>,
        services: Arc<Services>,
        options: &ComponentOptions,
        vectors: Vectors,
    ) -> Loader {
        Loader {
            engine,
            services,
            signers: Signers::new(options.signature, &options.keys),
            vectors,
            loaded: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Everything that must hold of a component before it may answer. `signature`: base64.
    pub async fn load(
        &self,
        bytes: &Arc<[u8]>,
        signature: Option<&str>,
    ) -> Result<Arc<Generation>, LoadError> {
        foreign(bytes)?;
        self.signers.check(bytes, signature)?;
        let _turn = self.turn.lock().await;
        let digest = digest(bytes);
        if let Some(generation) = self.loaded(&digest) {
            return Ok(generation);
        }
        let generation = self.compiled(bytes).await?;
        let checked = self.vectors.check(&self.engine, &generation).await;
        checked.map_err(LoadError::Vectors)?;
        let generation = Arc::new(generation);
        let mut loaded = self.lock();
        loaded.push(generation.clone());
        if loaded.len() > KEPT {
            loaded.remove(0);
        }
        Ok(generation)
    }

    /// One that passed before.
    pub fn loaded(&self, digest: &str) -> Option<Arc<Generation>> {
        let mut loaded = self.lock();
        let place = loaded.iter().position(|g| &**g.digest() == digest)?;
        let generation = loaded.remove(place);
        loaded.push(generation.clone());
        Some(generation)
    }

    /// Decision vectors that every component is asked.
    pub fn vectors(&self) -> usize {
        self.vectors.count()
    }

    async fn compiled(&self, bytes: &Arc<[u8]>) -> Result<Generation, LoadError> {
        let (engine, services) = (self.engine.clone(), self.services.clone());
        let bytes = bytes.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread of its own: priorities are of threads, and those of the pool are used again.
        let thread = std::thread::Builder::new().name("compile".to_owned());
        let spawned = thread.spawn(move || {
            // Refused: then it takes its full share.
            let _ = rustix::process::setpriority_process(None, NICE);
            // Nobody is left to be told if the loader is gone.
            let _ = tell.send(Generation::load(&engine, &bytes, services));
        });
        spawned.map_err(|_| LoadError::Interrupted)?;
        told.await.map_err(|_| LoadError::Interrupted)?
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Generation>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
