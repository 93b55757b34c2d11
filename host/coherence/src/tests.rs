//! Tests of the window, the test V and the feed, on a scripted change log.

mod background;
mod far_faults;
mod feed_task;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::clock::Moment;
use super::feed::Feed;
use super::origin::OriginReader;
use super::window::Coherence;
use crate::caches::Caches;
use crate::caches::Configured;
use crate::places::Places;
use ordain_store::ids::{Key, Tenant};
use ordain_store::memory::MemoryOrigin;
use ordain_store::{Attribution, Change, LogRow, Origin, Precondition, Record};

fn key(tenant: &str) -> Key {
    Key::policy(&Tenant::new(tenant).expect("a valid id"))
}

fn row(position: u64, tenant: &str) -> LogRow {
    LogRow {
        position,
        tenant: Some(tenant.into()),
        subject: "policy".into(),
        op: "put".into(),
    }
}

/// A purge of one tenant.
fn purge(position: u64, tenant: &str) -> LogRow {
    LogRow {
        subject: "*".into(),
        op: "purge".into(),
        ..row(position, tenant)
    }
}

/// A row of the fleet.
fn fleet(position: u64, subject: &str, op: &str) -> LogRow {
    LogRow {
        position,
        tenant: None,
        subject: subject.into(),
        op: op.into(),
    }
}

fn record(revision: u64) -> Record {
    Record {
        body: "{}".into(),
        revision,
    }
}

/// A host that has loaded rows 10 (a), 20 (b), 30 (a).
fn loaded() -> Coherence {
    let coherence = Coherence::new(1 << 20, 100);
    coherence.load(
        &[row(10, "a"), row(20, "b"), row(30, "a")],
        true,
        Moment::now(),
    );
    coherence
}

#[test]
fn nothing_is_valid_before_the_log_is_known() {
    let coherence = Coherence::new(1 << 20, 100);
    assert!(coherence.view().is_none());
    assert!(coherence.fill(&key("a"), None, 0).is_none());
}

#[test]
fn a_value_is_valid_only_as_of_a_position_of_the_window_after_its_last_change() {
    let coherence = loaded();
    for (tenant, as_of, valid) in [
        ("a", 30, true),
        ("a", 20, false), // changed at 30
        ("b", 20, true),
        ("b", 30, true),
        ("b", 10, false), // changed at 20
        ("b", 25, false), // no position of this history
        ("b", 31, false), // from the future
        ("c", 10, true),
        ("c", 0, true), // the window holds the whole log
        ("a", 0, false),
    ] {
        assert_eq!(
            coherence.usable(&key(tenant), as_of),
            valid,
            "{tenant} as of {as_of}"
        );
    }
}

#[test]
fn without_the_whole_log_nothing_is_valid_as_of_its_beginning() {
    let coherence = Coherence::new(1 << 20, 100);
    coherence.load(&[row(10, "a")], false, Moment::now());
    assert!(!coherence.usable(&key("c"), 0));
    assert!(coherence.usable(&key("c"), 10));
}

#[test]
fn applying_a_change_removes_the_entry_and_refuses_its_return() {
    let coherence = loaded();
    coherence
        .fill(&key("a"), Some(&record(30)), 30)
        .expect("valid");
    coherence.apply(&row(40, "a"));
    assert!(coherence.near.get(Some("a"), "policy").is_none());
    assert!(
        coherence.fill(&key("a"), Some(&record(30)), 30).is_none(),
        "a late fill"
    );
    assert!(coherence.fill(&key("a"), Some(&record(40)), 40).is_some());
}

