//! The Wasmtime engine: limits, room for instances, and the ticker behind the guest's time budget.
//! One per process is enough; generations share it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::compiled::CompiledCache;
use super::limits;
use crate::capabilities::{HostState, link_prompt, link_waiting};

/// Memory that one instance may use.
pub const MEMORY_MAX: usize = 64 << 20;
/// Behind each memory, without access: an index that is checked may have an offset up to here added
/// to it that is not.
const GUARD: u64 = 2 << 20;
/// Stack of one instance that may wait.
const STACK: usize = 2 << 20;
/// Instances at once, of all generations together.
const INSTANCES_MAX: u32 = 1024;
/// Address space of the pool. It is reserved, not used.
const POOL: u64 = INSTANCES_MAX as u64 * (MEMORY_MAX as u64 + GUARD + STACK as u64) + (1 << 30);
/// Address space for everything else.
const BESIDES: u64 = 8 << 30;
/// How often a computing guest is looked at.
const TICK: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
#[error("cannot start the WebAssembly engine: {0}")]
pub struct EngineError(String);

impl From<wasmtime::Error> for EngineError {
    fn from(error: wasmtime::Error) -> EngineError {
        let why = format!("{error:#}");
        EngineError(match limits::hint(&why) {
            Some(hint) => format!("{why}: {hint}"),
            None => why,
        })
    }
}

/// Where instances have their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Reserved at the start, for a service: an instance is made in some microseconds.
    Pool,
    /// Asked for by each instance, for one command.
    OnDemand,
}

/// The engine, the two linkers (see `capabilities`), and where compiled code is kept.
pub struct GuestEngine {
    pub(super) compiled: Option<CompiledCache>,
    pub(super) engine: Engine,
    pub(super) prompt: Linker<HostState>,
    pub(super) waiting: Linker<HostState>,
}

impl GuestEngine {
    /// `cache`: a folder for compiled code.
    pub fn new(cache: Option<&Path>, room: Room) -> Result<Arc<GuestEngine>, EngineError> {
        let engine = match room {
            Room::Pool => pooled()?,
            Room::OnDemand => on_demand()?,
        };
        let mut prompt = Linker::new(&engine);
        link_prompt(&mut prompt)?;
        let mut waiting = Linker::new(&engine);
        link_waiting(&mut waiting)?;
        tick(&engine)?;
        Ok(Arc::new(GuestEngine {
            compiled: cache.and_then(CompiledCache::open),
            engine,
            prompt,
            waiting,
        }))
    }
}

/// With a pool, or without one where there is no room for it: then each new instance asks the
/// system.
fn pooled() -> wasmtime::Result<Engine> {
    let why = match limits::address_space() {
        Some(limit) if limit < POOL + BESIDES => format!(
            "RLIMIT_AS (ulimit -v) is {} MiB, and it needs {} GiB of address space",
            limit >> 20,
            (POOL + BESIDES).div_ceil(1 << 30)
        ),
        _ => {
            let mut config = config();
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
            match Engine::new(&config) {
                Ok(engine) => return Ok(engine),
                Err(error) => format!("{error:#}"),
            }
        }
    };
    tracing::warn!(
        why,
        "no pool of instances can be reserved: each new instance asks the system for memory, which takes longer"
    );
    on_demand()
}

/// An engine that reserves nothing; what it compiles any other of ours can run.
pub fn on_demand() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// What compiled code depends on is the same for all engines.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        // One thread compiles, and gives way to those that answer (`loader`).
        .parallel_compilation(false)
        .async_stack_size(STACK)
        // What a memory may have, and no more: it never moves, and 1,024 of them have room
        // anywhere.
        .memory_reservation(MEMORY_MAX as u64)
        .memory_reservation_for_growth(0)
        .memory_may_move(false)
        .memory_guard_size(GUARD)
        .guard_before_linear_memory(false);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES_MAX)
        // A component is a module of its own and a few adapters that the tool adds.
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX)
        .total_tables(INSTANCES_MAX * 2)
        .total_stacks(INSTANCES_MAX)
        .max_memory_size(MEMORY_MAX)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(64 << 10);
    pool
}

/// Raises the engine's epoch for as long as the engine lives: the thread holds it weakly.
fn tick(engine: &Engine) -> Result<(), EngineError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map_err(wasmtime::Error::from)?;
    Ok(())
}
