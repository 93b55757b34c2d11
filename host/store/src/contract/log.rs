//! Contract of the change log: what is written is read in order, none is lost, and waiting ends.

use std::time::Duration;

use futures::future::join_all;

use super::support::{body, put, read_one, somebody, tenant, write};
use crate::{Change, ChangeLog, LogRow, Origin, Precondition, WriteError, WrittenMany};

/// Many at once: each is logged, a tenant that comes twice too; the last one counts.
pub async fn many_are_put_at_once(origin: &dyn Origin, log: &dyn ChangeLog) {
    let mut many: Vec<_> = (0..40)
        .map(|n| (tenant(&format!("t{n:02}")), body("m1")))
        .collect();
    many.push((tenant("t00"), body("m2")));
    let put = origin.put_many(&many, &somebody()).await.expect("written");
    assert_eq!(put.written, 41);
    let last = put.revision;
    assert_eq!(
        read_one(origin, "t00").await,
        (last, Some((body("m2"), last)))
    );
    let (rows, whole) = log.newest(100).await.expect("the log answers");
    assert!(whole);
    let ids: Vec<_> = rows
        .iter()
        .map(|row| row.tenant.clone().unwrap_or_default())
        .collect();
    let expected: Vec<_> = many.iter().map(|(tenant, _)| tenant.to_string()).collect();
    assert_eq!(ids, expected, "in the order given");
    // Nothing, and what is stored like that already.
    let same = [many[1].clone(), many[40].clone()];
    for again in [&[][..], &same] {
        let again = origin.put_many(again, &somebody()).await;
        let nothing = WrittenMany {
            revision: last,
            written: 0,
        };
        assert_eq!(again.ok(), Some(nothing));
    }
    assert_eq!(
        log.newest(100).await.expect("the log answers").0,
        rows,
        "nothing was put"
    );
}

/// F2 and F3: what the feed reads.
pub async fn the_log_is_read_in_order(origin: &dyn Origin, log: &dyn ChangeLog) {
    assert_eq!(log.newest(5).await, Ok((Vec::new(), true)));
    assert_eq!(log.since(0, 5).await, Ok(Vec::new()));
    let mut positions = Vec::new();
    for n in 0..6 {
        positions.push(put(origin, &format!("t{n}"), "m").await.revision);
    }
    let gone = write(origin, "t0", Change::Delete, Precondition::None)
        .await
        .expect("deleted");
    positions.push(gone.revision);

    let places = |rows: &[LogRow]| rows.iter().map(|row| row.position).collect::<Vec<_>>();
    let (all, whole) = log.newest(7).await.expect("the log answers");
    assert_eq!((places(&all), whole), (positions.clone(), true));
    let (some, whole) = log.newest(3).await.expect("the log answers");
    assert_eq!((places(&some), whole), (positions[4..].to_vec(), false));
    assert_eq!(all[0].tenant.as_deref(), Some("t0"));
    assert_eq!(
        (all[0].subject.as_str(), all[0].op.as_str()),
        ("policy", "put")
    );
    assert_eq!(
        (all[6].tenant.as_deref(), all[6].op.as_str()),
        (Some("t0"), "delete")
    );

    let rows = log.since(positions[2], 100).await.expect("the log answers");
    assert_eq!(
        places(&rows),
        positions[2..],
        "the first row is the one asked for"
    );
    let rows = log.since(positions[2], 2).await.expect("the log answers");
    assert_eq!(places(&rows), positions[2..4]);
    let rows = log
        .since(positions[2] - 1, 1)
        .await
        .expect("the log answers");
    assert!(rows[0].position >= positions[2] - 1);
    assert_eq!(log.since(gone.revision + 1, 5).await, Ok(Vec::new()));
    assert_eq!(
        places(&log.since(0, 100).await.expect("the log answers")),
        positions
    );
}

/// F5: a change wakes who waits; and after all wakes are taken, nothing wakes without a change.
pub async fn a_change_wakes_the_feed(origin: &dyn Origin, log: &dyn ChangeLog) {
    let wait = |time| tokio::time::timeout(time, log.changed());
    // Whatever wakes are left over from the beginning.
    while wait(Duration::from_millis(300)).await.is_ok() {}
    let waking = async {
        put(origin, "a", "m").await;
    };
    let (woken, ()) = tokio::join!(wait(Duration::from_secs(5)), waking);
    assert!(woken.is_ok(), "the change did not wake the feed");
    let mut wakes = 0;
    while wait(Duration::from_millis(300)).await.is_ok() {
        wakes += 1;
        assert!(wakes < 5, "it wakes again and again though nothing changes");
    }
}

/// O1, O2: writers at once lose nothing, and a reader of the log never misses a position that
/// becomes visible later.
pub async fn concurrent_writers_are_put_in_order(origin: &dyn Origin, log: &dyn ChangeLog) {
    const WRITERS: usize = 8;
    const WRITES: usize = 50;
    let writers = join_all((0..WRITERS).map(|writer| async move {
        let mut revisions = Vec::new();
        while revisions.len() < WRITES {
            let id = format!("t{}", (writer + revisions.len()) % 5);
            match write(origin, &id, Change::Put(body("m")), Precondition::None).await {
                Ok(written) => revisions.push(written.revision),
                Err(WriteError::Busy) => {}
                Err(error) => panic!("a write failed: {error}"),
            }
        }
        assert!(revisions.is_sorted(), "one writer's revisions grow");
        revisions
    }));
    let done = std::cell::Cell::new(false);
    let follower = async {
        let mut seen: Vec<u64> = Vec::new();
        loop {
            let last_round = done.get();
            let from = seen.last().copied().unwrap_or(0);
            // On a busy machine a read may well be late; it is read again.
            if let Ok(rows) = log.since(from, 1001).await {
                seen.extend(
                    rows.iter()
                        .map(|row| row.position)
                        .filter(|position| *position > from),
                );
                if last_round {
                    return seen;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let writers = async {
        let written = writers.await;
        done.set(true);
        written
    };
    let (written, seen) = tokio::join!(writers, follower);
    let mut written: Vec<u64> = written.into_iter().flatten().collect();
    written.sort_unstable();
    assert_eq!(written.len(), WRITERS * WRITES);
    assert_eq!(
        seen, written,
        "the follower saw every position, in order, once"
    );
}