#[test]
fn a_fence_holds_until_a_later_read_of_the_log_proves_what_it_knew() {
    let coherence = loaded();
    coherence
        .fill(&key("a"), Some(&record(30)), 30)
        .expect("valid");
    coherence.raise_fence(&key("a"), 35);
    assert!(coherence.near.get(Some("a"), "policy").is_none());
    assert!(!coherence.usable(&key("a"), 30));
    // A read that was sent before the fence was raised says nothing about it.
    coherence.prove(Moment::now().minus(Duration::from_secs(1)));
    assert!(!coherence.usable(&key("a"), 30));
    // One that was sent afterwards does: the change at 35 was of a history that is lost.
    coherence.prove(Moment::now());
    assert!(coherence.usable(&key("a"), 30));
}

#[test]
fn too_many_fences_become_one_for_all_keys() {
    let coherence = loaded();
    for i in 0..10_001 {
        coherence.raise_fence(&key(&format!("t{i}")), 35);
    }
    assert!(!coherence.usable(&key("never fenced"), 30));
    coherence.prove(Moment::now());
    assert!(coherence.usable(&key("never fenced"), 30));
}

#[test]
fn a_window_that_overflows_forgets_its_oldest_rows_and_what_depends_on_them() {
    let coherence = Coherence::new(1 << 20, 2);
    coherence.load(&[row(10, "a"), row(20, "b")], true, Moment::now());
    coherence.apply(&row(30, "c"));
    assert_eq!(coherence.window_rows(), (2, 2));
    assert!(!coherence.usable(&key("a"), 10));
    assert!(!coherence.usable(&key("d"), 0));
    assert!(coherence.usable(&key("a"), 20));
}

#[test]
fn a_purge_drops_everything_and_a_reply_from_before_it_is_not_applied() {
    let coherence = loaded();
    coherence
        .fill(&key("a"), Some(&record(30)), 30)
        .expect("valid");
    let before = coherence.purges();
    coherence.purge("a test");
    assert!(coherence.view().is_none());
    assert!(coherence.near.get(Some("a"), "policy").is_none());
    assert!(!coherence.step(before, || coherence.apply(&row(40, "a"))));
    assert!(coherence.view().is_none());
}

#[test]
fn a_logged_purge_and_a_row_that_names_no_tenant_touch_every_key() {
    for odd in [
        LogRow {
            tenant: None,
            op: "purge".into(),
            ..row(40, "")
        },
        row(40, "\u{7}"),
    ] {
        let coherence = loaded();
        coherence
            .fill(&key("b"), Some(&record(20)), 30)
            .expect("valid");
        coherence.apply(&odd);
        assert!(coherence.near.get(Some("b"), "policy").is_none());
        assert!(!coherence.usable(&key("b"), 30));
        assert!(coherence.usable(&key("b"), 40));
    }
}

#[test]
fn a_purge_of_one_tenant_touches_all_its_keys_and_no_other() {
    let config = Key {
        subject: "config".into(),
        ..key("a")
    };
    let applied = loaded();
    for key in [&key("a"), &config, &key("b")] {
        applied.fill(key, Some(&record(30)), 30).expect("valid");
    }
    assert!(applied.not_overtaken(&config, 30));
    applied.apply(&purge(40, "a"));
    assert!(applied.near.get(Some("a"), "policy").is_none());
    assert!(applied.near.get(Some("a"), "config").is_none());
    assert!(applied.near.get(Some("b"), "policy").is_some());

    // A host that starts finds the purge in the log.
    let loaded = Coherence::new(1 << 20, 100);
    let newest = [row(10, "a"), row(20, "b"), row(30, "a"), purge(40, "a")];
    loaded.load(&newest, true, Moment::now());
    for coherence in [&applied, &loaded] {
        for key in [&key("a"), &config] {
            assert!(!coherence.usable(key, 30));
            assert!(!coherence.usable(key, 0));
            assert!(!coherence.not_overtaken(key, 30));
            assert!(coherence.usable(key, 40));
            assert!(coherence.not_overtaken(key, 40));
        }
        assert!(coherence.usable(&key("b"), 30));
        assert!(coherence.not_overtaken(&key("b"), 30));
        assert!(coherence.usable(&key("c"), 0));
    }
}

