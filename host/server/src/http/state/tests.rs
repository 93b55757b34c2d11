//! What each state is called, and what everybody is told of it.

use super::*;
use ordain::door::ComponentReport;
use ordain_store::supervise::TaskStatus;

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
        in_part: false,
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
        far_writes: Some(tier("").breaker),
        near: NearStatus {
            entries: 0,
            bytes: 0,
            bytes_max: 1,
        },
        waiting: (0, 512),
        tasks: Vec::new(),
        component: ComponentReport::for_tests(true),
    }
}

#[test]
fn far_down_is_degraded_and_a_lost_origin_is_named() {
    let mut status = status();
    assert_eq!(Readiness::of(&status, None).status, Standing::Ready);
    if let Some(far) = &mut status.far {
        far.breaker.open = true;
        far.breaker.why = "refused".into();
    }
    let readiness = Readiness::of(&status, None);
    let far = &readiness.dependencies.far;
    assert_eq!(
        (readiness.status, far.state, far.error),
        (Standing::Degraded, State::Down, "refused")
    );
    if let Some(far) = &mut status.far {
        far.in_part = true;
    }
    let readiness = Readiness::of(&status, None);
    let far = &readiness.dependencies.far;
    assert_eq!(
        (readiness.status, far.state),
        (Standing::Degraded, State::Degraded)
    );
    status.ready = false;
    status.feed.connected = false;
    status.feed.error = "the origin did not answer".into();
    let readiness = Readiness::of(&status, None);
    assert_eq!(
        (readiness.status, readiness.dependencies.origin.state),
        (Standing::Unready, State::Down)
    );
    status.far = None;
    status.ready = true;
    status.feed.connected = true;
    assert_eq!(Readiness::of(&status, None).status, Standing::Ready);
    status.component = ComponentReport::for_tests(false);
    assert_eq!(Readiness::of(&status, None).status, Standing::Degraded);
    assert_eq!(
        Readiness::of(&status, None).dependencies.far.state,
        State::Off
    );
}

#[test]
fn a_far_that_takes_no_values_is_degraded_and_says_of_which_kind_the_reason_is() {
    let mut status = status();
    for (why, kind) in [
        (
            "far refuses: READONLY You can't write against a read only replica. script: x, on y",
            "it is a replica",
        ),
        (
            "far refuses: MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "it is a replica",
        ),
        (
            "far refuses: OOM command not allowed when used memory > 'maxmemory'.",
            "its memory is full",
        ),
        (
            "far refuses: NOREPLICAS Not enough good replicas to write.",
            "too few replicas follow it",
        ),
        (
            "far refuses: NOPERM this user has no permissions to run the 'eval' command",
            "its user may not do what is needed",
        ),
        (
            "far refuses: ERR unknown command 'EVAL', with args beginning with: 's3cret'",
            "it lacks a command that is needed",
        ),
        (
            "far refuses: ERR The user executing the script can't run this command or subcommand (set by the script)",
            "its user may not do what is needed",
        ),
        (
            "far refuses: ERR Unknown Redis command called from script (set by the script)",
            "it lacks a command that is needed",
        ),
        (
            "far refuses: LOADING Redis is loading the dataset in memory",
            "it is still loading its data",
        ),
        (
            "far refuses: EXECABORT Transaction discarded",
            "it refuses what is asked of it",
        ),
        (
            "h:1: authentication failed: WRONGPASS invalid username-password pair",
            "authentication failed",
        ),
        (
            "h:1: DENIED Redis is running in protected mode because",
            "it is in protected mode",
        ),
        (
            "sentinel h:1: it knows no primary named main",
            "the sentinels know no such primary",
        ),
    ] {
        let writes = status.far_writes.as_mut().expect("far");
        (writes.open, writes.why) = (true, why.to_owned());
        let readiness = Readiness::of(&status, None);
        let far = &readiness.dependencies.far;
        assert_eq!(
            (readiness.status, far.state, far.error),
            (Standing::Degraded, State::Degraded, why)
        );
        let public = Readiness::of(&status, None).public();
        let far = &public.dependencies.far;
        let writes = far.writes.as_ref().expect("told apart");
        assert_eq!(
            (far.error, writes.error, writes.state),
            (kind, kind, State::Down)
        );
        assert!(!far.breaker.as_ref().expect("of look-ups").open);
    }
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
    for figure in ["watermark", "\"window\"", "near", "entries"] {
        assert!(!text.contains(figure), "{figure}: {text}");
        let all = Readiness::of(&status, Some(KeysState::Up));
        let all = serde_json::to_string(&all).expect("JSON");
        assert!(all.contains(figure), "{figure}: {all}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_degraded_and_none_at_all_is_unready() {
    let mut status = status();
    status.component = ComponentReport::for_tests(true);
    for (keys, expected) in [
        (None, (Standing::Ready, State::Off)),
        (Some(KeysState::Up), (Standing::Ready, State::Up)),
        (Some(KeysState::Stale), (Standing::Degraded, State::Stale)),
        (Some(KeysState::Down), (Standing::Unready, State::Down)),
    ] {
        let readiness = Readiness::of(&status, keys);
        let state = readiness.dependencies.keys.state;
        assert_eq!((readiness.status, state), expected);
    }
}

#[test]
fn a_task_that_panicked_of_late_is_degraded_and_named() {
    let mut status = status();
    status.tasks = ["feed", "auditor"]
        .map(|name| TaskStatus {
            name,
            restarts: 3,
            troubled: name == "auditor",
        })
        .into();
    let readiness = Readiness::of(&status, None).public();
    let expected = (Standing::Degraded, &["auditor"][..]);
    assert_eq!((readiness.status, &*readiness.troubled), expected);
}
