//! Reading the origin: one read for many concurrent callers, and what its reply says about the log
//! (rules N4, N5, N7, R1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::breaker::{Breaker, Lines};
use super::clock::Moment;
use super::flight::{Flight, Flights};
use super::window::Coherence;
use crate::places::Places;
use crate::shares::Whose;
use ordain_store::ids::{Key, Kind, Tenant};
use ordain_store::{Origin, OriginError, Snapshot};

/// A reply of the origin and when it was sent for.
#[derive(Debug)]
pub struct Reading {
    pub snapshot: Snapshot,
    pub sent: Moment,
}

type Reply = Result<Arc<Reading>, OriginError>;
/// Keeps a shared reply findable while a call that uses it lasts.
pub type OriginFlight = Arc<Flight<Reply>>;

pub struct OriginReader {
    origin: Arc<dyn Origin>,
    coherence: Arc<Coherence>,
    flights: Flights<Reply>,
    pub breaker: Arc<Breaker>,
    /// Whose turn it is at the connections, which serve whoever comes first.
    pub places: Places,
    /// What opened the breaker is that it answers and is the wrong server.
    read_only: AtomicBool,
    /// Reads that were sent, since the start.
    pub reads: AtomicU64,
    /// Reads of policies that were answered, since the start.
    answered: AtomicU64,
}

/// What a caller demands of a reply that it did not send for itself.
#[derive(Debug, Clone)]
pub struct Demand {
    /// Whose share of the connections a read takes.
    pub whose: Whose,
    /// How long a read may take, its turn included.
    pub within: Duration,
    /// Start of the call.
    pub began: Moment,
    /// Sent at or after this moment: start of the call minus the freshness bound.
    pub sent_from: Moment,
    pub min_revision: u64,
}

