//! Ordain over HTTP (DESIGN section 7). What can be called is in `api`, a file for each capability;
//! `gate` and `routes` find who may make which call, `problem` has the errors. No rule about
//! policies is here: handlers translate and ask [`Ordain`](ordain::door::Ordain).

mod answer;
mod api;
mod app;
mod caller;
mod coding;
mod conditions;
mod contract;
mod deadline;
mod edge;
mod exposition;
mod gate;
mod headers;
mod history;
mod input;
mod listen;
mod local;
mod memory;
mod names;
mod object;
mod openapi;
mod page;
mod parameters;
mod problem;
mod query;
mod route;
mod routes;
mod service;
mod state;
mod url;

pub use api::{LINES, Line, RECORD_LIMIT};
pub use edge::{Asked, Edge, IDLE, NoRoom, Status as EdgeStatus, room, serve};
pub use listen::{ListenError, Listener};
pub use memory::places as memory_places;
pub use openapi::DOCUMENT;
pub use service::Service;
