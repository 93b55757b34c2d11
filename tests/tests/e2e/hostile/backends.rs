//! Components that misuse the imports that wait for servers, with real servers behind them.

use super::{Ends, Host, contained};
use crate::support::Deployment;

/// Bad calls of each kind.
const CALLS: usize = 20;

async fn is_contained(modes: &[&str], ends: Ends) {
    let deployment = Deployment::start().await;
    for mode in modes {
        let host = Host::on(deployment.instance(mode), mode).await;
        contained(&host, CALLS, ends).await;
    }
}

#[tokio::test]
async fn asking_the_servers_in_a_loop_ends_in_time_and_harms_nobody() {
    let modes = [
        "feed:1000000",
        "feed-wait:1000",
        "origin:1000000",
        "far:1000000",
    ];
    let deployment = Deployment::start().await;
    for mode in modes {
        let host = Host::on(deployment.instance(mode), mode).await;
        for _ in 0..CALLS / 4 {
            // Whichever comes first: its own time, or the request's.
            Ends::FailedOrShed.check(&host.bad().await);
            host.ordinary("good").await;
        }
    }
}

#[tokio::test]
async fn a_hundred_thousand_subjects_harm_nobody() {
    is_contained(
        &["far-subjects:100000", "origin-subjects:100000"],
        Ends::Either,
    )
    .await;
}

#[tokio::test]
async fn a_thousand_names_of_a_mebibyte_harm_nobody() {
    is_contained(&["far-names:1000", "origin-names:1000"], Ends::Failed).await;
}