impl OriginReader {
    /// The origin bounds each of its reads by the origin deadline.
    pub fn new(origin: Arc<dyn Origin>, coherence: Arc<Coherence>, places: Places) -> Self {
        OriginReader {
            origin,
            coherence,
            flights: Flights::default(),
            breaker: Breaker::new("origin", Lines::ANSWERS),
            places,
            read_only: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }

    /// Reads all keys from one snapshot, or shares a read that is under way or just done, if it
    /// meets the demand (rule N7). Of those whom a shared read fails, one reads and the others
    /// share that; whom this fails too reads alone. At once an error while the breaker is open.
    pub async fn read(
        self: &Arc<Self>,
        keys: &[Key],
        demand: &Demand,
    ) -> (Option<OriginFlight>, Reply) {
        if let Err(open) = self.admit() {
            return (None, Err(open));
        }
        let mut left = None;
        for last in [false, true] {
            if left.is_some() {
                // It may have opened meanwhile: then nobody waits any longer.
                if let Err(open) = self.admit() {
                    return (left, Err(open));
                }
            }
            let flight = self.flights.join(keys, left.as_ref(), |reply| match reply {
                None => true,
                Some(Ok(reading)) => self.meets(keys, reading, demand),
                // Never joined after the fact: the next caller tries again.
                Some(Err(_)) => false,
            });
            let mine = AtomicBool::new(false);
            let read = async {
                mine.store(true, Ordering::Relaxed);
                self.send(keys, demand).await
            };
            let reply = flight.reply(read).await;
            let settled = match &reply {
                Ok(reading) => self.meets(keys, reading, demand),
                // The fault of a read that began before this call is not this call's yet.
                Err(_) => last || mine.load(Ordering::Relaxed),
            };
            if settled {
                return (Some(flight), reply);
            }
            left = Some(flight);
        }
        if let Err(open) = self.admit() {
            return (left, Err(open));
        }
        let alone = self.flights.join(keys, None, |_| false);
        let reply = alone.reply(self.send(keys, demand)).await;
        (Some(alone), reply)
    }

    /// A reply that was sent for after the call began is the newest there is, whatever it says.
    fn meets(&self, keys: &[Key], reading: &Reading, demand: &Demand) -> bool {
        reading.sent >= demand.began || self.shareable(keys, reading, demand)
    }

    fn shareable(&self, keys: &[Key], reading: &Reading, demand: &Demand) -> bool {
        reading.sent >= demand.sent_from
            && reading.snapshot.as_of >= demand.min_revision
            && keys
                .iter()
                .all(|key| self.coherence.not_overtaken(key, reading.snapshot.as_of))
    }

    async fn send(self: &Arc<Self>, keys: &[Key], demand: &Demand) -> Reply {
        // That many want to be answered says nothing of the origin.
        let came = Moment::now();
        let place = self.places.take(&demand.whose, demand.within * 3 / 5).await;
        let _place = place.ok_or(OriginError::Late)?;
        let before = self.before();
        let sent = Moment::now();
        self.reads.fetch_add(1, Ordering::Relaxed);
        let left = demand.within.saturating_sub(sent.since(came));
        let read = tokio::time::timeout(left, self.origin.read(keys)).await;
        let snapshot = read.unwrap_or(Err(OriginError::Late));
        let snapshot = snapshot.inspect_err(|error| {
            tracing::debug!(%error, "the origin cannot be read");
            self.suspect();
        })?;
        if snapshot.records.len() != keys.len() {
            return Err(OriginError::Unavailable("wrong number of records".into()));
        }
        if keys.iter().all(|key| key.kind() == Kind::Policy) {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.learn(&before, snapshot.as_of, keys);
        Ok(Arc::new(Reading { snapshot, sent }))
    }

    /// Nobody waits for an origin that is known not to answer.
    pub fn admit(&self) -> Result<(), OriginError> {
        if self.breaker.admits() {
            return Ok(());
        }
        Err(match self.read_only.load(Ordering::Relaxed) {
            true => OriginError::ReadOnly("it is not the primary, and the breaker is open".into()),
            false => OriginError::Unavailable("the breaker is open".into()),
        })
    }

    /// A call to the origin has failed, of whatever kind: a read of one record finds out whether
    /// others would.
    pub fn suspect(self: &Arc<Self>) {
        let reader = Arc::downgrade(self);
        self.breaker.suspect(move || {
            let reader = reader.upgrade();
            async move {
                // As for a tenant, since that is what has to work; who is meant makes no
                // difference.
                let nobody = Key::policy(&Tenant::new("nobody").ok()?);
                let reader = reader?;
                let answered = reader.answered.load(Ordering::Relaxed);
                let mut outcome = reader.origin.read(&[nobody]).await.map(drop);
                // Others have been answered while it stood in line for a connection: there are more
                // who ask than can be answered, and to answer nobody would help none of them.
                let is_crowded = reader.answered.load(Ordering::Relaxed) > answered;
                if is_crowded && matches!(outcome, Err(OriginError::Late)) {
                    outcome = Ok(());
                }
                let read_only = matches!(outcome, Err(OriginError::ReadOnly(_)));
                reader.read_only.store(read_only, Ordering::Relaxed);
                Some(outcome.map_err(|error| error.to_string()))
            }
        });
    }

    /// What this host knows before it sends for a reply of the origin; `learn` wants it back.
    pub fn before(&self) -> Before {
        // In this order: a purge in between is then seen as one.
        let purges = self.coherence.purges();
        Before {
            watermark: self.coherence.watermark(),
            purges,
        }
    }

    /// What any reply of the origin says about the log, to be learnt before the reply is used:
    /// `keys` are those that it shows.
    pub fn learn(&self, before: &Before, as_of: u64, keys: &[Key]) {
        // Rule N5: a head below what this host knew when it asked means another history. (Unless a
        // purge has already dealt with it.)
        let purged = self.coherence.purges() != before.purges;
        if before.watermark.is_some_and(|w| as_of < w) && !purged {
            self.coherence
                .purge("the origin answered from before the watermark");
        }
        // Rule N4: news that the feed does not have yet.
        if self.coherence.watermark().is_none_or(|w| as_of > w) {
            for key in keys {
                self.coherence.raise_fence(key, as_of);
            }
        }
    }
}

/// See [`OriginReader::before`].
pub struct Before {
    watermark: Option<u64>,
    purges: u64,
}

impl Before {
    pub(super) fn purges(&self) -> u64 {
        self.purges
    }
}
