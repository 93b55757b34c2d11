//! The state of an instance in JSON: every dependency, near and the feed, for `/v1/caches` and,
//! without what servers are called and what they say, for `/readyz`. Not for the state itself
//! (`door/status.rs` of the library).

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use crate::access::KeysState;
use ordain::door::{FeedStatus, NearStatus, Status, TierStatus, TroubleKind};
use ordain_coherence::BreakerStatus;

/// Whether fresh answers can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Ready,
    /// Answers are fresh, but slower, not for long, of another component than the fleet wants, or
    /// tokens are checked by keys of before.
    Degraded,
    Unready,
    /// The instance is about to go, whatever it could still answer.
    Draining,
}

/// How something fares that the instance leans on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Up,
    /// Of a server: it answers, and takes no values; or a part of it is down.
    Degraded,
    /// Of keys: their file or URL cannot be used as it is now, those from before are.
    Stale,
    /// Of a server: its breaker is open. Of keys: there are none yet.
    Down,
    Off,
}

impl State {
    fn of(is_up: bool) -> State {
        if is_up { State::Up } else { State::Down }
    }
}

impl From<Option<KeysState>> for State {
    fn from(keys: Option<KeysState>) -> State {
        match keys {
            Some(KeysState::Up) => State::Up,
            Some(KeysState::Stale) => State::Stale,
            Some(KeysState::Down) => State::Down,
            None => State::Off,
        }
    }
}

#[derive(Serialize)]
pub struct Readiness<'a> {
    pub status: Standing,
    pub dependencies: Dependencies<'a>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Near>,
    pub waiting: Places,
    /// Tasks in the background that panicked of late and were begun again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubled: Vec<&'static str>,
    pub component: Component<'a>,
}

/// The component that answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Component<'a> {
    digest: &'a str,
    /// `false`: the fleet wants another, which does not run here.
    as_wanted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<&'a str>,
    /// Of the same, what everybody may know.
    #[serde(skip)]
    kinds: Vec<TroubleKind>,
}

#[derive(Serialize)]
pub struct Dependencies<'a> {
    pub origin: Backend<'a>,
    pub feed: Feed<'a>,
    pub far: Backend<'a>,
    pub keys: Keys,
}

/// The file or URL of keys that tokens are checked by.
#[derive(Serialize)]
pub struct Keys {
    pub state: State,
}

#[derive(Serialize)]
pub struct Backend<'a> {
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    /// Of far: that of look-ups.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<Breaker>,
    /// Why it is not up.
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<Writes<'a>>,
}

