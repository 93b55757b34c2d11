//! A component for tests of hosts: the real one, until a request comes for which its mode tells it
//! to misbehave. The mode is text in the file (see `mode`), so one build is many components. Not
//! for rules: every answer is made by the crate `guest`, and at most spoilt here.
#![cfg(target_arch = "wasm32")]

mod deeds;
mod keeping;
mod mode;
mod spoiling;

use guest::component::Component as Real;
use guest::component::bindings;
use guest::component::bindings::exports::ordain::config::config::{self, Effective};
use guest::component::bindings::exports::ordain::policy::policy::{self, Decision, Request};
use guest::component::bindings::ordain::host::types::{Failure, Invalid};

// Generated code passes pointers across the border.
#[allow(unsafe_code)]
mod exports {
    use super::*;
    bindings::export!(Hostile with_types_in bindings);
}

struct Hostile;

impl policy::Guest for Hostile {
    fn resolve(request: Request) -> Result<Decision, Failure> {
        let modes = mode::of_call(is_bad(&request));
        modes.iter().for_each(deeds::perform);
        if let Some(failure) = spoiling::instead(&modes) {
            return Err(failure);
        }
        let answer = <Real as policy::Guest>::resolve(request);
        spoiling::spoil(&modes, answer)
    }

    fn resolve_batch(requests: Vec<Request>) -> Vec<Result<Decision, Failure>> {
        let modes = mode::of_call(requests.iter().any(is_bad));
        modes.iter().for_each(deeds::perform);
        let bad: Vec<bool> = requests.iter().map(is_bad).collect();
        let answers = <Real as policy::Guest>::resolve_batch(requests);
        let answers = answers.into_iter().zip(bad).map(|(answer, bad)| {
            let modes: Vec<_> = modes.iter().filter(|m| m.concerns(bad)).cloned().collect();
            match spoiling::instead(&modes) {
                Some(failure) => Err(failure),
                None => spoiling::spoil(&modes, answer),
            }
        });
        spoiling::miscount(&modes, answers.collect())
    }

    fn validate(record: String) -> Result<String, Invalid> {
        let modes = mode::of_call(record.contains("\"x-"));
        modes.iter().for_each(deeds::perform);
        spoiling::spoil_record(&modes, <Real as policy::Guest>::validate(record))
    }
}

impl config::Guest for Hostile {
    fn get_effective(user: Option<String>, min_revision: u64) -> Result<Effective, Failure> {
        let modes = mode::of_call(user.as_deref().is_some_and(|user| user.starts_with("x-")));
        modes.iter().for_each(deeds::perform);
        if let Some(failure) = spoiling::instead(&modes) {
            return Err(failure);
        }
        let answer = <Real as config::Guest>::get_effective(user, min_revision);
        answer.map(|effective| spoiling::spoil_config(&modes, effective))
    }

    fn validate(level: String) -> Result<String, Invalid> {
        let modes = mode::of_call(level.contains("\"x-"));
        modes.iter().for_each(deeds::perform);
        spoiling::spoil_record(&modes, <Real as config::Guest>::validate(level))
    }

    fn patch(level: String, patch: String) -> Result<String, Invalid> {
        let modes = mode::of_call(patch.contains("\"x-"));
        modes.iter().for_each(deeds::perform);
        spoiling::spoil_record(&modes, <Real as config::Guest>::patch(level, patch))
    }
}

/// Whether a mode that says nothing else is meant.
fn is_bad(request: &Request) -> bool {
    let task = request.task.as_deref();
    task.is_some_and(|task| task.starts_with("x-"))
}
