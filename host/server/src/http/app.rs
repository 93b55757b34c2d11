//! What every handler has. Not for routes (`routes`), nor for who may call them (`gate`).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};

use super::caller;
use super::edge::Edge;
use super::headers;
use super::problem::Problem;
use crate::access::Access;
use ordain::door::Ordain;
use ordain_coherence::shares::Charge;

/// What every handler has.
#[derive(Clone)]
pub struct App {
    pub ordain: Ordain,
    /// Deadline of calls that the library does not bound by itself.
    pub deadline: Duration,
    pub access: Access,
    pub edge: Arc<Edge>,
    /// What can be called. Given from above: it is made of all routes, its own included.
    pub document: &'static LazyLock<String>,
}

impl App {
    /// Position up to which this instance knows the log; 0, which demands nothing, if it does not.
    pub fn watermark(&self) -> u64 {
        self.ordain.watermark()
    }

    /// Waits until a revision that is demanded is known here: before a report on this instance.
    pub async fn await_demanded(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let min_revision = headers::min_revision(headers)?;
        Ok(self.ordain.known_up_to(min_revision).await?)
    }

    /// The front door for whoever has passed, to change something: operators have places of their
    /// own.
    pub fn front_door(&self, extensions: &Extensions) -> Result<Ordain, Problem> {
        match caller::principal(extensions)?.is_operator() {
            true => Ok(self.ordain.charged_to(Charge::Operator)),
            false => Ok(self.ordain.clone()),
        }
    }
}
