//! The harness of the tests: real servers, the real program. Not for tests: those are in `tests/`.

pub mod services;
