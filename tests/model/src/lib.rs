//! The coherence protocol as a model for stateright: two hosts, one far cache, one origin, and what
//! may go wrong with each. See docs/model.md. Not for testing code: these are the rules as the code
//! states them, small enough to be tried in every order.

mod answers;
mod check;
mod config;
mod enabled;
mod far;
mod feed;
mod host;
mod model;
mod origin;
mod properties;
pub mod r4;
mod reader;
mod recovery;
pub mod removals;
mod rules;
pub mod runs;
mod state;
mod writes;

pub use check::{Limit, Outcome, check};
pub use config::Config;
pub use model::{Action, Protocol};
pub use properties::Promise;
pub use rules::{Rule, Rules};
pub use state::State;
