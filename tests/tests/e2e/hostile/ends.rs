//! How calls end that meet a misbehaving component, and what a test says about those that do not.

use ordain_tests::http::Reply;
use ordain_tests::wait::holds;

/// How a bad call may end.
#[derive(Debug, Clone, Copy)]
pub enum Ends {
    /// The component is at fault, and the client learns no more than that.
    Failed,
    /// The deed was harmless: the answer is the right one.
    Right,
    /// One of the two: where the limit is is the host's choice.
    Either,
    /// As `Failed`, or turned away because the host has too much to do.
    FailedOrShed,
    With(u16, &'static str),
}

impl Ends {
    #[track_caller]
    pub fn check(self, reply: &Reply) {
        self.judge(reply).unwrap_or_else(|wrong| panic!("{wrong}"));
    }

    /// What is wrong with this end, if something is.
    pub fn judge(self, reply: &Reply) -> Result<(), String> {
        let (status, code) = (reply.status, reply.json["code"].as_str());
        let is_right = status == 200 && reply.json["model"] == "bad";
        let is_failed = status == 500 && code == Some("component-failed");
        let is_as_meant = match self {
            Ends::Failed => is_failed,
            Ends::Right => is_right,
            Ends::Either => is_failed || is_right,
            Ends::FailedOrShed => {
                is_failed
                    || status == 503 && matches!(code, Some("overloaded" | "deadline-exceeded"))
            }
            Ends::With(wanted, reason) => status == wanted && code == Some(reason),
        };
        holds(is_as_meant, format!("not {self:?}: {}", shown(reply)))?;
        // No words about the insides, or the component's own.
        let tells = |inner: &&str| reply.text.contains(*inner);
        let inner = ["wasm", "backtrace", "0x", ".rs"].into_iter().find(tells);
        let is_short = status == 200 || reply.text.len() < 2000 && inner.is_none();
        holds(is_short, format!("tells too much: {}", shown(reply)))
    }
}

/// As much of a reply as a person can read.
pub fn shown(reply: &Reply) -> String {
    let text: String = reply.text.chars().take(160).collect();
    format!("{}, {} bytes: {text:?}", reply.status, reply.text.len())
}

/// What was wrong, case by case: the first fault does not hide the others.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    pub fn add(&mut self, case: &str, outcome: Result<(), String>) {
        self.0
            .extend(outcome.err().map(|wrong| format!("{case}: {wrong}")));
    }

    #[track_caller]
    pub fn none(self) {
        assert!(
            self.0.is_empty(),
            "{} faults\n{}",
            self.0.len(),
            self.0.join("\n")
        );
    }
}
