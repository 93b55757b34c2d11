use super::*;
use crate::ports::Unavailable::{Failed, Late, NotReady, Off};
use crate::ports::fake::{Answer, Call, Fake, present, settings, view};
use crate::words::Tier::{self, Far, Near, Origin};

const BOUND: u32 = 1000;

fn read(ports: &mut Fake, min_revision: u64) -> Result<Found<1>, Failure> {
    find(ports, &settings(), &POLICY, min_revision)
}

fn host(near: &[Answer], feed: &[LookedUp], far: &[Answer], origin: &[Answer]) -> Fake {
    Fake {
        near: near.to_vec().into(),
        feed: feed.to_vec().into(),
        far: far.to_vec().into(),
        origin: origin.to_vec().into(),
        kept_as: 77,
        ..Fake::default()
    }
}

fn no(reason: Unavailable) -> Answer {
    (LookedUp::Unavailable(reason), State::Missing)
}

fn record(
    tier: Tier,
    position: u64,
    age_ms: u32,
    fill: u64,
    revision: u64,
) -> Result<Found<1>, Failure> {
    let view = View {
        position,
        age_ms,
        tier,
    };
    Ok(Found {
        view,
        present: [Some(Present { fill, revision })],
        stale: false,
    })
}

#[test]
fn a_fresh_near_entry_takes_two_imports() {
    for (age, demand) in [(0, 0), (BOUND, 0), (3, 50), (3, 60)] {
        let mut ports = host(&[(view(Near, 60, age), present(9, 40))], &[], &[], &[]);
        assert_eq!(read(&mut ports, demand), record(Near, 60, age, 9, 40));
        assert_eq!(ports.calls, [Call::Near, Call::Entry]);
    }
}

#[test]
fn near_answers_that_there_is_no_policy() {
    let mut ports = host(&[(view(Near, 60, 5), State::Absent)], &[], &[], &[]);
    assert_eq!(
        read(&mut ports, 0).map(|r| (r.present[0], r.view.tier)),
        Ok((None, Near))
    );
    assert_eq!(ports.calls, [Call::Near, Call::Entry]);
}

#[test]
fn an_old_entry_is_proven_again_by_the_feed() {
    let near = [
        (view(Near, 60, BOUND + 1), present(9, 40)),
        (view(Near, 61, 2), present(9, 40)),
    ];
    let mut ports = host(&near, &[view(Near, 61, 2)], &[], &[]);
    assert_eq!(read(&mut ports, 0), record(Near, 61, 2, 9, 40));
    let calls = [
        Call::Near,
        Call::Entry,
        Call::RemainingMs,
        Call::CatchUp(0, 900),
        Call::Near,
        Call::Entry,
    ];
    assert_eq!(ports.calls, calls);
}

#[test]
fn an_entry_that_the_feed_removed_is_read_from_far() {
    let near = [
        (view(Near, 60, BOUND + 1), present(9, 40)),
        (view(Near, 61, 2), State::Missing),
    ];
    let far = [(view(Far, 61, 2), present(0, 61))];
    let mut ports = host(&near, &[view(Near, 61, 2)], &far, &[]);
    assert_eq!(read(&mut ports, 0), record(Far, 61, 2, 77, 61));
    assert_eq!(ports.calls.last(), Some(&Call::Keep(0)));
}

#[test]
fn a_demand_waits_for_the_feed_as_long_as_is_configured() {
    for (remaining, wait) in [(900, 100), (40, 40)] {
        for before in [present(9, 40), State::Missing] {
            let near = [
                (view(Near, 60, 1), before),
                (view(Near, 70, 0), present(10, 70)),
            ];
            let mut ports = host(&near, &[view(Near, 70, 0)], &[], &[]);
            ports.remaining_ms = remaining;
            assert_eq!(read(&mut ports, 70), record(Near, 70, 0, 10, 70));
            assert_eq!(ports.calls[3], Call::CatchUp(70, wait));
        }
    }
}

