//! What one instance may take of the process: memory, tables, and how many of each. Not for time or calls
//! (`Limit`).

use wasmtime::ResourceLimiter;

const TABLE_ELEMENTS_MAX: usize = 100_000;
/// A component is one module and a few adapters of the tool.
const MODULES_MAX: usize = 16;
/// An instance that has grown beyond this is not used again: memory of a guest never shrinks.
const KEPT_MAX: usize = 16 << 20;

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
