//! The state of an instance in JSON: every dependency, near and the feed, for `/v1/caches` and, without what
//! servers are called and what they say, for `/readyz`. Not for the state itself (`ordain/status.rs`).

use std::time::Duration;

use serde::Serialize;

use crate::access::KeysState;
use crate::coherence::BreakerStatus;
use crate::ordain::{FeedStatus, NearStatus, Status, TierStatus};

#[derive(Serialize)]
pub struct Readiness<'a> {
    /// `ready`, `degraded` (answers are fresh, but slower, not for long, of another component than the
    /// fleet wants, or tokens are checked by keys of before) or `unready`.
    pub status: &'static str,
    pub dependencies: Dependencies<'a>,
    pub near: Near,
    pub waiting: Places,
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
    /// `up`, `stale` (it cannot be used as it is now, the keys from before are), `down` (it has given none yet,
    /// and there is no other) or `off`.
    pub state: &'static str,
}

#[derive(Serialize)]
pub struct Backend<'a> {
    /// `up`, `down` (its breaker is open) or `off`.
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<Breaker>,
    /// Why it is down.
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
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    watermark: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_age_ms: Option<u64>,
    window: usize,
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

fn state(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

impl<'a> Backend<'a> {
    fn of(tier: &'a TierStatus, up: bool) -> Backend<'a> {
        Backend {
            state: state(up),
            backend: Some(&tier.backend),
            breaker: Some(Breaker::of(&tier.breaker)),
            error: &tier.breaker.why,
        }
    }

    const OFF: Backend<'static> = Backend {
        state: "off",
        backend: None,
        breaker: None,
        error: "",
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
            state: state(feed.connected),
            watermark: feed.watermark,
            proven_age_ms: feed.proven_age.map(millis),
            window: feed.window.0,
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
        // The feed asks the origin four times a second: how it fares is how the origin fares.
        let origin_up = status.feed.connected && !status.origin.breaker.open;
        Readiness {
            status: match (
                status.ready && keys != Some(KeysState::Down),
                far_up && origin_up && status.component.as_wanted && keys != Some(KeysState::Stale),
            ) {
                (true, true) => "ready",
                (true, false) => "degraded",
                (false, _) => "unready",
            },
            dependencies: Dependencies {
                origin: Backend::of(&status.origin, origin_up),
                feed: Feed::of(&status.feed),
                far: match &status.far {
                    None => Backend::OFF,
                    Some(far) => Backend::of(far, far_up),
                },
                keys: Keys {
                    state: match keys {
                        Some(KeysState::Up) => "up",
                        Some(KeysState::Stale) => "stale",
                        Some(KeysState::Down) => "down",
                        None => "off",
                    },
                },
            },
            near: status.near.into(),
            waiting: Places {
                used: status.waiting.0,
                of: status.waiting.1,
            },
            component: Component {
                digest: &status.component.running.digest,
                as_wanted: status.component.as_wanted,
                errors: status
                    .component
                    .trouble
                    .iter()
                    .map(|trouble| &*trouble.error)
                    .collect(),
            },
        }
    }

    pub fn is_ready(&self) -> bool {
        self.status != "unready"
    }

    /// For everybody: errors in a few words of our own, since those of drivers and files name users, addresses
    /// and paths.
    pub fn public(mut self) -> Self {
        let Dependencies {
            origin, feed, far, ..
        } = &mut self.dependencies;
        for backend in [origin, far] {
            backend.backend = None;
            backend.error = class(backend.error, &SERVERS);
        }
        feed.error = class(feed.error, &SERVERS);
        for error in &mut self.component.errors {
            *error = class(error, &COMPONENTS);
        }
        self
    }
}

/// What an error says if it has this in it, the first that fits; the last fits all.
const SERVERS: [(&str, &str); 10] = [
    ("ordain migrate", "the schema is missing or old"),
    ("replica", "it is a replica"),
    ("READONLY", "it is a replica"),
    ("uthentication", "authentication failed"),
    ("WRONGPASS", "authentication failed"),
    ("NOAUTH", "authentication failed"),
    ("certificate", "its certificate is not accepted"),
    ("refused", "the connection was refused"),
    ("time", "it did not answer in time"),
    ("", "it does not answer as it should"),
];
const COMPONENTS: [(&str, &str); 5] = [
    ("has no signature", "the component has no signature"),
    ("signature", "the component's signature is not accepted"),
    (
        "does not fit the world",
        "the component does not fit the world",
    ),
    (
        "decision vectors",
        "the component answers decision vectors otherwise",
    ),
    ("", "the component cannot be loaded"),
];

fn class(error: &str, classes: &[(&str, &'static str)]) -> &'static str {
    if error.is_empty() {
        return "";
    }
    let found = classes.iter().find(|(part, _)| error.contains(part));
    found.map_or("", |(_, class)| class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ordain::ComponentReport;

    fn tier(backend: &str) -> TierStatus {
        TierStatus {
            backend: backend.into(),
            breaker: BreakerStatus {
                open: false,
                open_for: Duration::ZERO,
                opened: 0,
                refused: 0,
                why: String::new(),
            },
        }
    }

    fn status() -> Status {
        Status {
            ready: true,
            origin: tier("memory"),
            feed: FeedStatus {
                connected: true,
                watermark: Some(0),
                proven_age: Some(Duration::from_millis(3)),
                window: (0, 100),
                lag: None,
                purges: 0,
                ordered_purges: 0,
                queue: 0.0,
                error: String::new(),
            },
            far: Some(tier("redis at x:1")),
            near: NearStatus {
                entries: 0,
                bytes: 0,
                bytes_max: 1,
            },
            waiting: (0, 512),
            component: ComponentReport::for_tests(true),
        }
    }

    #[test]
    fn far_down_is_degraded_and_a_lost_origin_is_named() {
        let mut status = status();
        assert_eq!(Readiness::of(&status, None).status, "ready");
        if let Some(far) = &mut status.far {
            far.breaker.open = true;
            far.breaker.why = "refused".into();
        }
        let readiness = Readiness::of(&status, None);
        let far = &readiness.dependencies.far;
        assert_eq!(
            (readiness.status, far.state, far.error),
            ("degraded", "down", "refused")
        );
        status.ready = false;
        status.feed.connected = false;
        status.feed.error = "the origin did not answer".into();
        let readiness = Readiness::of(&status, None);
        assert_eq!(
            (readiness.status, readiness.dependencies.origin.state),
            ("unready", "down")
        );
        status.far = None;
        status.ready = true;
        status.feed.connected = true;
        assert_eq!(Readiness::of(&status, None).status, "ready");
        status.component = ComponentReport::for_tests(false);
        assert_eq!(Readiness::of(&status, None).status, "degraded");
        assert_eq!(Readiness::of(&status, None).dependencies.far.state, "off");
    }

    #[test]
    fn everybody_is_told_of_what_kind_an_error_is_and_no_name() {
        let mut status = status();
        let said = "password authentication failed for user \"ordain\" (28P01)";
        status.origin.breaker.why = said.into();
        status.feed.error = "no connection: 10.0.0.7 refused".into();
        let shown = |status: &Status| {
            let readiness = Readiness::of(status, Some(KeysState::Up)).public();
            serde_json::to_string(&readiness).expect("JSON")
        };
        let text = shown(&status);
        for name in [
            "\"ordain\\\"",
            "10.0.0.7",
            "redis",
            "memory",
            "x:1",
            "28P01",
        ] {
            assert!(!text.contains(name), "{name}: {text}");
        }
        assert!(text.contains("\"authentication failed\""), "{text}");
        assert!(text.contains("\"the connection was refused\""), "{text}");
    }

    #[test]
    fn keys_that_cannot_be_used_are_degraded_and_none_at_all_is_unready() {
        let mut status = status();
        status.component = ComponentReport::for_tests(true);
        for (keys, expected) in [
            (None, ("ready", "off")),
            (Some(KeysState::Up), ("ready", "up")),
            (Some(KeysState::Stale), ("degraded", "stale")),
            (Some(KeysState::Down), ("unready", "down")),
        ] {
            let readiness = Readiness::of(&status, keys);
            let state = readiness.dependencies.keys.state;
            assert_eq!((readiness.status, state), expected);
        }
    }
}