#[test]
fn a_demand_that_near_never_meets_is_met_by_the_origin() {
    let near = [
        (view(Near, 60, 1), present(9, 40)),
        (view(Near, 60, 90), present(9, 40)),
    ];
    let far = [(view(Far, 60, 91), present(0, 40))];
    let origin = [(view(Origin, 80, 0), present(0, 75))];
    let mut ports = host(&near, &[view(Near, 60, 90)], &far, &origin);
    assert_eq!(read(&mut ports, 70), record(Origin, 80, 0, 77, 75));
    assert!(ports.calls.contains(&Call::Origin(70)));
    assert_eq!(ports.calls.last(), Some(&Call::Keep(300_000)));
}

#[test]
fn a_revision_that_even_the_origin_does_not_know_is_an_error_and_nothing_is_kept() {
    let near = [
        (view(Near, 60, 1), present(9, 40)),
        (view(Near, 60, 90), present(9, 40)),
    ];
    let origin = [(view(Origin, 69, 0), present(0, 40))];
    let mut ports = host(&near, &[view(Near, 60, 90)], &[no(Off)], &origin);
    assert_eq!(read(&mut ports, 70), Err(Failure::RevisionUnknown));
    assert!(!ports.calls.iter().any(|call| matches!(call, Call::Keep(_))));
}

#[test]
fn what_near_does_not_have_comes_from_far_into_near_only() {
    let mut ports = host(
        &[(view(Near, 60, 5), State::Missing)],
        &[],
        &[(view(Far, 60, 6), present(0, 40))],
        &[],
    );
    assert_eq!(read(&mut ports, 60), record(Far, 60, 6, 77, 40));
    assert_eq!(
        ports.calls,
        [
            Call::Near,
            Call::Entry,
            Call::Far,
            Call::Entry,
            Call::Keep(0)
        ]
    );
}

#[test]
fn an_absent_record_of_far_and_origin_is_kept_too() {
    let near = [(view(Near, 60, 5), State::Missing)];
    let mut ports = host(&near, &[], &[(view(Far, 60, 6), State::Absent)], &[]);
    assert_eq!(read(&mut ports, 0).map(|r| r.present), Ok([None]));
    assert_eq!(ports.calls.last(), Some(&Call::Keep(0)));
    let mut ports = host(
        &near,
        &[],
        &[no(Off)],
        &[(view(Origin, 60, 0), State::Absent)],
    );
    assert_eq!(read(&mut ports, 0).map(|r| r.present), Ok([None]));
    assert_eq!(ports.calls.last(), Some(&Call::Keep(300_000)));
}

#[test]
fn far_is_no_answer_when_it_is_too_old_or_empty_or_broken() {
    let cases = [
        (view(Far, 60, BOUND + 1), present(0, 40)),
        (view(Far, 60, 1), State::Missing),
        no(Off),
        no(Failed),
        no(Late),
        no(NotReady),
    ];
    for far in cases {
        let near = [(view(Near, 60, 5), State::Missing)];
        let mut ports = host(&near, &[], &[far], &[(view(Origin, 61, 0), present(0, 40))]);
        assert_eq!(
            read(&mut ports, 0),
            record(Origin, 61, 0, 77, 40),
            "{far:?}"
        );
    }
}

#[test]
fn an_old_view_without_an_entry_asks_no_feed() {
    let near = [(view(Near, 60, BOUND + 1), State::Missing)];
    let far = [(view(Far, 60, BOUND + 2), present(0, 40))];
    let mut ports = host(&near, &[], &far, &[(view(Origin, 61, 0), present(0, 40))]);
    assert_eq!(read(&mut ports, 0), record(Origin, 61, 0, 77, 40));
    assert_eq!(ports.calls[..3], [Call::Near, Call::Entry, Call::Far]);
}

