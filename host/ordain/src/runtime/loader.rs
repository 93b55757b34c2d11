//! From bytes to a generation that may answer: size, signature, compiled code, world, decision
//! vectors. On a thread that gives way to those that answer, and few at a time: what this instance
//! wants for itself has a place of its own, so that no call keeps it waiting. What was loaded
//! before is at hand again at once. Not for what becomes of it (`door/components`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bytes::{LoadError, check_size_and_kind, digest};
use super::engine::GuestEngine;
use super::generation::Generation;
use super::signature::Signers;
use super::vectors::Vectors;
use crate::capabilities::Services;
use crate::options::ComponentOptions;

/// Generations that are kept, beside those in use.
const KEPT: usize = 4;
/// Priority of the thread that loads (19 is the lowest).
const NICE: i32 = 10;
/// Components that calls have loaded at once.
const FOR_CALLS: usize = 2;
/// Calls that wait for one of these places; one more is told to try again.
const WAITING_MAX: usize = 4;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Loader {
    /// `None`: this process runs no component.
    engine: Option<Arc<GuestEngine>>,
    services: Arc<Services>,
    signers: Signers,
    vectors: Vectors,
    /// The latest is at the end.
    loaded: Mutex<Vec<Arc<Generation>>>,
    /// The place of this instance itself.
    own: Arc<Semaphore>,
    /// Places of calls.
    calls: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Loader {
    pub fn new(
        engine: Option<Arc<GuestEngine>>,
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
            own: Arc::new(Semaphore::new(1)),
            calls: Arc::new(Semaphore::new(FOR_CALLS)),
            waiting: Semaphore::new(FOR_CALLS + WAITING_MAX),
        })
    }

    /// Everything that must hold of a component before it may answer, for this instance itself:
    /// what it starts with and what the fleet wants. `signature`: base64.
    pub async fn load(
        self: &Arc<Self>,
        bytes: &Arc<[u8]>,
        signature: Option<&str>,
    ) -> Result<Arc<Generation>, LoadError> {
        let digest = match self.look_up(bytes, signature)? {
            Ok(generation) => return Ok(generation),
            Err(digest) => digest,
        };
        let place = self.own.clone().acquire_owned().await;
        self.load_at(place.ok(), bytes, &digest).await
    }

    /// The same for a call: told to try again if others are at it already.
    pub async fn load_for_call(
        self: &Arc<Self>,
        bytes: &Arc<[u8]>,
        signature: Option<&str>,
    ) -> Result<Arc<Generation>, LoadError> {
        let digest = match self.look_up(bytes, signature)? {
            Ok(generation) => return Ok(generation),
            Err(digest) => digest,
        };
        let busy = || {
            LoadError::Busy(format!(
                "{FOR_CALLS} others are being compiled: try again when they are done"
            ))
        };
        let _turn = self.waiting.try_acquire().map_err(|_| busy())?;
        let place = self.calls.clone().acquire_owned();
        let place = tokio::time::timeout(PATIENCE, place).await;
        let place = place.map_err(|_| busy())?;
        self.load_at(place.ok(), bytes, &digest).await
    }

    /// One that was loaded before, or its digest, after what can be said without compiling.
    fn look_up(
        &self,
        bytes: &[u8],
        signature: Option<&str>,
    ) -> Result<Result<Arc<Generation>, String>, LoadError> {
        check_size_and_kind(bytes)?;
        self.signers.check(bytes, signature)?;
        let digest = digest(bytes);
        Ok(self.loaded(&digest).ok_or(digest))
    }

    async fn load_at(
        self: &Arc<Self>,
        place: Option<OwnedSemaphorePermit>,
        bytes: &Arc<[u8]>,
        digest: &str,
    ) -> Result<Arc<Generation>, LoadError> {
        // While the place was waited for.
        if let Some(generation) = self.loaded(digest) {
            return Ok(generation);
        }
        let (loader, bytes) = (self.clone(), bytes.clone());
        let runtime = tokio::runtime::Handle::current();
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread of its own: priorities are of threads, and those of the pool are used again. It
        // has the place until it ends, whether or not anybody still waits for it.
        let work = move || {
            let _place = place;
            // Refused: then it takes its full share.
            let _ = rustix::process::setpriority_process(None, NICE);
            let checked = loader.compile_and_check(&bytes, &runtime);
            // Nobody is left to be told if the caller is gone.
            let _ = tell.send(checked);
        };
        let thread = std::thread::Builder::new().name("compile".to_owned());
        let spawned = thread.spawn(work);
        spawned.map_err(|error| LoadError::Busy(error.to_string()))?;
        told.await
            .unwrap_or_else(|_| Err(LoadError::Compile("the compiler failed".to_owned())))
    }

    fn compile_and_check(
        &self,
        bytes: &[u8],
        runtime: &tokio::runtime::Handle,
    ) -> Result<Arc<Generation>, LoadError> {
        let Some(engine) = &self.engine else {
            return Err(LoadError::Denied("it was started without rules".to_owned()));
        };
        let generation = Generation::load(engine, bytes, self.services.clone())?;
        runtime.block_on(self.vectors.check(engine, &generation))?;
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
