//! A scripted host for tests: each tier answers what the test has laid out for it, in order, and
//! every call is written down.

use std::collections::VecDeque;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Settings,
    RemainingMs,
    Log,
    Near,
    Far,
    Origin(u64),
    CatchUp(u64, u32),
    Entry,
    Text,
    Derived,
    Attach,
    Keep(u32),
}

/// What one look-up answers, and the entry that it leaves.
pub type Answer = (LookedUp, State);

pub struct Fake {
    pub settings: Settings,
    pub remaining_ms: u32,
    pub near: VecDeque<Answer>,
    pub far: VecDeque<Answer>,
    pub origin: VecDeque<Answer>,
    pub feed: VecDeque<LookedUp>,
    pub text: String,
    pub derived: Vec<u8>,
    /// What `keep` answers.
    pub kept_as: u64,
    pub held: State,
    pub calls: Vec<Call>,
    pub messages: Vec<(Severity, String)>,
}

pub fn settings() -> Settings {
    Settings {
        base_egress: EgressMode::Enforce,
        local_providers: vec!["local".into()],
        deployment_default: None,
        bound_ms: 1000,
        stale_limit_ms: 900_000,
        min_revision_wait_ms: 100,
        far_ttl_ms: 300_000,
    }
}

pub fn view(tier: Tier, position: u64, age_ms: u32) -> LookedUp {
    LookedUp::View(View {
        position,
        age_ms,
        tier,
    })
}

pub fn present(fill: u64, revision: u64) -> State {
    State::Present(Present { fill, revision })
}

impl Default for Fake {
    fn default() -> Fake {
        Fake {
            settings: settings(),
            remaining_ms: 900,
            near: VecDeque::new(),
            far: VecDeque::new(),
            origin: VecDeque::new(),
            feed: VecDeque::new(),
            text: String::new(),
            derived: Vec::new(),
            kept_as: 0,
            held: State::Missing,
            calls: Vec::new(),
            messages: Vec::new(),
        }
    }
}

impl Fake {
    pub fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    fn answer(&mut self, call: Call, answer: Option<Answer>, subjects: &[Subject<'_>]) -> LookedUp {
        assert_eq!(
            subjects,
            [Subject {
                scope: Scope::Tenant,
                name: "policy"
            }]
        );
        self.calls.push(call);
        let (looked_up, entry) =
            answer.unwrap_or_else(|| panic!("nothing is laid out for {call:?}"));
        self.held = match looked_up {
            LookedUp::View(_) => entry,
            LookedUp::Unavailable(_) => State::Missing,
        };
        looked_up
    }
}

impl Ports for Fake {
    fn settings(&mut self) -> Settings {
        self.calls.push(Call::Settings);
        self.settings.clone()
    }

    fn remaining_ms(&mut self) -> u32 {
        self.calls.push(Call::RemainingMs);
        self.remaining_ms
    }

    fn log(&mut self, severity: Severity, message: &str) {
        self.calls.push(Call::Log);
        self.messages.push((severity, message.to_owned()));
    }

    fn near(&mut self, subjects: &[Subject<'_>]) -> LookedUp {
        let answer = self.near.pop_front();
        self.answer(Call::Near, answer, subjects)
    }

    fn far(&mut self, subjects: &[Subject<'_>]) -> LookedUp {
        let answer = self.far.pop_front();
        self.answer(Call::Far, answer, subjects)
    }

    fn origin(&mut self, subjects: &[Subject<'_>], min_revision: u64) -> LookedUp {
        let answer = self.origin.pop_front();
        self.answer(Call::Origin(min_revision), answer, subjects)
    }

    fn catch_up(&mut self, min_revision: u64, wait_ms: u32) -> LookedUp {
        self.calls.push(Call::CatchUp(min_revision, wait_ms));
        self.feed.pop_front().expect("a view of the feed")
    }

    fn entry(&mut self, index: u32) -> State {
        assert_eq!(index, 0);
        self.calls.push(Call::Entry);
        self.held
    }

    fn text(&mut self, index: u32) -> String {
        assert_eq!(index, 0);
        self.calls.push(Call::Text);
        self.text.clone()
    }

    fn derived(&mut self, index: u32) -> Vec<u8> {
        assert_eq!(index, 0);
        self.calls.push(Call::Derived);
        self.derived.clone()
    }

    fn attach(&mut self, index: u32, bytes: &[u8]) {
        assert_eq!(index, 0);
        self.calls.push(Call::Attach);
        self.derived = bytes.to_vec();
    }

    fn keep(&mut self, index: u32, far_ttl_ms: u32) -> u64 {
        assert_eq!(index, 0);
        self.calls.push(Call::Keep(far_ttl_ms));
        self.kept_as
    }
}