#[test]
fn a_host_that_does_not_know_the_log_reads_the_origin_at_once() {
    let origin = [(view(Origin, 61, 0), present(0, 40))];
    let mut ports = host(&[no(NotReady)], &[], &[], &origin);
    assert_eq!(read(&mut ports, 0), record(Origin, 61, 0, 77, 40));
    assert_eq!(ports.calls[..2], [Call::Near, Call::Origin(0)]);
    // Also when it is purged while a call waits for the feed.
    let near = [(view(Near, 60, 1), present(9, 40))];
    let mut ports = host(&near, &[LookedUp::Unavailable(NotReady)], &[], &origin);
    assert_eq!(read(&mut ports, 61), record(Origin, 61, 0, 77, 40));
    let near = [(view(Near, 60, 1), present(9, 40)), no(NotReady)];
    let mut ports = host(&near, &[view(Near, 61, 0)], &[], &origin);
    assert_eq!(read(&mut ports, 61), record(Origin, 61, 0, 77, 40));
}

#[test]
fn with_near_off_far_answers_and_nobody_waits() {
    let mut ports = host(&[no(Off)], &[], &[(view(Far, 60, 6), present(0, 40))], &[]);
    ports.kept_as = 0;
    assert_eq!(read(&mut ports, 60), record(Far, 60, 6, 0, 40));
    assert_eq!(
        ports.calls,
        [Call::Near, Call::Far, Call::Entry, Call::Keep(0)]
    );
}

#[test]
fn with_near_off_a_demand_that_far_does_not_meet_waits_for_the_feed_once() {
    let far = [
        (view(Far, 60, 6), present(0, 40)),
        (view(Far, 70, 1), present(0, 70)),
    ];
    let mut ports = host(&[no(Off)], &[view(Near, 70, 0)], &far, &[]);
    assert_eq!(read(&mut ports, 70), record(Far, 70, 1, 77, 70));
    assert_eq!(
        ports.calls[..4],
        [
            Call::Near,
            Call::Far,
            Call::RemainingMs,
            Call::CatchUp(70, 100)
        ]
    );
    let origin = [(view(Origin, 70, 0), present(0, 70))];
    let mut ports = host(&[no(Off)], &[view(Near, 65, 0)], &far[..1], &origin);
    assert_eq!(read(&mut ports, 70), record(Origin, 70, 0, 77, 70));
}

#[test]
fn with_both_caches_off_the_origin_answers() {
    let mut ports = host(
        &[no(Off)],
        &[],
        &[no(Off)],
        &[(view(Origin, 61, 0), present(0, 40))],
    );
    ports.kept_as = 0;
    assert_eq!(read(&mut ports, 5), record(Origin, 61, 0, 0, 40));
    assert_eq!(
        ports.calls,
        [
            Call::Near,
            Call::Far,
            Call::Origin(5),
            Call::Entry,
            Call::Keep(300_000)
        ]
    );
}

#[test]
fn an_origin_that_does_not_answer_is_unavailable() {
    for reason in [Off, NotReady, Failed, Late] {
        let empty = (view(Near, 60, 5), State::Missing);
        let mut ports = host(&[empty, empty], &[], &[no(Late)], &[no(reason)]);
        assert_eq!(read(&mut ports, 0), Err(Failure::Unavailable));
    }
}

const STALE_LIMIT: u32 = 900_000;

fn stale(
    tier: Tier,
    position: u64,
    age_ms: u32,
    fill: u64,
    revision: u64,
) -> Result<Found<1>, Failure> {
    record(tier, position, age_ms, fill, revision).map(|record| Found {
        stale: true,
        ..record
    })
}

#[test]
fn an_entry_past_the_bound_answers_as_stale_when_the_origin_does_not() {
    let old = (view(Near, 60, BOUND + 1), present(9, 40));
    let older = (view(Near, 60, BOUND + 1), present(9, 40));
    let last = (view(Near, 60, BOUND + 2), present(9, 40));
    let feed = [view(Near, 60, BOUND + 1)];
    let mut ports = host(&[old, older, last], &feed, &[no(Off)], &[no(Late)]);
    assert_eq!(read(&mut ports, 60), stale(Near, 60, BOUND + 2, 9, 40));
    assert!(!ports.calls.iter().any(|call| matches!(call, Call::Keep(_))));
}

