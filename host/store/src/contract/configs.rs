//! Contract of an origin for configs: levels with a key of their own.

use super::support::{of_tenant, of_user, put, put_config, somebody};
use crate::ids::{Key, Level};
use crate::{Change, Origin, Precondition, WriteError};

/// Every field, once as small and once as large as it may be, and numbers in every notation that
/// canonical JSON has: what is read is what was written, byte by byte.
pub async fn configs_are_read_as_they_were_written(origin: &dyn Origin) {
    let mut bodies = vec![
        "{}".to_owned(),
        r#"{"autoCompactEnabled":false,"compactionIntervalMinutes":1,"mergeCompressionStrategy":"none","mergeMaxMessages":1,"mergePreservePinned":false,"pathCompressionStrategy":"none","pathCompressionThreshold":0,"pathMaxMessages":1,"pathSlidingWindowSize":1}"#.to_owned(),
        r#"{"autoCompactEnabled":true,"compactionIntervalMinutes":9007199254740991,"mergeCompressionStrategy":"aggressive","mergeMaxMessages":9007199254740991,"mergePreservePinned":true,"pathCompressionStrategy":"sliding_window","pathCompressionThreshold":1,"pathMaxMessages":9007199254740991,"pathSlidingWindowSize":9007199254740991}"#.to_owned(),
        r#"{"mergeCompressionStrategy":"minimal","pathCompressionStrategy":"semantic"}"#.to_owned(),
        r#"{"mergeCompressionStrategy":"moderate","pathCompressionStrategy":"hybrid"}"#.to_owned(),
    ];
    for threshold in [
        "0.85",
        "0.1",
        "0.3333333333333333",
        "0.0001",
        "0.00001234",
        "0.000001",
        "0.0000015",
        "9.99999e-7",
        "1e-7",
        "1.5e-10",
        "2.5e-100",
        "5e-324",
        "0.9999999999999999",
    ] {
        bodies.push(format!(r#"{{"pathCompressionThreshold":{threshold}}}"#));
    }
    for level in [Level::Global, of_tenant("a"), of_user("a", "ann")] {
        let key = Key::config(&level);
        for body in &bodies {
            let written = put_config(origin, &level, body).await;
            let snapshot = origin.read(std::slice::from_ref(&key)).await;
            let snapshot = snapshot.expect("the origin answers");
            let record = snapshot.records[0].as_ref().expect("it is there");
            assert_eq!(
                (&*record.body, record.revision),
                (&**body, written.revision)
            );
            let history = origin.history(&key, None, 1).await;
            let newest = &history.expect("the origin answers").items[0];
            assert_eq!(newest.body.as_ref(), Some(body));
        }
    }
}

/// A level is written and deleted by itself, by every precondition, and has a history of its own.
pub async fn every_level_is_a_record_of_its_own(origin: &dyn Origin) {
    let levels = [
        Level::Global,
        of_tenant("a"),
        of_user("a", "ann"),
        of_user("a", "config"),
        of_user("a", "ä/%:'\u{10ffff}"),
        of_user("b", "ann"),
        of_tenant("config"),
        of_tenant("global"),
    ];
    let mut revisions = Vec::new();
    for (number, level) in levels.iter().enumerate() {
        let body = format!(r#"{{"mergeMaxMessages":{}}}"#, number + 1);
        let key = Key::config(level);
        let present = Precondition::Present;
        let change = Change::Put(body.as_str().into());
        let early = origin
            .write(&key, change.clone(), present, &somebody())
            .await;
        assert_eq!(early, Err(WriteError::Precondition { current: None }));
        let absent = Precondition::Absent;
        let made = origin
            .write(&key, change.clone(), absent, &somebody())
            .await;
        let made = made.expect("created");
        assert!(made.created);
        let again = origin.write(&key, change, absent, &somebody()).await;
        let current = Some(made.revision);
        assert_eq!(again, Err(WriteError::Precondition { current }));
        revisions.push(made.revision);
    }
    for (number, level) in levels.iter().enumerate() {
        let key = Key::config(level);
        let snapshot = origin.read(std::slice::from_ref(&key)).await;
        let record = snapshot.expect("the origin answers").records.remove(0);
        let record = record.expect("it is there");
        let body = format!(r#"{{"mergeMaxMessages":{}}}"#, number + 1);
        assert_eq!(
            (&*record.body, record.revision),
            (&*body, revisions[number])
        );

        let at = Precondition::Revision(revisions[number]);
        let change = Change::Put(r#"{"autoCompactEnabled":true}"#.into());
        let second = origin.write(&key, change.clone(), at, &somebody()).await;
        let second = second.expect("replaced").revision;
        let late = origin.write(&key, change, at, &somebody()).await;
        let current = Some(second);
        assert_eq!(late, Err(WriteError::Precondition { current }));
        let late = origin.write(&key, Change::Delete, at, &somebody()).await;
        assert_eq!(late, Err(WriteError::Precondition { current }));
        let at = Precondition::Revision(second);
        let gone = origin.write(&key, Change::Delete, at, &somebody()).await;
        let gone = gone.expect("deleted").revision;
        let nothing = Precondition::None;
        let again = origin
            .write(&key, Change::Delete, nothing, &somebody())
            .await;
        assert_eq!(again, Err(WriteError::Absent));
        let history = origin.history(&key, None, 10).await;
        let history = history.expect("the origin answers");
        let seen: Vec<_> = history
            .items
            .iter()
            .map(|item| (item.revision, item.op.as_str()))
            .collect();
        let expected = [
            (gone, "delete"),
            (second, "put"),
            (revisions[number], "put"),
        ];
        assert_eq!(seen, expected, "{level:?}");
    }
}

/// What is no level is refused, and nothing is changed.
pub async fn configs_that_the_table_cannot_hold_are_rejected(origin: &dyn Origin) {
    let key = Key::config(&of_tenant("a"));
    let kept = r#"{"mergeMaxMessages":5}"#;
    let revision = put_config(origin, &of_tenant("a"), kept).await.revision;
    for broken in [
        "",
        "[]",
        r#"{"mergeMaxMessages":0}"#,
        r#"{"mergeMaxMessages":9007199254740992}"#,
        r#"{"mergeMaxMessages":"5"x}"#,
        r#"{"pathMaxMessages":-1}"#,
        r#"{"pathSlidingWindowSize":0}"#,
        r#"{"compactionIntervalMinutes":0}"#,
        r#"{"mergeCompressionStrategy":"extreme"}"#,
        r#"{"pathCompressionStrategy":"moderate"}"#,
        r#"{"pathCompressionThreshold":1.5}"#,
        r#"{"pathCompressionThreshold":-0.5}"#,
        r#"{"autoCompactEnabled":"maybe"}"#,
        r#"{"mergeMaxMessages":5,"newField":true}"#,
    ] {
        let change = Change::Put(broken.into());
        let by = somebody();
        let result = origin.write(&key, change, Precondition::None, &by).await;
        assert!(
            matches!(&result, Err(WriteError::Rejected(why)) if !why.is_empty()),
            "{broken}: {result:?}"
        );
    }
    let nameless = Key {
        tenant: None,
        subject: "config/ann".into(),
    };
    let change = Change::Put(kept.into());
    let by = somebody();
    let result = origin.write(&nameless, change, Precondition::None, &by);
    assert!(matches!(result.await, Err(WriteError::Rejected(_))));
    let snapshot = origin.read(&[key]).await.expect("the origin answers");
    let record = snapshot.records[0].as_ref().expect("it is there");
    assert_eq!((&*record.body, record.revision), (kept, revision));
    assert_eq!(snapshot.as_of, revision, "nothing was logged");
}

/// All levels in byte order, page by page, of whomever they are.
pub async fn levels_are_listed_in_byte_order(origin: &dyn Origin) {
    let mut places = Vec::new();
    for (tenant, user) in [
        ("", ""),
        ("a", ""),
        ("a", "ann"),
        ("a", "Ä"),
        ("a:b", "c"),
        ("Z", "z"),
        ("ä", ""),
    ] {
        let level = match (tenant, user) {
            ("", _) => Level::Global,
            (tenant, "") => of_tenant(tenant),
            (tenant, user) => of_user(tenant, user),
        };
        put_config(origin, &level, r#"{"mergeMaxMessages":5}"#).await;
        places.push((tenant, user));
    }
    put(origin, "a", "m").await;
    places.sort_unstable();
    for limit in [1_u32, 3, 100] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = origin.levels(after.as_ref(), limit).await;
            let page = page.expect("the origin answers");
            assert!(page.items.iter().all(|(_, body)| body.contains("mergeMax")));
            listed.extend(page.items.iter().map(|(place, _)| place.clone()));
            after = listed.last().cloned();
            if !page.more {
                break;
            }
            assert_eq!(page.items.len(), limit as usize);
        }
        let listed: Vec<_> = listed.iter().map(|at| (&*at.tenant, &*at.user)).collect();
        assert_eq!(listed, places, "in pages of {limit}");
    }
}

/// An audit of a level tells what is newer, as one of a policy does.
pub async fn levels_can_be_audited(origin: &dyn Origin) {
    for level in [Level::Global, of_tenant("a"), of_user("a", "ann")] {
        let key = Key::config(&level);
        let first = put_config(origin, &level, r#"{"mergeMaxMessages":5}"#).await;
        put(origin, "a", "m").await;
        let audit = origin.audit(&key, first.revision).await;
        let audit = audit.expect("the origin answers");
        assert!(audit.known && audit.newer.is_none() && audit.as_of > first.revision);
        let second = put_config(origin, &level, "{}").await;
        let audit = origin.audit(&key, first.revision).await;
        let audit = audit.expect("the origin answers");
        assert_eq!(audit.newer.map(|(at, _)| at), Some(second.revision));
        assert_eq!(
            audit.record.map(|record| record.revision),
            Some(second.revision)
        );
    }
}
