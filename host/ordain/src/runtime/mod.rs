//! Calls of the component: takes an instance of the generation in force, binds it to a tenant,
//! calls, and turns what comes back into an answer. Knows neither HTTP nor where records are kept,
//! and does not decide which generation is in force (`door/components`).
//!
//! From the top: `answers` (what callers ask), `judge` (the generation in force, and the one
//! before), `attempt` (one of them), `generation` and its `instances`. Beside them `loader` makes
//! generations of `bytes`, with `compiler`, `compiled` and `vectors`; `lineup`, `watch` and
//! `shadow` say which of them answer.

mod answers;
mod attempt;
mod blame;
mod bytes;
mod compiled;
mod compiler;
mod engine;
mod faults;
mod generation;
mod idle;
mod info;
mod instances;
mod judge;
mod limits;
mod lineup;
mod loader;
mod log_limit;
mod reply;
#[allow(clippy::module_inception, reason = "the type that all of this is for")]
mod runtime;
mod sandbox;
mod shadow;
pub mod signature;
mod tally;
mod vectors;
mod watch;

pub use bytes::{BYTES_MAX, LoadError, digest};
pub use compiler::compile_apart;
pub use engine::{EngineError, GuestEngine, Room};
pub use faults::{Fault, Faults};
pub use generation::Generation;
pub use info::{ComponentInfo, inspect};
pub use lineup::Lineup;
pub use loader::Loader;
pub use runtime::Runtime;
pub use sandbox::services_in_memory;
pub use shadow::{Plan, Shadow};
pub use tally::{Report, Sample, Tally};
pub use vectors::{Vectors, VectorsError};
pub use watch::{Watch, WatchStatus};
