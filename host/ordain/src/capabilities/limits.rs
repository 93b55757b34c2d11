//! What a guest may take: of the process memory and tables, and how many of each; and what ends a
//! call that wanted more. Not for who counts time and calls (`state`).

use wasmtime::ResourceLimiter;

const TABLE_ELEMENTS_MAX: usize = 100_000;
/// A component is one module and a few adapters of the tool.
const MODULES_MAX: usize = 16;
/// An instance that has grown beyond this is not used again: memory of a guest never shrinks.
const KEPT_MAX: usize = 16 << 20;

/// Imports that the guest may call in one call of it. A look-up in vain is a dozen; a batch shares
/// its look-ups.
pub const HOST_CALLS_MAX: u32 = 2000;

/// A guest did too much.
#[derive(Debug, thiserror::Error)]
pub enum Limit {
    #[error("it computed for too long")]
    Time,
    #[error("it called the host more than {HOST_CALLS_MAX} times in one call")]
    HostCalls,
    #[error("it asked for {0} subjects in one look-up")]
    Subjects(usize),
    /// Not its fault.
    #[error("there is no place to compute for long in")]
    Crowded,
}

pub struct Limits {
    memory_max: usize,
    memory: usize,
}

impl Limits {
    pub fn new(memory_max: usize) -> Limits {
        Limits {
            memory_max,
            memory: 0,
        }
    }

    /// Whether the instance is small enough to wait for another call.
    pub fn may_idle(&self) -> bool {
        self.memory <= KEPT_MAX
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_max;
        if granted {
            self.memory = self.memory.max(desired);
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        MODULES_MAX
    }

    fn tables(&self) -> usize {
        MODULES_MAX
    }

    fn memories(&self) -> usize {
        1
    }
}