#[test]
fn a_purge_is_forgotten_when_it_leaves_the_window_and_a_later_one_is_not() {
    let coherence = Coherence::new(1 << 20, 3);
    let newest = [purge(10, "a"), purge(20, "b"), purge(30, "a")];
    coherence.load(&newest, true, Moment::now());
    assert_eq!(coherence.tenants_purged(), 2);
    coherence.apply(&row(40, "c"));
    assert_eq!(coherence.tenants_purged(), 2, "a was purged again at 30");
    assert!(!coherence.usable(&key("a"), 20));
    coherence.apply(&row(50, "c"));
    assert_eq!(coherence.tenants_purged(), 1);
    assert!(!coherence.usable(&key("b"), 20), "before the floor");
    coherence.apply(&row(60, "c"));
    assert_eq!(coherence.tenants_purged(), 0);
    assert!(coherence.usable(&key("a"), 40));
}

#[test]
fn an_own_purge_holds_until_a_later_read_of_the_log_has_brought_it() {
    for (tenant, b_stays) in [(Some("a"), true), (None, false)] {
        let coherence = loaded();
        for key in [key("a"), key("b")] {
            coherence.fill(&key, Some(&record(30)), 30).expect("valid");
        }
        let of = tenant.map(|id| Tenant::new(id).expect("a valid id"));
        coherence.raise_wide_fence(of.as_ref(), 35);
        assert!(coherence.near.get(Some("a"), "policy").is_none());
        assert_eq!(coherence.near.get(Some("b"), "policy").is_some(), b_stays);
        assert!(coherence.fill(&key("a"), Some(&record(30)), 30).is_none());
        assert!(!coherence.not_overtaken(&key("a"), 30));
        assert_eq!(coherence.usable(&key("b"), 30), b_stays);
        // Sent before the purge was known here.
        coherence.prove(Moment::now().minus(Duration::from_secs(1)));
        assert!(!coherence.usable(&key("a"), 30));
        coherence.apply(&match tenant {
            Some(tenant) => purge(35, tenant),
            None => fleet(35, "*", "purge"),
        });
        coherence.prove(Moment::now());
        assert!(!coherence.usable(&key("a"), 30));
        assert!(coherence.usable(&key("a"), 35));
    }
}

#[test]
fn settings_and_prunes_are_positions_that_touch_no_policy() {
    let coherence = loaded();
    coherence
        .fill(&key("a"), Some(&record(30)), 30)
        .expect("valid");
    coherence.apply(&fleet(40, "setting/cache.near", "put"));
    coherence.apply(&fleet(50, "log", "prune"));
    assert!(coherence.near.get(Some("a"), "policy").is_some());
    for as_of in [30, 40, 50] {
        assert!(coherence.usable(&key("a"), as_of));
    }
    let setting = Key {
        tenant: None,
        subject: "setting/cache.near".into(),
    };
    assert!(!coherence.usable(&setting, 30));
    assert!(coherence.usable(&setting, 50));
}

/// What was logged after the log was found empty may be pruned before this host reads it.
#[test]
fn what_was_read_of_an_empty_log_does_not_outlive_the_first_row() {
    let coherence = Coherence::new(1 << 20, 100);
    coherence.load(&[], true, Moment::now());
    coherence.fill(&key("a"), None, 0).expect("valid");
    coherence.apply(&row(20, "b"));
    coherence.apply(&fleet(30, "log", "prune"));
    assert!(coherence.near.get(Some("a"), "policy").is_none());
    assert!(!coherence.usable(&key("a"), 0));
    assert!(coherence.usable(&key("a"), 20));
}

