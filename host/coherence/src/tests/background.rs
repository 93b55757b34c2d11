//! Tests of what works in the background: re-stamping and the auditor.

use super::*;
use crate::auditor::Auditor;
use crate::far::Far;
use crate::places::Places;
use crate::restamp::Restamper;
use ordain_store::memory::MemoryFar;

/// What stands in `far` under the key, if this host could answer with it.
async fn far_answer(far: &Arc<Far>, coherence: &Coherence, key: &Key) -> Option<u64> {
    let (_, values) = far.get(std::slice::from_ref(key)).await;
    let values = values.expect("far answers");
    let value = far.codec().decode(key, values[0].as_ref()?)?;
    coherence.usable(key, value.as_of).then_some(value.as_of)
}

#[tokio::test]
async fn warm_values_are_put_into_far_again_before_a_starting_host_could_not_judge_them() {
    let coherence = Arc::new(Coherence::new(1 << 20, 4));
    let rows: Vec<LogRow> = (1..=4).map(|n| row(n * 10, &format!("t{n}"))).collect();
    coherence.load(&rows, true, Moment::now());
    let far = Arc::new(Far::new(Arc::new(MemoryFar::new()), &[]));
    let options = Configured {
        has_far: true,
        ..Configured::default()
    };
    let restamper = Restamper {
        coherence: coherence.clone(),
        far: far.clone(),
        caches: Arc::new(Caches::new(options)),
        ttl: Duration::from_secs(300),
        count: Arc::default(),
    };
    let now = Moment::now();
    for name in ["t1", "t2"] {
        let entry = coherence
            .fill(&key(name), Some(&record(10)), 40)
            .expect("valid");
        entry.is_in_far(40, now);
    }
    coherence.near.get(Some("t1"), "policy").expect("an entry");
    restamper.pass().await;
    assert_eq!(
        far_answer(&far, &coherence, &key("t1")).await,
        None,
        "not due yet"
    );

    // The log goes on: 40 is about to leave the window.
    for n in 5..=7 {
        coherence.apply(&row(n * 10, &format!("t{n}")));
    }
    restamper.pass().await;
    let starting = Coherence::new(1 << 20, 4);
    let rows: Vec<LogRow> = (4..=7).map(|n| row(n * 10, &format!("t{n}"))).collect();
    starting.load(&rows, false, Moment::now());
    assert_eq!(far_answer(&far, &starting, &key("t1")).await, Some(70));
    assert_eq!(
        far_answer(&far, &starting, &key("t2")).await,
        None,
        "nobody asked for it"
    );
    // While the log is quiet, too, a value gets a new life.
    let (again, ttl) = (key("t1"), Duration::from_secs(300));
    assert!(far.put_again(&again, Some(&record(10)), 70, ttl).await);
    // Once is enough, until it is asked for again.
    coherence.apply(&row(80, "t8"));
    restamper.pass().await;
    assert_eq!(far_answer(&far, &coherence, &key("t1")).await, Some(70));
}

#[tokio::test]
async fn an_audit_tells_what_is_current_from_what_is_behind_and_what_is_wrong() {
    let origin = Arc::new(MemoryOrigin::new());
    let (coherence, feed) = follow(&origin);
    let tenant = Tenant::new("a").expect("a valid id");
    let by = Attribution {
        actor: "test".into(),
        ..Attribution::default()
    };
    let put = async |body: &str| {
        let change = Change::Put(body.into());
        let written = origin
            .write(&Key::policy(&tenant), change, Precondition::None, &by)
            .await;
        written.expect("written").revision
    };
    let first = put("{}").await;
    let soon = Duration::from_secs(5);
    coherence.wait(first, Moment::now(), soon).await;
    let kept = Record {
        body: "{}".into(),
        revision: first,
    };
    coherence
        .fill(&key("a"), Some(&kept), first)
        .expect("valid");
    let auditor = Auditor {
        coherence: coherence.clone(),
        origin: origin.clone(),
        reader: Arc::new(OriginReader::new(
            origin.clone(),
            coherence.clone(),
            Places::reads(16),
        )),
        far: None,
        caches: Arc::new(Caches::new(Configured::default())),
        interval: soon,
        findings: Arc::default(),
    };
    let found = |finding: &str| {
        let mut checks = auditor.findings.checks();
        let found = checks.find(|(tier, name, _)| (*tier, *name) == ("near", finding));
        found.expect("a finding").2
    };
    auditor.check(&key("a")).await;
    assert_eq!(
        (found("current"), found("behind"), found("wrong")),
        (1, 0, 0)
    );

    // The feed stops; the origin goes on.
    feed.abort();
    let _ = feed.await;
    put("{\"a\":1}").await;
    auditor.check(&key("a")).await;
    assert_eq!(
        (found("current"), found("behind"), found("wrong")),
        (1, 1, 0)
    );

    // An entry that no change explains.
    let planted = Record {
        body: "{\"planted\":true}".into(),
        revision: 1,
    };
    let nobody = key("nobody");
    let watermark = coherence.watermark().expect("known");
    coherence
        .fill(&nobody, Some(&planted), watermark)
        .expect("valid");
    auditor.check(&nobody).await;
    assert_eq!((found("late"), found("wrong")), (0, 1));
}
