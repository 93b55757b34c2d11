//! What all calls share: the caches, the way to the origin, and what operators have chosen. Not for
//! what an import makes of it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::options::Options;
use ordain_coherence::Coherence;
use ordain_coherence::caches::Caches;
use ordain_coherence::far::Far;
use ordain_coherence::origin::OriginReader;

pub struct Services {
    pub coherence: Arc<Coherence>,
    pub origin: Arc<OriginReader>,
    /// `None`: no far cache is configured.
    pub far: Option<Arc<Far>>,
    pub caches: Arc<Caches>,
    pub options: Options,
    /// Fills that wait for the feed, at most so many at once.
    pub late_fills: Arc<Semaphore>,
}
