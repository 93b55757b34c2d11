//! Contract of the upkeep of the log: settings of the fleet, purges and prunes.

use std::time::{Duration, SystemTime};

use super::support::{body, put, read_one, somebody, tenant};
use crate::ids::Key;
use crate::{ChangeLog, FleetSetting, LogRow, Origin, Pruned, WriteError};

fn change(name: &str, value: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), value.map(str::to_owned))
}

async fn set(
    origin: &dyn Origin,
    changes: &[(&str, Option<&str>)],
) -> Result<Option<u64>, WriteError> {
    let changes: Vec<_> = changes
        .iter()
        .map(|(name, value)| change(name, *value))
        .collect();
    origin.set_settings(&changes, &[], &somebody()).await
}

async fn newest(log: &dyn ChangeLog) -> (Vec<LogRow>, bool) {
    log.newest(1_000).await.expect("the log answers")
}

async fn settings(log: &dyn ChangeLog) -> Vec<FleetSetting> {
    log.settings().await.expect("the log answers")
}

/// Rows as tenant, subject and operation.
fn shown(rows: &[LogRow]) -> Vec<(Option<&str>, &str, &str)> {
    rows.iter()
        .map(|row| (row.tenant.as_deref(), row.subject.as_str(), row.op.as_str()))
        .collect()
}

/// D1: all at once, each a row of the fleet; what changes nothing is not logged.
pub async fn settings_are_logged_one_by_one_and_read_as_a_whole(
    origin: &dyn Origin,
    log: &dyn ChangeLog,
) {
    assert_eq!(settings(log).await, []);
    let nothings: [&[(&str, Option<&str>)]; 2] = [&[], &[("bound", None), ("cache", None)]];
    for nothing in nothings {
        assert_eq!(set(origin, nothing).await, Ok(None));
    }
    assert_eq!(newest(log).await, (Vec::new(), true));

    let first = [
        ("stale-limit", Some("1m")),
        ("cache.policy-far", Some("off")),
    ];
    let last = set(origin, &first).await.expect("written");
    let (rows, whole) = newest(log).await;
    assert!(whole);
    let expected = [
        (None, "setting/stale-limit", "put"),
        (None, "setting/cache.policy-far", "put"),
    ];
    assert_eq!(shown(&rows), expected);
    assert_eq!(Some(rows[1].position), last);
    let setting = |name: &str, value: &str, row: &LogRow| FleetSetting {
        name: name.to_owned(),
        value: value.to_owned(),
        revision: row.position,
    };
    let expected = [
        setting("cache.policy-far", "off", &rows[1]),
        setting("stale-limit", "1m", &rows[0]),
    ];
    assert_eq!(settings(log).await, expected);
    assert_eq!(read_one(origin, "a").await.0, rows[1].position, "the head");

    // An equal value is a change, as with policies; what is not there is none.
    let second = [
        ("stale-limit", None),
        ("bound", None),
        ("cache.policy-far", Some("off")),
    ];
    let last = set(origin, &second).await.expect("written");
    let (rows, _) = newest(log).await;
    let expected = [
        (None, "setting/stale-limit", "delete"),
        (None, "setting/cache.policy-far", "put"),
    ];
    assert_eq!(shown(&rows[2..]), expected);
    assert_eq!(Some(rows[3].position), last);
    assert_eq!(
        settings(log).await,
        [setting("cache.policy-far", "off", &rows[3])]
    );
}

/// What is no setting is refused, in words, and all with it.
pub async fn broken_settings_are_rejected(origin: &dyn Origin, log: &dyn ChangeLog) {
    let long = "x".repeat(201);
    for (name, value) in [
        ("", "on"),
        ("Bound", "1s"),
        (".bound", "1s"),
        ("a b", "1s"),
        ("a\n", "1s"),
        ("ä", "1s"),
        (&long[..64], "1s"),
        ("bound", long.as_str()),
        ("bound", "a\0b"),
        ("cache", "maybe"),
        ("cache.near", ""),
        ("cachet", "1s"),
    ] {
        let result = set(origin, &[("fine", Some("1")), (name, Some(value))]).await;
        assert!(
            matches!(&result, Err(WriteError::Rejected(why)) if !why.is_empty()),
            "{name:?} {value:?}: {result:?}"
        );
    }
    assert_eq!(settings(log).await, []);
    assert_eq!(newest(log).await, (Vec::new(), true), "all or none");
    let edge = [
        (&long[..63], Some(&long[..200])),
        ("a", Some("")),
        ("cache", Some("on")),
    ];
    assert!(set(origin, &edge).await.expect("written").is_some());
}

/// F4: a row, and nothing else.
pub async fn a_purge_is_a_row_of_its_tenant_or_of_all(origin: &dyn Origin, log: &dyn ChangeLog) {
    let written = put(origin, "a", "m1").await;
    let id = tenant("a");
    let of_a = origin.purge(Some(&id), &somebody()).await.expect("purged");
    let of_all = origin.purge(None, &somebody()).await.expect("purged");
    let strange = tenant("'; DROP TABLE \"changes\"; -- ä");
    let last = origin
        .purge(Some(&strange), &somebody())
        .await
        .expect("purged");
    let (rows, whole) = newest(log).await;
    let expected = [
        (Some("a"), "policy", "put"),
        (Some("a"), "*", "purge"),
        (None, "*", "purge"),
        (Some(strange.as_str()), "*", "purge"),
    ];
    assert_eq!((shown(&rows), whole), (expected.to_vec(), true));
    let positions: Vec<_> = rows.iter().map(|row| row.position).collect();
    assert_eq!(positions, [written.revision, of_a, of_all, last]);
    let record = Some((body("m1"), written.revision));
    assert_eq!(read_one(origin, "a").await, (last, record));
    let history = origin
        .history(&Key::policy(&id), None, 10)
        .await
        .expect("the origin answers");
    assert_eq!(history.items.len(), 1, "the history is that of the policy");
}

