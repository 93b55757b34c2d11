//! The rules of Ordain and its caching logic, as one WebAssembly component.
//!
//! The contract is `wit/` at the top of the repository: read that first. Inwards from there:
//!
//! - `component`: the border to WebAssembly, the only part that needs it; the folder `component/`
//!   beside `src/` makes the file of it;
//! - [`resolve`]: one request, or a batch of them, from limits to decision;
//! - [`read`]: which tier answers, and when an answer is fresh enough;
//! - [`decoded`]: policies that need not be decoded again;
//! - [`config`]: the levels of a config, their merge and their patches (4.5), pure but for the
//!   read;
//! - [`routing`], [`egress`], [`globs`]: the rules of DESIGN 4.2 and 4.3, pure;
//! - [`body`], [`json`], [`faults`]: how records are read, and all of their faults listed;
//! - [`validate`], [`limits`]: what a policy and a request may be (4.1);
//! - [`policy`], [`words`]: the record and the words of the contract as plain types;
//! - [`ports`]: everything that this crate may ask of the host.
//!
//! Not here: storage, clocks, sockets, threads. Everything but `component` builds natively, so the
//! rules are tested and measured without WebAssembly too.

pub mod body;
#[cfg(target_arch = "wasm32")]
pub mod component;
pub mod config;
pub mod decoded;
pub mod egress;
pub mod faults;
pub mod globs;
pub mod json;
pub mod limits;
pub mod policy;
pub mod ports;
pub mod read;
pub mod resolve;
pub mod routing;
pub mod validate;
pub mod words;
