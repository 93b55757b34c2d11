//! What the guest may do. One file per import of the world, or for a few small ones, each a few
//! lines over `coherence`; `link` puts them where components look for them. A call is bound to one
//! tenant (`state`); no import can name another. Not for policy rules (the guest) nor for drivers
//! (`ordain_store`).

mod call;
mod far;
mod feed;
mod held;
mod limits;
mod link;
mod log;
mod near;
mod origin;
mod services;
mod settings;
mod state;
mod subject;
mod turn;

pub use call::{Call, GUEST_TICKS};
pub use limits::Limit;
pub use link::{link_prompt, link_waiting};
pub use services::Services;
pub use state::HostState;
pub(crate) use state::Tick;
pub use turn::Turn;
