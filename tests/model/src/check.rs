//! Running one configuration to its end, or to a limit, and what came of it.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::config::Config;
use crate::model::{Action, Protocol};

/// Where to stop.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Steps tried, those that lead to known states included.
    pub steps: usize,
    pub time: Duration,
    pub threads: usize,
}

#[derive(Clone, Debug)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    pub depth: usize,
    pub time: Duration,
    /// Every reachable state was visited.
    pub all: bool,
    /// Promises that were broken, each with what led there.
    pub broken: Vec<(&'static str, Vec<Action>)>,
}

pub fn check(config: &Config, limit: Limit) -> Outcome {
    let began = Instant::now();
    let protocol = Protocol {
        config: config.clone(),
    };
    let checker = protocol
        .checker()
        .threads(limit.threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(limit.steps)
        .timeout(limit.time)
        .spawn_bfs()
        .join();
    let time = began.elapsed();
    let mut broken: Vec<_> = checker
        .discoveries()
        .into_iter()
        .map(|(promise, path)| (promise, path.into_actions()))
        .collect();
    broken.sort_unstable_by_key(|(promise, _)| *promise);
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        time,
        // The checker does not say which limit stopped it.
        all: broken.is_empty() && checker.state_count() < limit.steps && time < limit.time,
        broken,
    }
}
