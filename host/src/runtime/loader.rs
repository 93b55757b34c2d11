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
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Loader {
    pub fn new(
        engine: Arc<GuestEngine>,
        services: Arc<Services>,
        options: &ComponentOptions,
        vectors: Vectors,
    ) -> Arc<Loader> {
        Arc::new(Loader {
            engine,
            services,
            signers: Signers::new(options.signature, &options.keys),
            vectors,
            loaded: Mutex::default(),
            turn: Arc::default(),
        })
    }

    /// Everything that must hold of a component before it may answer. `signature`: base64.
    pub async fn load(
        self: &Arc<Self>,
        bytes: &Arc<[u8]>,
        signature: Option<&str>,
    ) -> Result<Arc<Generation>, LoadError> {
        foreign(bytes)?;
        self.signers.check(bytes, signature)?;
        let digest = digest(bytes);
        if let Some(generation) = self.loaded(&digest) {
            return Ok(generation);
        }
        let turn = self.turn.clone().lock_owned().await;
        if let Some(generation) = self.loaded(&digest) {
            return Ok(generation);
        }
        let (loader, bytes) = (self.clone(), bytes.clone());
        let runtime = tokio::runtime::Handle::current();
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread of its own: priorities are of threads, and those of the pool are used again. It has
        // the turn until it ends, whether or not anybody still waits for it.
        let work = move || {
            let _turn = turn;
            // Refused: then it takes its full share.
            let _ = rustix::process::setpriority_process(None, NICE);
            let checked = loader.compiled_and_checked(&bytes, &runtime);
            // Nobody is left to be told if the caller is gone.
            let _ = tell.send(checked);
        };
        let thread = std::thread::Builder::new().name("compile".to_owned());
        let spawned = thread.spawn(work);
        spawned.map_err(|error| LoadError::Busy(error.to_string()))?;
        told.await
            .unwrap_or_else(|_| Err(LoadError::Compile("the compiler failed".to_owned())))
    }

    fn compiled_and_checked(
        &self,
        bytes: &[u8],
        runtime: &tokio::runtime::Handle,
    ) -> Result<Arc<Generation>, LoadError> {
        let generation = Generation::load(&self.engine, bytes, self.services.clone())?;
        runtime.block_on(self.vectors.check(&self.engine, &generation))?;
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

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Generation>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