#[test]
fn an_origin_that_is_known_not_to_answer_is_not_waited_for() {
    for entry in [present(9, 40), State::Absent] {
        let near = [(view(Near, 60, BOUND + 1), entry)];
        let mut ports = host(&near, &[LookedUp::Unavailable(Failed)], &[], &[]);
        let answer = read(&mut ports, 0).expect("a stale answer");
        assert!(answer.stale);
        let calls = [
            Call::Near,
            Call::Entry,
            Call::RemainingMs,
            Call::CatchUp(0, 900),
        ];
        assert_eq!(ports.calls, calls);
    }
}

#[test]
fn no_stale_answer_is_older_than_the_limit_or_than_what_was_demanded() {
    // Too old, or a revision that near has not reached.
    for (age, demand) in [(STALE_LIMIT + 1, 0), (BOUND + 1, 61), (5, 61)] {
        let near = (view(Near, 60, age), present(9, 40));
        let mut ports = host(
            &[near, near],
            &[LookedUp::Unavailable(Failed)],
            &[no(Failed)],
            &[no(Failed)],
        );
        assert_eq!(read(&mut ports, demand), Err(Failure::Unavailable));
    }
    let near = [(view(Near, 60, STALE_LIMIT), present(9, 40))];
    let mut ports = host(&near, &[LookedUp::Unavailable(Failed)], &[], &[]);
    assert_eq!(read(&mut ports, 60), stale(Near, 60, STALE_LIMIT, 9, 40));
}

#[test]
fn an_entry_that_a_newer_change_has_removed_is_no_stale_answer() {
    let near = [
        (view(Near, 60, BOUND + 1), present(9, 40)),
        (view(Near, 60, BOUND + 1), present(9, 40)),
        (view(Near, 60, BOUND + 1), State::Missing),
    ];
    let feed = [view(Near, 60, BOUND + 1)];
    let mut ports = host(&near, &feed, &[no(Late)], &[no(Late)]);
    assert_eq!(read(&mut ports, 0), Err(Failure::Unavailable));
}

#[test]
fn far_answers_as_stale_what_near_does_not_have() {
    let empty = (view(Near, 60, BOUND + 1), State::Missing);
    let far = (view(Far, 60, BOUND + 2), present(0, 40));
    let mut ports = host(&[empty, empty], &[], &[far, far], &[no(Late)]);
    assert_eq!(read(&mut ports, 0), stale(Far, 60, BOUND + 2, 77, 40));
    assert_eq!(ports.calls.last(), Some(&Call::Keep(0)));
    // With near switched off, too.
    let mut ports = host(&[no(Off), no(Off)], &[], &[far, far], &[no(Failed)]);
    assert_eq!(read(&mut ports, 0), stale(Far, 60, BOUND + 2, 77, 40));
    // A far without the value is not asked twice.
    let none = (view(Far, 60, BOUND + 2), State::Missing);
    let mut ports = host(&[empty, empty], &[], &[none], &[no(Late)]);
    assert_eq!(read(&mut ports, 0), Err(Failure::Unavailable));
}

#[test]
fn what_was_proven_meanwhile_is_not_called_stale() {
    let near = [
        (view(Near, 60, 5), State::Missing),
        (view(Near, 61, 2), present(9, 40)),
    ];
    let mut ports = host(&near, &[], &[no(Off)], &[no(Late)]);
    assert_eq!(read(&mut ports, 0), record(Near, 61, 2, 9, 40));
}

#[test]
fn an_origin_without_an_entry_is_broken_and_said_to_be() {
    let mut ports = host(
        &[no(NotReady)],
        &[],
        &[],
        &[(view(Origin, 60, 0), State::Missing)],
    );
    assert_eq!(read(&mut ports, 0), Err(Failure::Unavailable));
    assert_eq!(ports.messages.len(), 1);
}
