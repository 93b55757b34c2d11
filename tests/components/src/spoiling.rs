//! What is done to an answer: too large, out of its limits, of another model, or none at all.

use guest::component::bindings::exports::ordain::config::config::Effective;
use guest::component::bindings::exports::ordain::policy::policy::{
    Decision, MaxTokens, Refusal, RefusalCode, Route, Rule, Temperature, Verdict,
};
use guest::component::bindings::ordain::host::types::{Failure, Fault, Invalid};

use crate::deeds::MIB;
use crate::keeping;
use crate::mode::Mode;

type Answer = Result<Decision, Failure>;

/// Whether a deed is one of this file.
pub fn knows(deed: &str) -> bool {
    matches!(
        deed,
        "unavailable"
            | "revision-unknown"
            | "refuse-record"
            | "faults"
            | "keep"
            | "model"
            | "provider"
            | "huge-provider"
            | "huge-model"
            | "huge-message"
            | "control-id"
            | "empty-id"
            | "long-id"
            | "temperature"
            | "tokens"
            | "batch-few"
            | "batch-many"
            | "batch-none"
            | "huge-record"
            | "other-record"
            | "broken-record"
            | "threshold"
            | "window"
            | "no-levels"
    )
}

/// A failure that is given without having asked anybody.
pub fn instead(modes: &[Mode]) -> Option<Failure> {
    modes.iter().find_map(|mode| match mode.deed.as_str() {
        "unavailable" => Some(Failure::Unavailable),
        "revision-unknown" => Some(Failure::RevisionUnknown),
        "refuse-record" => Some(Failure::RecordInvalid(faults(1))),
        "faults" => Some(Failure::RecordInvalid(faults(mode.number()))),
        _ => None,
    })
}

pub fn spoil(modes: &[Mode], answer: Answer) -> Answer {
    let mut decision = answer?;
    for mode in modes {
        if mode.deed == "huge-message" {
            decision.verdict = Verdict::Refuse(Refusal {
                code: RefusalCode::NoPolicy,
                message: "m".repeat(mode.number() * MIB),
            });
        }
        if let Verdict::Allow(route) = &mut decision.verdict {
            spoil_route(mode, route);
        }
    }
    Ok(decision)
}

pub fn spoil_config(modes: &[Mode], mut effective: Effective) -> Effective {
    for mode in modes {
        let config = &mut effective.config;
        match mode.deed.as_str() {
            "threshold" => replace(config, "pathCompressionThreshold", &mode.argument),
            "window" => replace(config, "pathSlidingWindowSize", &mode.argument),
            "no-levels" => effective.levels = "[]".to_owned(),
            _ => {}
        }
    }
    effective
}

/// Writes anything in place of the value of a member, which is a number.
fn replace(json: &mut String, name: &str, value: &str) {
    let name = format!("\"{name}\":");
    if let Some((before, after)) = json.split_once(&name) {
        let rest = after.find([',', '}']).map_or("", |end| &after[end..]);
        *json = [before, &name, value, rest].concat();
    }
}

fn spoil_route(mode: &Mode, route: &mut Route) {
    match mode.deed.as_str() {
        "model" => route.model.clone_from(&mode.argument),
        "provider" => route.provider.clone_from(&mode.argument),
        "huge-provider" => route.provider = "p".repeat(mode.number() * MIB),
        "huge-model" => route.model = "m".repeat(mode.number() * MIB),
        "control-id" => route.model = "a\u{1b}[2Jb\r\nc\0".to_owned(),
        "empty-id" => route.model.clear(),
        "long-id" => route.model = "m".repeat(257),
        "keep" => keeping::answer_from_memory(route),
        "temperature" => {
            route.temperature = Some(Temperature {
                value: mode.argument.parse().unwrap_or(f64::NAN),
                rule: Rule::Task,
            });
        }
        "tokens" => {
            route.max_tokens = Some(MaxTokens {
                value: mode.argument.parse().unwrap_or(u64::MAX),
                rule: Rule::Task,
            });
        }
        _ => {}
    }
}

/// Too few answers to a batch, or too many.
pub fn miscount(modes: &[Mode], mut answers: Vec<Answer>) -> Vec<Answer> {
    for mode in modes {
        match mode.deed.as_str() {
            "batch-few" => drop(answers.pop()),
            "batch-none" => answers.clear(),
            "batch-many" => {
                answers.extend((0..mode.number()).map(|_| Err(Failure::RevisionUnknown)))
            }
            _ => {}
        }
    }
    answers
}

pub fn spoil_record(modes: &[Mode], valid: Result<String, Invalid>) -> Result<String, Invalid> {
    for mode in modes {
        match mode.deed.as_str() {
            "refuse-record" => return Err(Invalid::Faults(faults(1))),
            "faults" => return Err(Invalid::Faults(faults(mode.number()))),
            "huge-record" => return Ok(format!("\"{}\"", "r".repeat(mode.number() * MIB))),
            "broken-record" => return Ok("{\"no\":JSON".to_owned()),
            "other-record" => {
                let other = r#"{"defaultModel":"another","defaultProvider":"another"}"#;
                return Ok(other.to_owned());
            }
            _ => {}
        }
    }
    valid
}

fn faults(count: usize) -> Vec<Fault> {
    let fault = || Fault {
        pointer: "/defaultModel".to_owned(),
        message: "not to my taste".to_owned(),
    };
    (0..count).map(|_| fault()).collect()
}
