//! placeholder
use super::memory::MemoryFar; use super::*; use std::time::Duration;
pub type RedisFar = MemoryFar;
impl RedisFar { pub fn connect(_: &str, _: Duration) -> Result<RedisFar, FarError> { Ok(MemoryFar::new()) } }
