//! Contract of an origin's reads and writes.

use super::support::{
    body, of_tenant, of_user, put, put_config, read_one, somebody, tenant, write,
};
use crate::ids::{Key, Level};
use crate::{Attribution, Change, Origin, OriginError, PAGE_BYTES, Precondition, WriteError};

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

/// O5: several keys of one tenant and of the fleet, one snapshot, in the order asked for.
pub async fn several_keys_are_one_snapshot(origin: &dyn Origin) {
    let a = put(origin, "a", "m1").await;
    put(origin, "b", "m2").await;
    let a_config = put_config(origin, &of_tenant("a"), r#"{"mergeMaxMessages":5}"#).await;
    let user = put_config(origin, &of_user("a", "ann"), r#"{"pathMaxMessages":7}"#).await;
    put_config(origin, &of_user("a", "bob"), r#"{"pathMaxMessages":8}"#).await;
    put_config(origin, &of_user("b", "ann"), r#"{"pathMaxMessages":9}"#).await;
    let global = put_config(origin, &Level::Global, r#"{"mergeMaxMessages":3}"#).await;
    let other = |tenant, subject: &str| Key {
        tenant,
        subject: subject.into(),
    };
    let keys = [
        Key::config(&Level::Global),
        Key::policy(&tenant("a")),
        Key::config(&of_user("a", "nobody")),
        Key::config(&of_user("a", "ann")),
        other(Some(tenant("a")), "something"),
        other(Some(tenant("a")), "config/"),
        other(None, "policy"),
        other(None, "config/ann"),
        Key::config(&of_tenant("a")),
        Key::policy(&tenant("a")),
    ];
    let snapshot = origin.read(&keys).await.expect("the origin answers");
    let revisions: Vec<_> = snapshot
        .records
        .iter()
        .map(|record| record.as_ref().map_or(0, |record| record.revision))
        .collect();
    let (policy, config) = (a.revision, a_config.revision);
    let expected = [
        global.revision,
        policy,
        0,
        user.revision,
        0,
        0,
        0,
        0,
        config,
        policy,
    ];
    assert_eq!(revisions, expected);
    assert_eq!(snapshot.as_of, global.revision);
    let nothing = origin.read(&[]).await.expect("the origin answers");
    assert_eq!((nothing.as_of, nothing.records.len()), (global.revision, 0));
    let mixed = [Key::policy(&tenant("a")), Key::policy(&tenant("b"))];
    let mixed = origin.read(&mixed).await;
    assert!(
        matches!(&mixed, Err(OriginError::Unavailable(why)) if why.contains("one tenant")),
        "{mixed:?}"
    );
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

/// Every precondition, on a record that is there and on one that is not; what fails changes
/// nothing.
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

/// Pages have a mebibyte at most, whatever is stored, and at least one item; the rest follows.
pub async fn pages_are_bounded_by_bytes(origin: &dyn Origin) {
    let large = |n: usize| body(&format!("{n}{}", "m".repeat(200_000)));
    for n in 0..12 {
        let change = Change::Put(large(n));
        let written = write(origin, "a", change, Precondition::None).await;
        written.expect("written");
        let many = [(tenant(&format!("t{n:02}")), large(n))];
        origin.put_many(&many, &somebody()).await.expect("written");
    }
    let bytes = |bodies: &mut dyn Iterator<Item = usize>| {
        let sizes: Vec<usize> = bodies.collect();
        let sum: usize = sizes.iter().sum();
        assert!(!sizes.is_empty() && sum <= PAGE_BYTES, "{sizes:?}");
        sizes.len()
    };
    let (mut seen, mut before) = (0, None);
    loop {
        let key = Key::policy(&tenant("a"));
        let page = origin.history(&key, before, 500).await.expect("a page");
        let bodies = page.items.iter().flat_map(|item| &item.body);
        seen += bytes(&mut bodies.map(String::len));
        before = page.items.last().map(|item| item.revision);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 12);
    let (mut seen, mut after) = (0, None::<String>);
    loop {
        let page = origin.policies(after.as_deref(), 500).await;
        let page = page.expect("a page");
        seen += bytes(&mut page.items.iter().map(|(_, body)| body.len()));
        after = page.items.last().map(|(entry, _)| entry.tenant.clone());
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 13);
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
        .write(&Key::policy(&id), change, Precondition::None, &by)
        .await
        .expect("written")
        .revision;
    put(origin, "b", "other").await;
    let second = put(origin, "a", "m2").await.revision;
    let deleted = write(origin, "a", Change::Delete, Precondition::None)
        .await
        .expect("deleted");

    let all = origin
        .history(&Key::policy(&id), None, 10)
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
        .history(&Key::policy(&id), None, 2)
        .await
        .expect("the origin answers");
    assert_eq!((page.items.as_slice(), page.more), (&all.items[..2], true));
    let page = origin
        .history(&Key::policy(&id), Some(second), 2)
        .await
        .expect("the origin answers");
    assert_eq!((page.items.as_slice(), page.more), (&all.items[2..], false));
    let exact = origin
        .history(&Key::policy(&id), None, 3)
        .await
        .expect("the origin answers");
    assert!(!exact.more);
    let none = origin
        .history(&Key::policy(&tenant("nobody")), None, 5)
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
