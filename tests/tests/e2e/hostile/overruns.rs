//! Components that use too much: time, memory, stack, or calls of the host.

use super::{Ends, Host, is_contained};

/// Bad calls of each kind.
const CALLS: usize = 200;
/// Of those that take their whole time budget (a quarter of a second each).
const SLOW: usize = 24;
const FEW: usize = 10;

#[tokio::test]
async fn an_endless_loop_ends_in_time_and_harms_nobody() {
    is_contained("hang", SLOW, Ends::Failed).await;
}

/// As many as make all threads of the host compute at once, several times over.
#[tokio::test]
async fn many_callers_of_an_endless_loop_keep_nobody_else_waiting() {
    let host = Host::start("hang").await;
    host.harmed_by(32, 64, Ends::FailedOrShed).await;
}

#[tokio::test]
async fn an_instance_that_takes_all_memory_and_wants_more_harms_nobody() {
    is_contained("memory", CALLS, Ends::Failed).await;
}

#[tokio::test]
async fn memory_that_an_instance_has_taken_is_not_kept_after_a_call_that_went_well() {
    is_contained("hoard", CALLS, Ends::Right).await;
}

#[tokio::test]
async fn endless_recursion_harms_nobody() {
    is_contained("recurse", CALLS, Ends::Failed).await;
}

#[tokio::test]
async fn traps_and_panics_harm_nobody() {
    is_contained("trap", CALLS, Ends::Failed).await;
    is_contained("panic", CALLS, Ends::Failed).await;
}

#[tokio::test]
async fn an_instance_that_traps_now_and_then_fails_these_calls_and_no_others() {
    // Rarely enough to pass the checks at the start.
    let host = Host::bare(ordain_tests::app::App::builder().dev(), "trap@every:120").await;
    let mut failed = 0;
    let mut last_failed = false;
    for _ in 0..12 * CALLS {
        let reply = host.timed(&crate::support::plain("nobody")).await;
        if reply.status == 200 {
            assert_eq!(reply.json["refusal"]["code"], "no-policy", "{reply:?}");
        } else {
            assert!(!last_failed, "a fresh instance is asked next");
            Ends::Failed.check(&reply);
            failed += 1;
        }
        last_failed = reply.status != 200;
    }
    assert!((15..=40).contains(&failed), "{failed}");
}

#[tokio::test]
async fn calls_of_the_host_are_counted() {
    is_contained("near:1000", CALLS, Ends::Right).await;
    is_contained("near:1000000000", CALLS, Ends::Failed).await;
    is_contained("text:1000000000", FEW, Ends::Failed).await;
}

#[tokio::test]
async fn a_look_up_of_a_million_subjects_harms_nobody() {
    is_contained("near-subjects:1000000", FEW, Ends::Either).await;
}

#[tokio::test]
async fn a_look_up_of_ten_thousand_names_of_a_mebibyte_harms_nobody() {
    is_contained("near-names:10000", FEW, Ends::Either).await;
}

#[tokio::test]
async fn bytes_that_are_too_many_are_attached_to_nothing() {
    is_contained("attach:100", CALLS, Ends::Right).await;
}

#[tokio::test]
async fn a_component_that_floods_the_log_is_cut_short() {
    let host = Host::start("log:500").await;
    let before = host.app.log().len();
    for _ in 0..20 {
        Ends::Either.check(&host.bad().await);
        host.ordinary("bad").await;
    }
    let more = host.app.log().len() - before;
    assert!(more < 1 << 20, "20 calls logged {more} bytes");
}