const DAY: Duration = Duration::from_secs(86_400);

/// As old as can be, whatever the clocks say.
fn later() -> SystemTime {
    SystemTime::now() + DAY
}

/// Prunes until nothing is left to prune; how many rows went, and the last record.
async fn prune(origin: &dyn Origin, before: SystemTime, keep: u32) -> Pruned {
    let mut total = Pruned {
        rows: 0,
        revision: None,
    };
    for _ in 0..1_000 {
        let pruned = origin
            .prune(before, keep, &somebody())
            .await
            .expect("pruned");
        assert_eq!(pruned.rows > 0, pruned.revision.is_some(), "{pruned:?}");
        if pruned.rows == 0 {
            return total;
        }
        total.rows += pruned.rows;
        total.revision = pruned.revision;
    }
    panic!("pruning does not come to an end: {total:?}");
}

/// F6: the oldest rows, never the newest; recorded; and nobody takes the rest for the whole log
/// (F2).
pub async fn a_pruned_log_keeps_its_newest_rows_and_shows_that_it_was_pruned(
    origin: &dyn Origin,
    log: &dyn ChangeLog,
) {
    let nothing = Pruned {
        rows: 0,
        revision: None,
    };
    assert_eq!(prune(origin, later(), 0).await, nothing);
    assert_eq!(newest(log).await, (Vec::new(), true));
    let mut positions = Vec::new();
    for n in 0..8 {
        positions.push(put(origin, &format!("t{n}"), "m").await.revision);
    }
    // Too young, or too few.
    assert_eq!(prune(origin, SystemTime::now() - DAY, 1).await, nothing);
    assert_eq!(prune(origin, SystemTime::UNIX_EPOCH, 1).await, nothing);
    assert_eq!(prune(origin, later(), 8).await, nothing);
    assert_eq!(prune(origin, later(), u32::MAX).await, nothing);
    assert!(newest(log).await.1, "nothing is gone");

    let pruned = prune(origin, later(), 3).await;
    assert_eq!(pruned.rows, 5);
    let (rows, whole) = newest(log).await;
    assert!(!whole, "what was pruned may have changed anything");
    let mut expected = positions[5..].to_vec();
    expected.extend(pruned.revision);
    let places = |rows: &[LogRow]| rows.iter().map(|row| row.position).collect::<Vec<_>>();
    assert_eq!(places(&rows), expected);
    assert_eq!(shown(&rows)[3], (None, "log", "prune"));
    assert!(rows[3].records_a_prune());
    let since = log.since(positions[2], 100).await.expect("the log answers");
    assert_eq!(
        places(&since),
        expected,
        "a host that was there sees that it is gone"
    );

    // The records are as they were, their history is not.
    let head = rows[3].position;
    let record = Some((body("m"), positions[0]));
    assert_eq!(read_one(origin, "t0").await, (head, record));
    let history = origin
        .history(&Key::policy(&tenant("t0")), None, 10)
        .await
        .expect("the origin answers");
    assert_eq!((history.items.len(), history.as_of), (0, head));

    // A record of a prune goes with another prune, which leaves its own.
    for n in 0..4 {
        put(origin, &format!("u{n}"), "m").await;
    }
    let again = prune(origin, later(), 2).await;
    let (rows, whole) = newest(log).await;
    let left: Vec<_> = rows.iter().map(LogRow::records_a_prune).collect();
    assert_eq!(
        (again.rows, left, whole),
        (6, vec![false, false, true], false)
    );
    assert!(!log.newest(3).await.expect("the log answers").1);

    // The newest row stays in any case.
    let last = prune(origin, later(), 0).await;
    let (rows, whole) = newest(log).await;
    assert_eq!((last.rows, rows.len(), whole), (1, 3, false));
    assert_eq!(shown(&rows)[0], (Some("u3"), "policy", "put"));
    assert_eq!(prune(origin, later(), 0).await, nothing);
    let after = put(origin, "t0", "m2").await.revision;
    assert_eq!(
        read_one(origin, "t0").await,
        (after, Some((body("m2"), after)))
    );
}

/// F5: a fill level.
pub async fn the_notification_queue_is_measured(origin: &dyn Origin, log: &dyn ChangeLog) {
    put(origin, "a", "m").await;
    let usage = log.notification_queue().await.expect("the log answers");
    assert!((0.0..0.5).contains(&usage), "{usage}");
}

/// F5: what is no write of a policy wakes the feed as well.
pub async fn settings_purges_and_prunes_wake_the_feed(origin: &dyn Origin, log: &dyn ChangeLog) {
    let wait = |time| tokio::time::timeout(time, log.changed());
    for n in 0..3 {
        put(origin, "a", "m").await;
        while wait(Duration::from_millis(300)).await.is_ok() {}
        match n {
            0 => {
                let set = set(origin, &[("bound", Some("1s"))]).await;
                assert!(set.expect("set").is_some());
            }
            1 => {
                let purged = origin.purge(None, &somebody()).await;
                assert!(purged.is_ok(), "{purged:?}");
            }
            _ => assert!(prune(origin, later(), 1).await.rows > 0),
        }
        let woken = wait(Duration::from_secs(5)).await;
        assert!(woken.is_ok(), "act {n} did not wake the feed");
    }
}
