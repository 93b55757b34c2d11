//! The answer to a request: limits, then the record, then the rules. The algorithm of a call from
//! top to bottom; each step is a module of its own.

use crate::decoded::Decoded;
use crate::egress::egress;
use crate::limits;
use crate::policy::Policy;
use crate::ports::{Ports, Settings};
use crate::read::{self, Found, POLICY};
use crate::routing::route;
use crate::words::{Decision, Failure, Request};

/// What an instance keeps between calls. None of it can change an answer: settings are the same for
/// the life of an instance, and copies are confirmed by their fill number on every call.
#[derive(Default)]
pub struct Instance {
    settings: Option<Settings>,
    decoded: Decoded,
}

impl Instance {
    pub fn settings(&mut self, ports: &mut impl Ports) -> &Settings {
        self.settings.get_or_insert_with(|| ports.settings())
    }
}

/// Answers one request.
pub fn resolve(
    instance: &mut Instance,
    ports: &mut impl Ports,
    request: &Request,
) -> Result<Decision, Failure> {
    check(request)?;
    let Instance { settings, decoded } = instance;
    let settings = &*settings.get_or_insert_with(|| ports.settings());
    let record = read::find(ports, settings, &POLICY, request.min_revision)?;
    match record.present[0] {
        None => Ok(decide(None, request, settings, record)),
        Some(present) => {
            let policy = decoded.policy(ports, present)?;
            Ok(decide(Some(&policy), request, settings, record))
        }
    }
}

/// Answers many requests of one tenant, in order. One read answers all whose demand it meets; the
/// least demand goes first, so that requests without one never wait for another's.
pub fn resolve_batch(
    instance: &mut Instance,
    ports: &mut impl Ports,
    requests: &[Request],
) -> Vec<Result<Decision, Failure>> {
    let Instance { settings, decoded } = instance;
    let mut answers: Vec<Option<Result<Decision, Failure>>> = requests
        .iter()
        .map(|request| check(request).err().map(Err))
        .collect();
    while let Some(least) = least_demand(requests, &answers) {
        let settings = &*settings.get_or_insert_with(|| ports.settings());
        let open = requests
            .iter()
            .zip(&mut answers)
            .filter(|(_, answer)| answer.is_none());
        let record = match read::find(ports, settings, &POLICY, least) {
            Ok(record) => record,
            Err(failure) => {
                // Who demands no less would get no more.
                open.for_each(|(_, answer)| *answer = Some(Err(failure.clone())));
                break;
            }
        };
        let policy = record.present[0]
            .map(|present| decoded.policy(ports, present))
            .transpose();
        for (request, answer) in
            open.filter(|(request, _)| request.min_revision <= record.view.position)
        {
            *answer = Some(match &policy {
                Ok(policy) => Ok(decide(policy.as_deref(), request, settings, record)),
                Err(failure) => Err(failure.clone()),
            });
        }
    }
    // Every answer is there: the loop ends when none is open.
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Err(Failure::Unavailable)))
        .collect()
}

fn least_demand(
    requests: &[Request],
    answers: &[Option<Result<Decision, Failure>>],
) -> Option<u64> {
    let open = requests
        .iter()
        .zip(answers)
        .filter(|(_, answer)| answer.is_none());
    open.map(|(request, _)| request.min_revision).min()
}

fn check(request: &Request) -> Result<(), Failure> {
    let faults = limits::request_faults(request);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::RequestInvalid(faults))
    }
}

fn decide(
    policy: Option<&Policy>,
    request: &Request,
    settings: &Settings,
    record: Found<1>,
) -> Decision {
    Decision {
        verdict: route(policy, request, settings),
        egress: egress(policy, request, settings.base_egress),
        provenance: record.provenance(),
    }
}

#[cfg(test)]
mod tests;
