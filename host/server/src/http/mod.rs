//! Ordain over HTTP (DESIGN section 7). Routes and what holds for all of them; one file per group
//! of calls, `gate` and `rules` for who may make them, `problem` for errors. No rule about policies
//! is here: handlers translate and ask [`Ordain`](ordain::Ordain).

mod admin;
mod app;
mod caches;
mod caller;
mod coding;
mod component;
mod config;
mod edge;
mod exposition;
mod gate;
mod headers;
mod import;
mod input;
mod listen;
mod lists;
mod local;
mod memory;
mod names;
mod object;
mod policy;
mod problem;
mod resolve;
mod routes;
mod rules;
mod service;
mod state;
mod upkeep;

pub use edge::{Asked, Edge, IDLE, NoRoom, Status as EdgeStatus, room, serve};
pub use import::{LINES, Line};
pub use listen::{ListenError, Listener};
pub use memory::places as memory_places;
pub use policy::RECORD_LIMIT;
pub use routes::service;
pub use service::Service;
