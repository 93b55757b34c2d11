//! The harness of the tests: real servers (`services`), the real binary (`app`, `cli`), components
//! for it (`components`), tokens (`tokens`), an independent reading of the rules (`oracle`) and
//! random input for both (`generate`). Not for tests: those are in `tests/`.
//!
//! Nothing here is used by Ordain itself, and `oracle` shares no code with it.

pub mod app;
pub mod cli;
pub mod components;
pub mod fault_proxy;
pub mod generate;
pub mod http;
pub mod odd_redis;
pub mod openapi;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod services;
pub mod sql;
pub mod tokens;
pub mod wait;
