use super::*;
use crate::ports::fake::{Call, Fake, present, view};
use crate::ports::{LookedUp, State, Unavailable};
use crate::words::{EgressMode, Provenance, RefusalCode, Tier, Verdict};

const TEXT: &str = r#"{"defaultModel":"m","defaultProvider":"p"}"#;

fn host() -> Fake {
    Fake {
        text: TEXT.into(),
        kept_as: 7,
        ..Fake::default()
    }
}

fn demand(min_revision: u64) -> Request {
    Request {
        min_revision,
        ..Request::default()
    }
}

fn positions(answers: &[Result<Decision, Failure>]) -> Vec<Result<u64, &Failure>> {
    answers
        .iter()
        .map(|answer| answer.as_ref().map(|decision| decision.provenance.position))
        .collect()
}

#[test]
fn a_second_hit_takes_two_imports() {
    let mut ports = host();
    let mut instance = Instance::default();
    for _ in 0..2 {
        ports
            .near
            .push_back((view(Tier::Near, 60, 3), present(9, 40)));
    }
    let first = resolve(&mut instance, &mut ports, &demand(0)).expect("a decision");
    let calls = [
        Call::Settings,
        Call::Near,
        Call::Entry,
        Call::Derived,
        Call::Text,
        Call::Attach,
    ];
    assert_eq!(ports.take_calls(), calls);
    let second = resolve(&mut instance, &mut ports, &demand(0)).expect("a decision");
    assert_eq!(ports.take_calls(), [Call::Near, Call::Entry]);
    assert_eq!(first, second);
    let provenance = Provenance {
        revision: Some(40),
        tier: Tier::Near,
        stale: false,
        age_ms: 3,
        position: 60,
    };
    assert_eq!(first.provenance, provenance);
}

#[test]
fn what_was_kept_is_decoded_once_under_its_new_fill_number() {
    let mut ports = host();
    let mut instance = Instance::default();
    ports
        .near
        .push_back((LookedUp::Unavailable(Unavailable::NotReady), State::Missing));
    ports
        .origin
        .push_back((view(Tier::Origin, 60, 0), present(0, 40)));
    resolve(&mut instance, &mut ports, &demand(0)).expect("a decision");
    assert!(ports.take_calls().contains(&Call::Text));
    ports
        .near
        .push_back((view(Tier::Near, 60, 3), present(7, 40)));
    resolve(&mut instance, &mut ports, &demand(0)).expect("a decision");
    assert_eq!(ports.take_calls(), [Call::Near, Call::Entry]);
}

#[test]
fn a_tenant_without_a_policy_has_no_revision_and_still_an_egress_mode() {
    let mut ports = host();
    ports
        .near
        .push_back((view(Tier::Near, 60, 3), State::Absent));
    let request = Request {
        egress_mode: Some(EgressMode::Off),
        ..Request::default()
    };
    let decision = resolve(&mut Instance::default(), &mut ports, &request).expect("a decision");
    assert!(
        matches!(decision.verdict, Verdict::Refuse(refusal) if refusal.code == RefusalCode::NoPolicy)
    );
    assert_eq!(decision.provenance.revision, None);
    assert_eq!(
        (decision.egress.requested, decision.egress.effective),
        (EgressMode::Off, EgressMode::Enforce)
    );
}

#[test]
fn a_request_beyond_the_limits_calls_no_import() {
    let mut ports = host();
    let request = Request {
        task: Some(String::new()),
        ..Request::default()
    };
    let failure = resolve(&mut Instance::default(), &mut ports, &request);
    assert!(
        matches!(failure, Err(Failure::RequestInvalid(faults)) if faults[0].pointer == "/task")
    );
    assert_eq!(
        resolve_batch(&mut Instance::default(), &mut ports, &[request]).len(),
        1
    );
    assert_eq!(resolve_batch(&mut Instance::default(), &mut ports, &[]), []);
    assert_eq!(ports.calls, []);
}

#[test]
fn one_read_answers_all_of_a_batch_that_it_satisfies_and_order_is_kept() {
    let mut ports = host();
    ports
        .near
        .push_back((view(Tier::Near, 60, 3), present(9, 40)));
    let broken = Request {
        user: Some(".".into()),
        ..Request::default()
    };
    let task = Request {
        model: Some("x".into()),
        ..demand(60)
    };
    let answers = resolve_batch(
        &mut Instance::default(),
        &mut ports,
        &[demand(5), broken, task, demand(0)],
    );
    assert_eq!(
        ports
            .calls
            .iter()
            .filter(|call| **call == Call::Near)
            .count(),
        1
    );
    assert!(matches!(&answers[1], Err(Failure::RequestInvalid(_))));
    let model = |answer: &Result<Decision, Failure>| match answer {
        Ok(Decision {
            verdict: Verdict::Allow(route),
            ..
        }) => route.model.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [model(&answers[0]), model(&answers[2]), model(&answers[3])],
        ["m", "x", "m"]
    );
}

#[test]
fn a_greater_demand_of_one_item_reads_further_and_leaves_the_others_alone() {
    let mut ports = host();
    ports
        .near
        .push_back((view(Tier::Near, 60, 3), present(9, 40)));
    ports
        .near
        .push_back((view(Tier::Near, 60, 3), present(9, 40)));
    ports.feed.push_back(view(Tier::Near, 80, 0));
    ports
        .near
        .push_back((view(Tier::Near, 80, 0), present(10, 75)));
    let items = [demand(70), demand(0), demand(75), demand(60)];
    let answers = resolve_batch(&mut Instance::default(), &mut ports, &items);
    assert_eq!(positions(&answers), [Ok(80), Ok(60), Ok(80), Ok(60)]);
}

#[test]
fn a_demand_that_cannot_be_met_fails_only_those_who_make_it() {
    let mut ports = host();
    for _ in 0..3 {
        ports
            .near
            .push_back((view(Tier::Near, 60, 3), present(9, 40)));
    }
    ports.feed.push_back(view(Tier::Near, 60, 100));
    ports
        .far
        .push_back((LookedUp::Unavailable(Unavailable::Off), State::Missing));
    ports
        .origin
        .push_back((view(Tier::Origin, 60, 0), present(0, 40)));
    let items = [demand(99), demand(0), demand(u64::MAX)];
    let answers = resolve_batch(&mut Instance::default(), &mut ports, &items);
    assert_eq!(
        positions(&answers),
        [
            Err(&Failure::RevisionUnknown),
            Ok(60),
            Err(&Failure::RevisionUnknown)
        ]
    );
}

#[test]
fn a_broken_record_fails_every_item_that_reads_it() {
    let mut ports = host();
    ports.text = "{".into();
    ports
        .near
        .push_back((view(Tier::Near, 60, 3), present(9, 40)));
    let answers = resolve_batch(
        &mut Instance::default(),
        &mut ports,
        &[demand(0), demand(1)],
    );
    for answer in &answers {
        assert!(
            matches!(answer, Err(Failure::RecordInvalid(faults)) if faults[0].pointer.is_empty())
        );
    }
}
