//! The Wasmtime engine: limits, pooling, and the ticker behind the guest's time budget. One per
//! process is enough; generations share it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, PoolingAllocationConfig};

use super::compiled::CompiledCache;
use crate::capabilities::{HostState, link_prompt, link_waiting};

/// Memory that one instance may use.
pub const MEMORY_MAX: usize = 64 << 20;
/// Instances at once, of all generations together.
const INSTANCES_MAX: u32 = 1024;
/// How often a computing guest is looked at.
const TICK: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
#[error("cannot start the WebAssembly engine: {0:#}")]
pub struct EngineError(#[from] wasmtime::Error);

/// The engine, the two linkers (see `capabilities`), and where compiled code is kept.
pub struct GuestEngine {
    pub(super) compiled: Option<CompiledCache>,
    pub(super) engine: Engine,
    pub(super) prompt: Linker<HostState>,
    pub(super) waiting: Linker<HostState>,
}

impl GuestEngine {
    /// `cache`: a folder for compiled code.
    pub fn new(cache: Option<&Path>) -> Result<Arc<GuestEngine>, EngineError> {
        let engine = Engine::new(&config())?;
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

fn config() -> Config {
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
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        // One thread compiles, and gives way to those that answer (`loader`).
        .parallel_compilation(false)
        .allocation_strategy(wasmtime::InstanceAllocationStrategy::Pooling(pool));
    config
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
