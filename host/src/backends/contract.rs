//! What every backend must do, as functions to run against one (`--features contract`): an own
//! backend passes them, or it is none. Each function for origins wants an empty one; those for far
//! want keys of their own only. They panic where a backend breaks the contract.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{
    Attribution, Change, ChangeLog, FAR_FORMAT, FAR_HEADER, Far, Origin, Precondition, WriteError,
    Written,
};
use crate::ids::{Key, Tenant};

/// A record that every origin takes.
pub fn body(model: &str) -> Arc<str> {
    format!(r#"{{"defaultModel":"{model}","defaultProvider":"local"}}"#).into()
}

pub fn tenant(id: &str) -> Tenant {
    Tenant::new(id).expect("the contract uses proper ids")
}

fn somebody() -> Attribution {
    Attribution {
        actor: "contract".to_owned(),
        ..Attribution::default()
    }
}

async fn put(origin: &dyn Origin, id: &str, model: &str) -> Written {
    let change = Change::Put(body(model));
    let written = origin
        .write(&tenant(id), change, Precondition::None, &somebody())
        .await;
    written.expect("a put without precondition succeeds")
}

async fn write(
    origin: &dyn Origin,
    id: &str,
    change: Change,
    precondition: Precondition,
) -> Result<Written, WriteError> {
    origin
        .write(&tenant(id), change, precondition, &somebody())
        .await
}

async fn read_one(origin: &dyn Origin, id: &str) -> (u64, Option<(Arc<str>, u64)>) {
    let snapshot = origin
        .read(&[Key::policy(&tenant(id))])
        .await
        .expect("the origin answers");
    assert_eq!(snapshot.records.len(), 1);
    let record = snapshot.records.into_iter().next().flatten();
    (
        snapshot.as_of,
        record.map(|record| (record.body, record.revision)),
    )
}

/// O5: absent and present records, with the head of the log.
pub async fn reads_carry_the_head(origin: &dyn Origin) {
    assert_eq!(
        read_one(origin, "a").await,
        (0, None),
        "an empty log has the head 0"
    );
    let first = put(origin, "a", "m1").await;
    assert!(first.created);
    assert!(
        first.revision > 1_000_000_000_000_000,
        "positions follow the clock (O1)"
    );
    assert_eq!(
        read_one(origin, "a").await,
        (first.revision, Some((body("m1"), first.revision)))
    );
    let other = put(origin, "b", "m2").await;
    assert_eq!(
        read_one(origin, "a").await,
        (other.revision, Some((body("m1"), first.revision)))
    );
    assert_eq!(read_one(origin, "nobody").await, (other.revision, None));
}

/// O5: several keys, one snapshot, in the order asked for.
pub async fn several_keys_are_one_snapshot(origin: &dyn Origin) {
    let a = put(origin, "a", "m1").await;
    let b = put(origin, "b", "m2").await;
    let other = |tenant| Key {
        tenant,
        subject: "config".into(),
    };
    let keys = [
        Key::policy(&tenant("b")),
        Key::policy(&tenant("nobody")),
        other(Some(tenant("a"))),
        Key::policy(&tenant("a")),
        other(None),
        Key::policy(&tenant("b")),
    ];
    let snapshot = origin.read(&keys).await.expect("the origin answers");
    let revisions: Vec<_> = snapshot
        .records
        .iter()
        .map(|record| record.as_ref().map(|record| record.revision))
        .collect();
    let (a, b) = (Some(a.revision), Some(b.revision));
    assert_eq!(revisions, [b, None, None, a, None, b]);
    assert_eq!(Some(snapshot.as_of), b);
    let nothing = origin.read(&[]).await.expect("the origin answers");
    assert_eq!((Some(nothing.as_of), nothing.records.len()), (b, 0));
}

/// O1: put, replace, delete, put again: each a higher revision, an equal record too.
pub async fn revisions_strictly_grow(origin: &dyn Origin) {
    let mut last = 0;
    for (change, created) in [
        (Change::Put(body("m1")), true),
        (Change::Put(body("m2")), false),
        (Change::Put(body("m2")), false),
        (Change::Delete, false),
        (Change::Put(body("m3")), true),
    ] {
        let written = write(origin, "a", change, Precondition::None)
            .await
            .expect("written");
        assert!(written.revision > last, "{} after {last}", written.revision);
        assert_eq!(written.created, created);
        last = written.revision;
        assert_eq!(
            read_one(origin, "a").await.0,
            last,
            "the head is the revision just written"
        );
    }
}

/// Every precondition, on a record that is there and on one that is not; what fails changes nothing.
pub async fn preconditions(origin: &dyn Origin) {
    use Precondition::{Absent, None as Nothing, Present, Revision};
    let there = put(origin, "there", "m1").await.revision;
    let head = || async { read_one(origin, "there").await.0 };
    let missed = |current| Err(WriteError::Precondition { current });

    for (id, precondition, expected) in [
        ("there", Absent, missed(Some(there))),
        ("there", Revision(there - 1), missed(Some(there))),
        ("there", Revision(there + 1), missed(Some(there))),
        ("there", Revision(0), missed(Some(there))),
        ("there", Revision(u64::MAX), missed(Some(there))),
        ("gone", Present, missed(None)),
        ("gone", Revision(there), missed(None)),
    ] {
        let before = head().await;
        let put = write(origin, id, Change::Put(body("m2")), precondition).await;
        assert_eq!(put, expected, "put {id} {precondition:?}");
        let delete = write(origin, id, Change::Delete, precondition).await;
        assert_eq!(delete, expected, "delete {id} {precondition:?}");
        assert_eq!(head().await, before, "nothing was logged");
    }
    for precondition in [Nothing, Absent] {
        let delete = write(origin, "gone", Change::Delete, precondition).await;
        assert_eq!(
            delete,
            Err(WriteError::Absent),
            "delete gone {precondition:?}"
        );
    }
    assert_eq!(read_one(origin, "there").await.1, Some((body("m1"), there)));

    let created = write(origin, "new", Change::Put(body("m1")), Absent)
        .await
        .expect("created");
    assert!(created.created);
    let present = write(origin, "new", Change::Put(body("m2")), Present)
        .await
        .expect("replaced");
    assert!(!present.created && present.revision > created.revision);
    let at = Revision(present.revision);
    let matched = write(origin, "new", Change::Put(body("m3")), at)
        .await
        .expect("replaced");
    assert_eq!(
        read_one(origin, "new").await.1,
        Some((body("m3"), matched.revision))
    );
    let at = Revision(matched.revision);
    let deleted = write(origin, "new", Change::Delete, at)
        .await
        .expect("deleted");
    assert_eq!(read_one(origin, "new").await, (deleted.revision, None));
    put(origin, "new", "m4").await;
    write(origin, "new", Change::Delete, Present)
        .await
        .expect("deleted");
}

/// What is no record at all is refused, in words, and changes nothing.
pub async fn broken_records_are_rejected(origin: &dyn Origin) {
    let long = format!(
        r#"{{"defaultModel":"{}","defaultProvider":"p"}}"#,
        "m".repeat(262_144)
    );
    for broken in ["", "{", "[]", "null", "\"text\"", long.as_str()] {
        let result = write(origin, "a", Change::Put(broken.into()), Precondition::None).await;
        let start: String = broken.chars().take(20).collect();
        assert!(
            matches!(&result, Err(WriteError::Rejected(why)) if !why.is_empty()),
            "{start}: {result:?}"
        );
        let many = [(tenant("b"), body("m1")), (tenant("a"), broken.into())];
        let result = origin.put_many(&many, &somebody()).await;
        assert!(
            matches!(result, Err(WriteError::Rejected(_))),
            "{start}: {result:?}"
        );
    }
    assert_eq!(read_one(origin, "a").await, (0, None));
    assert_eq!(read_one(origin, "b").await, (0, None), "all or none");
}

/// The history: newest first, in pages, attributed, of one tenant only.
pub async fn history_is_attributed_and_paged(origin: &dyn Origin) {
    let by = Attribution {
        actor: "ann <'; DROP TABLE changes; -->".to_owned(),
        request_id: Some("r-1".to_owned()),
        reason: Some("größer, \"quoted\"\\".to_owned()),
    };
    let id = tenant("a");
    let change = Change::Put(body("m1"));
    let first = origin
        .write(&id, change, Precondition::None, &by)
        .await
        .expect("written")
        .revision;
    put(origin, "b", "other").await;
    let second = put(origin, "a", "m2").await.revision;
    let deleted = write(origin, "a", Change::Delete, Precondition::None)
        .await
        .expect("deleted");

    let all = origin
        .history(&id, None, 10)
        .await
        .expect("the origin answers");
    assert!(!all.more);
    assert_eq!(all.as_of, deleted.revision);
    let seen: Vec<_> = all
        .items
        .iter()
        .map(|item| (item.revision, item.op.as_str(), item.body.clone()))
        .collect();
    let text = |model| Some(body(model).to_string());
    let (m1, m2) = (text("m1"), text("m2"));
    assert_eq!(
        seen,
        [
            (deleted.revision, "delete", None),
            (second, "put", m2),
            (first, "put", m1)
        ]
    );
    let oldest = &all.items[2];
    assert_eq!(
        (&oldest.actor, &oldest.request_id, &oldest.reason),
        (&by.actor, &by.request_id, &by.reason)
    );
    assert_eq!(all.items[0].actor, "contract");
    assert_eq!(
        (&all.items[0].request_id, &all.items[0].reason),
        (&None, &None)
    );
    for item in &all.items {
        assert!(
            humantime::parse_rfc3339(&item.at).is_ok() && item.at.len() == 27,
            "{}",
            item.at
        );
    }

    let page = origin
        .history(&id, None, 2)
        .await
        .expect("the origin answers");
    assert_eq!((page.items.as_slice(), page.more), (&all.items[..2], true));
    let page = origin
        .history(&id, Some(second), 2)
        .await
        .expect("the origin answers");
    assert_eq!((page.items.as_slice(), page.more), (&all.items[2..], false));
    let exact = origin
        .history(&id, None, 3)
        .await
        .expect("the origin answers");
    assert!(!exact.more);
    let none = origin
        .history(&tenant("nobody"), None, 5)
        .await
        .expect("the origin answers");
    assert_eq!(
        (none.items.len(), none.more, none.as_of),
        (0, false, deleted.revision)
    );
}

/// Tenants in byte order, page by page, whatever their ids look like.
pub async fn tenants_are_listed_in_byte_order(origin: &dyn Origin) {
    let empty = origin.tenants(None, 5).await.expect("the origin answers");
    assert_eq!((empty.items.len(), empty.more, empty.as_of), (0, false, 0));
    let mut ids = [
        "default",
        "global",
        "a:b",
        "a/b",
        "a%2Fb",
        "a b",
        " ",
        "Ä",
        "ä",
        "z",
        "Z",
        "租户",
        "🦀",
        "'",
        "\"",
        "\\",
        "NULL",
        "a",
        "...",
        "\u{10ffff}",
        "\u{e000}",
    ];
    let mut last = 0;
    for id in ids {
        last = put(origin, id, "m").await.revision;
        assert_eq!(
            read_one(origin, id).await.1,
            Some((body("m"), last)),
            "{id}"
        );
    }
    ids.sort_unstable();
    for limit in [1_u32, 4, 100] {
        let (mut listed, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = origin
                .tenants(after.as_deref(), limit)
                .await
                .expect("the origin answers");
            assert_eq!(page.as_of, last);
            assert!(page.items.len() <= limit as usize);
            listed.extend(page.items.iter().map(|item| item.tenant.clone()));
            after = page.items.last().map(|item| item.tenant.clone());
            if !page.more {
                break;
            }
            assert_eq!(
                page.items.len(),
                limit as usize,
                "only the last page is short"
            );
        }
        assert_eq!(listed, ids, "in pages of {limit}");
    }
    write(origin, "a", Change::Delete, Precondition::None)
        .await
        .expect("deleted");
    let all = origin.tenants(None, 100).await.expect("the origin answers");
    assert!(
        !all.items.iter().any(|item| item.tenant == "a"),
        "a deleted policy is not listed"
    );
}

/// Many at once: each is logged, a tenant that comes twice too; the last one counts.
pub async fn many_are_put_at_once(origin: &dyn Origin, log: &dyn ChangeLog) {
    let mut many: Vec<_> = (0..40)
        .map(|n| (tenant(&format!("t{n:02}")), body("m1")))
        .collect();
    many.push((tenant("t00"), body("m2")));
    let last = origin.put_many(&many, &somebody()).await.expect("written");
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
    assert_eq!(
        origin.put_many(&[], &somebody()).await.ok(),
        Some(last).filter(|_| rows.len() == 41)
    );
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

    let places = |rows: &[super::LogRow]| rows.iter().map(|row| row.position).collect::<Vec<_>>();
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

fn far_value(as_of: u64, mark: &str, rest: &[u8]) -> Vec<u8> {
    let mut value = format!("{FAR_FORMAT}{as_of:020}{mark:-<40}").into_bytes();
    assert_eq!(value.len(), FAR_HEADER);
    value.extend_from_slice(rest);
    value
}

const LONG: Duration = Duration::from_secs(60);

async fn get_one(far: &dyn Far, key: &str) -> Option<Vec<u8>> {
    let values = far.get(&[key.to_owned()]).await.expect("far answers");
    assert_eq!(values.len(), 1);
    values.into_iter().next().flatten()
}

/// Bytes come back as they were, under any key, several at once in order.
pub async fn far_returns_what_was_put(far: &dyn Far) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let keys = ["contract:a", "contract:b c", "contract:ä\r\n", "contract:"];
    for (n, key) in (1_u64..).zip(keys) {
        assert_eq!(get_one(far, key).await, None);
        assert_eq!(
            far.put(key, &far_value(n, "x", &every_byte), b"", LONG)
                .await,
            Ok(true)
        );
    }
    let asked = ["contract:b c", "contract:none", "contract:", "contract:b c"].map(str::to_owned);
    let value = |n| Some(far_value(n, "x", &every_byte));
    assert_eq!(
        far.get(&asked).await,
        Ok(vec![value(2), None, value(4), value(2)])
    );
    assert_eq!(far.get(&[]).await, Ok(Vec::new()));
    let big = far_value(9, "x", &vec![7; 300_000]);
    assert_eq!(far.put("contract:a", &big, b"", LONG).await, Ok(true));
    assert_eq!(get_one(far, "contract:a").await, Some(big));
}

/// A value is gone after its time, and no longer in the way.
pub async fn far_values_expire(far: &dyn Far) {
    let key = "contract:expiry";
    let value = far_value(5, "x", b"");
    assert_eq!(
        far.put(key, &value, b"", Duration::from_millis(80)).await,
        Ok(true)
    );
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while get_one(far, key).await.is_some() {
        assert!(
            std::time::Instant::now() < until,
            "the value does not expire"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        far.put(key, &far_value(4, "x", b""), b"", LONG).await,
        Ok(true)
    );
    // A life of zero is a short one, not an error and not an eternal one.
    assert!(
        far.put(key, &far_value(6, "x", b""), b"", Duration::ZERO)
            .await
            .is_ok()
    );
}

/// A4: only what is newer replaces, or what replaces exactly the header that was judged.
pub async fn far_puts_only_what_is_newer(far: &dyn Far) {
    let key = "contract:newer";
    // Numbers whose order as strings without zeros would be another one.
    let (v9, v10, v11) = (
        far_value(9, "x", b"9"),
        far_value(10, "x", b"10"),
        far_value(11, "x", b"11"),
    );
    assert_eq!(far.put(key, &v10, b"", LONG).await, Ok(true));
    assert_eq!(far.put(key, &v9, b"", LONG).await, Ok(false), "older");
    assert_eq!(
        far.put(key, &far_value(10, "y", b""), b"", LONG).await,
        Ok(false),
        "equal"
    );
    assert_eq!(
        get_one(far, key).await,
        Some(v10.clone()),
        "a refused put changes nothing"
    );
    assert_eq!(far.put(key, &v11, b"", LONG).await, Ok(true), "newer");

    // Of a lost history (H16): higher, but judged unusable.
    let seen = &v11[..FAR_HEADER];
    assert_eq!(
        far.put(key, &v9, &v10[..FAR_HEADER], LONG).await,
        Ok(false),
        "another was seen"
    );
    assert_eq!(
        far.put(key, &v9, &seen[..30], LONG).await,
        Ok(false),
        "half a header"
    );
    assert_eq!(
        far.put(key, &v9, seen, LONG).await,
        Ok(true),
        "this one was seen"
    );
    assert_eq!(get_one(far, key).await, Some(v9.clone()));
    assert_eq!(
        far.put(key, &v10, seen, LONG).await,
        Ok(true),
        "newer, whatever was seen"
    );

    let high = 1_u64 << 51;
    assert_eq!(
        far.put(key, &far_value(high, "x", b""), b"", LONG).await,
        Ok(true)
    );
    assert_eq!(
        far.put(key, &far_value(high - 1, "x", b""), b"", LONG)
            .await,
        Ok(false)
    );
    assert_eq!(
        far.put(key, &far_value(high + 1, "x", b""), b"", LONG)
            .await,
        Ok(true)
    );
}

/// A4: what cannot be read is in nobody's way. `plant` leaves bytes under a key, past all rules.
pub async fn far_overwrites_what_it_cannot_read<F>(
    far: &dyn Far,
    plant: impl Fn(String, Vec<u8>) -> F,
) where
    F: Future<Output = ()>,
{
    let newest = far_value(u64::MAX >> 12, "x", b"");
    let mut other_format = newest.clone();
    other_format[1] = b'2';
    let mut no_digits = newest.clone();
    no_digits[5] = b'x';
    let mut spaces = newest.clone();
    spaces[2..22].fill(b' ');
    let planted = [
        Vec::new(),
        b"garbage".to_vec(),
        newest[..FAR_HEADER - 1].to_vec(),
        other_format,
        no_digits,
        spaces,
        vec![0; 100],
    ];
    for (n, bytes) in planted.into_iter().enumerate() {
        let key = format!("contract:unreadable:{n}");
        plant(key.clone(), bytes.clone()).await;
        assert_eq!(
            get_one(far, &key).await,
            Some(bytes),
            "far judges nothing that it returns"
        );
        let value = far_value(1, "x", b"new");
        assert_eq!(far.put(&key, &value, b"", LONG).await, Ok(true), "case {n}");
        assert_eq!(get_one(far, &key).await, Some(value));
    }
    // The planted way itself: what can be read does stay.
    plant("contract:readable".to_owned(), newest.clone()).await;
    assert_eq!(
        far.put("contract:readable", &far_value(1, "x", b""), b"", LONG)
            .await,
        Ok(false)
    );
}