/// Whether far takes values.
#[derive(Serialize)]
struct Writes<'a> {
    state: State,
    breaker: Breaker,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Breaker {
    open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_for_ms: Option<u64>,
    /// Times that it has opened.
    opened: u64,
    /// Calls that it has turned away.
    refused: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Feed<'a> {
    pub state: State,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_age_ms: Option<u64>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<usize>,
    window_max: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<f64>,
    purges: u64,
    ordered_purges: u64,
    notification_queue: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Near {
    entries: usize,
    bytes: u64,
    bytes_max: u64,
}

/// Calls that wait for servers.
#[derive(Serialize)]
pub struct Places {
    used: usize,
    of: usize,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> Backend<'a> {
    fn of(tier: &'a TierStatus, up: bool) -> Backend<'a> {
        Backend {
            state: match up || !tier.in_part {
                true => State::of(up),
                false => State::Degraded,
            },
            backend: Some(&tier.backend),
            breaker: Some(Breaker::of(&tier.breaker)),
            error: &tier.breaker.why,
            writes: None,
        }
    }

    fn with_writes(self, writes: &'a BreakerStatus) -> Backend<'a> {
        let takes_none = self.state == State::Up && writes.open;
        Backend {
            state: if takes_none {
                State::Degraded
            } else {
                self.state
            },
            error: if takes_none { &writes.why } else { self.error },
            writes: Some(Writes {
                state: State::of(!writes.open),
                breaker: Breaker::of(writes),
                error: &writes.why,
            }),
            ..self
        }
    }

    const OFF: Backend<'static> = Backend {
        state: State::Off,
        backend: None,
        breaker: None,
        error: "",
        writes: None,
    };
}

impl Breaker {
    fn of(status: &BreakerStatus) -> Breaker {
        Breaker {
            open: status.open,
            open_for_ms: status.open.then(|| millis(status.open_for)),
            opened: status.opened,
            refused: status.refused,
        }
    }
}

impl<'a> Feed<'a> {
    fn of(feed: &'a FeedStatus) -> Feed<'a> {
        Feed {
            state: State::of(feed.connected),
            watermark: feed.watermark,
            proven_age_ms: feed.proven_age.map(millis),
            window: Some(feed.window.0),
            window_max: feed.window.1,
            lag_ms: feed.lag.map(|lag| lag.as_micros() as f64 / 1e3),
            purges: feed.purges,
            ordered_purges: feed.ordered_purges,
            notification_queue: feed.queue,
            error: &feed.error,
        }
    }
}

impl From<NearStatus> for Near {
    fn from(near: NearStatus) -> Near {
        Near {
            entries: near.entries,
            bytes: near.bytes,
            bytes_max: near.bytes_max,
        }
    }
}

impl Readiness<'_> {
    /// `keys`: how the file or URL of keys fares; `None`: there is none.
    pub fn of(status: &Status, keys: Option<KeysState>) -> Readiness<'_> {
        let far_up = status.far.as_ref().is_none_or(|far| !far.breaker.open);
        let takes_values = status.far_writes.as_ref().is_none_or(|puts| !puts.open);
        // The feed asks the origin four times a second: how it fares is how the origin fares.
        let origin_up = status.feed.connected && !status.origin.breaker.open;
        let steady = !status.tasks.iter().any(|task| task.troubled);
        let is_whole = far_up
            && takes_values
            && origin_up
            && steady
            && status.component.as_wanted
            && keys != Some(KeysState::Stale);
        let trouble = &status.component.trouble;
        let is_ready = status.ready && keys != Some(KeysState::Down);
        Readiness {
            status: match (is_ready, is_whole) {
                (true, true) => Standing::Ready,
                (true, false) => Standing::Degraded,
                (false, _) => Standing::Unready,
            },
            dependencies: Dependencies {
                origin: Backend::of(&status.origin, origin_up),
                feed: Feed::of(&status.feed),
                far: match &status.far {
                    None => Backend::OFF,
                    Some(far) => match &status.far_writes {
                        None => Backend::of(far, far_up),
                        Some(writes) => Backend::of(far, far_up).with_writes(writes),
                    },
                },
                keys: Keys { state: keys.into() },
            },
            near: Some(status.near.into()),
            waiting: Places {
                used: status.waiting.0,
                of: status.waiting.1,
            },
            troubled: status
                .tasks
                .iter()
                .filter(|task| task.troubled)
                .map(|task| task.name)
                .collect(),
            component: Component {
                digest: &status.component.running.digest,
                as_wanted: status.component.as_wanted,
                errors: trouble.iter().map(|one| &*one.error).collect(),
                kinds: trouble.iter().map(|one| one.kind).collect(),
            },
        }
    }

    pub fn is_ready(&self) -> bool {
        !matches!(self.status, Standing::Unready | Standing::Draining)
    }

    /// The same, of an instance that is about to go.
    pub fn drain(mut self) -> Self {
        self.status = Standing::Draining;
        self
    }

    /// For everybody: errors in a few words of our own, since those of drivers and files name
    /// users, addresses and paths; and nothing that tells how many tenants there are, or how often
    /// they write.
    pub fn public(mut self) -> Self {
        let Dependencies {
            origin, feed, far, ..
        } = &mut self.dependencies;
        for backend in [origin, far] {
            backend.backend = None;
            backend.error = class(backend.error, SERVERS);
            if let Some(writes) = &mut backend.writes {
                writes.error = class(writes.error, SERVERS);
            }
        }
        feed.error = class(feed.error, SERVERS);
        (feed.watermark, feed.window, self.near) = (None, None, None);
        let kinds = self.component.kinds.iter();
        self.component.errors = kinds.map(|kind| say_kind(*kind)).collect();
        self
    }
}

/// What an error says if it has this in it, the first that fits; the last fits all.
const SERVERS: &[(&str, &str)] = &[
    ("ordain migrate", "the schema is missing or old"),
    ("row level security", "a role gets past row level security"),
    ("read-only", "it takes no changes"),
    ("OOM ", "its memory is full"),
    ("NOREPLICAS", "too few replicas follow it"),
    ("MISCONF", "it cannot write to its disk"),
    ("LOADING", "it is still loading its data"),
    ("CLUSTERDOWN", "the cluster is not whole"),
    ("NOPERM", "its user may not do what is needed"),
    (
        "user executing the script can't",
        "its user may not do what is needed",
    ),
    ("DENIED", "it is in protected mode"),
    ("BUSY ", "it is busy with a script"),
    ("unknown command", "it lacks a command that is needed"),
    ("nknown Redis command", "it lacks a command that is needed"),
    ("max number of clients", "it has too many clients"),
    ("knows no primary", "the sentinels know no such primary"),
    ("redis+cluster://", "it is a node of a cluster"),
    ("replica", "it is a replica"),
    ("READONLY", "it is a replica"),
    ("uthentication", "authentication failed"),
    ("WRONGPASS", "authentication failed"),
    ("NOAUTH", "authentication failed"),
    ("certificate", "its certificate is not accepted"),
    ("refused", "the connection was refused"),
    ("far refuses", "it refuses what is asked of it"),
    ("time", "it did not answer in time"),
    ("deadline", "it did not answer in time"),
    ("no answer", "it did not answer in time"),
    ("", "it does not answer as it should"),
];

/// What everybody is told of a component that does not run here.
fn say_kind(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Unsigned => "the component has no signature",
        TroubleKind::Signature => "the component's signature is not accepted",
        TroubleKind::World => "the component does not fit the world",
        TroubleKind::Vectors => "the component answers decision vectors otherwise",
        TroubleKind::Other => "the component cannot be loaded",
    }
}

fn class(error: &str, classes: &[(&str, &'static str)]) -> &'static str {
    if error.is_empty() {
        return "";
    }
    let found = classes.iter().find(|(part, _)| error.contains(part));
    found.map_or("", |(_, class)| class)
}