proptest! {
    /// Against a naive reading of V over the whole history of rows; every fourth kind is a purge.
    #[test]
    fn v_agrees_with_the_history(
        changes in prop::collection::vec((1u64..5, 0usize..3, 0u8..4), 1..40),
        loaded in 0usize..40,
        window in 1usize..20,
        tenant in 0usize..4,
        as_of in 0u64..120,
    ) {
        let names = ["a", "b", "c", "d"];
        let mut position = 0;
        let rows: Vec<LogRow> = changes
            .iter()
            .map(|(gap, tenant, kind)| {
                position += gap;
                match kind {
                    3 => purge(position, names[*tenant]),
                    _ => row(position, names[*tenant]),
                }
            })
            .collect();
        let loaded = loaded.min(rows.len());
        let kept = &rows[loaded.saturating_sub(window)..loaded];
        let coherence = Coherence::new(1 << 20, window);
        coherence.load(kept, kept.len() == loaded, Moment::now());
        rows[loaded..].iter().for_each(|row| coherence.apply(row));

        let visible = &rows[rows.len().saturating_sub(window)..];
        // A host that has followed the log from before its first row has nobody's word for the
        // rest.
        let whole = visible.len() == rows.len() && loaded > 0;
        let in_window = visible.iter().any(|row| row.position == as_of);
        let changed_since = rows.iter().any(|row| {
            row.tenant.as_deref() == Some(names[tenant]) && row.position > as_of
        });
        let expected = (in_window || (as_of == 0 && whole)) && !changed_since;
        prop_assert_eq!(coherence.usable(&key(names[tenant]), as_of), expected);
    }
}

/// A feed on a memory origin; the handle stops it.
fn follow(origin: &Arc<MemoryOrigin>) -> (Arc<Coherence>, tokio::task::JoinHandle<()>) {
    let coherence = Arc::new(Coherence::new(1 << 20, 100));
    let feed = Feed::new(
        coherence.clone(),
        origin.clone(),
        Arc::new(OriginReader::new(
            origin.clone(),
            coherence.clone(),
            Places::reads(16),
        )),
        Arc::new(Caches::new(Configured::default())),
    );
    (coherence, tokio::spawn(Arc::new(feed).run(0)))
}

#[tokio::test]
async fn the_feed_reaches_a_revision_that_a_reader_waits_for() {
    let origin = Arc::new(MemoryOrigin::new());
    let (coherence, feed) = follow(&origin);
    let tenant = Tenant::new("a").expect("a valid id");
    for _ in 0..100 {
        let change = Change::Put("{}".into());
        let by = Attribution {
            actor: "test".into(),
            ..Attribution::default()
        };
        let written = origin
            .write(&Key::policy(&tenant), change, Precondition::None, &by)
            .await
            .expect("written");
        let start = Moment::now();
        coherence
            .wait(written.revision, start, Duration::from_secs(5))
            .await;
        let view = coherence.view().expect("the log is known");
        assert!(view.watermark >= written.revision);
        assert!(view.proven >= start);
    }
    feed.abort();
}

#[test]
fn a_reply_from_before_the_window_or_a_purge_is_not_shared() {
    let coherence = Coherence::new(1 << 20, 2);
    coherence.load(&[row(10, "a"), row(20, "b")], true, Moment::now());
    assert!(coherence.not_overtaken(&key("a"), 10));
    coherence.apply(&row(30, "a"));
    coherence.apply(&row(40, "b"));
    coherence.apply(&row(50, "b"));
    // The change of `a` at 30 has left the window with the memory of it.
    assert!(!coherence.not_overtaken(&key("a"), 20));
    assert!(coherence.not_overtaken(&key("a"), 40));
    coherence.purge("a test");
    assert!(!coherence.not_overtaken(&key("a"), 40));
}

#[test]
fn a_purge_of_settings_or_switches_leaves_the_proof_and_drops_the_entries() {
    let coherence = loaded();
    coherence.fill(&key("a"), None, 30).expect("valid");
    let view = coherence.view();
    coherence.empty_near();
    assert_eq!(coherence.near.entries(), 0);
    assert_eq!(coherence.view(), view);
    assert!(coherence.fill(&key("a"), None, 30).is_some());
}
