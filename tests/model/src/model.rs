//! The protocol as a stateright model: what may happen in a state, and what it does. Each step that
//! the code takes under one lock, or that one statement or script takes at a server, is one action.

use stateright::{Model, Property};

use crate::config::Config;
use crate::far::Far;
use crate::host::{Host, Stamp};
use crate::origin::{Kind, Origin};
use crate::properties::Promise;
use crate::reader::Reader;
use crate::rules::Rule;
use crate::state::{Id, State, Value};

#[derive(Clone, Debug)]
pub struct Protocol {
    pub config: Config,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Tick,
    Commit(Kind),
    Write(Id),
    Acknowledge(Id),

    FeedReads(Id),
    FeedSends(Id),
    /// Answered from a snapshot of so many rows.
    FeedIsAnswered(Id, u8),
    FeedApplies(Id),

    Begin(Id),
    LookUp(Id),
    ReadFar(Id, Value),
    Judge(Id),
    Send(Id),
    /// The origin does not answer.
    OriginFails(Id),
    /// Answered from a snapshot of so many rows.
    OriginAnswers(Id, u8),
    /// The reply arrives; with or without a put into far.
    Answer(Id, bool),
    Fill(Id),
    Leave(Id),
    Join(Id),
    JoinerPuts(Id),

    TakeStamp(Id),
    Stamp(Id),
    PutLands(Id),
    Evict(Id),

    FarLosesValue,
    FarIsRewound(Value),
    Crash(Id),
    /// So many commits are lost.
    FailOver(u8),
    /// So many more rows are gone.
    Prune(u8),
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State {
            origin: Origin::new(),
            far: Far::default(),
            hosts: [Host::new(), Host::new()],
            faults: self.config.faults,
            broken: 0,
        };
        if self.config.warm {
            state.warm_up(&self.config);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What is broken stays broken.
        let broken = |promise: &Promise| state.broken & promise.bit() != 0;
        if !self.config.promises.iter().any(broken) {
            self.enabled(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.step(&mut state, action);
        state.answer_quick_requests(&self.config);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        let promises = self.config.promises.iter();
        promises.map(|promise| promise.property()).collect()
    }
}

impl Protocol {
    fn step(&self, state: &mut State, action: Action) {
        let config = &self.config;
        let rules = config.rules;
        match action {
            Action::Tick => state.tick(),
            Action::Commit(kind) => {
                state.origin.commit(kind, !rules.has(Rule::NewPositions));
            }
            Action::Write(id) => {
                let row = state
                    .origin
                    .commit(Kind::Change, !rules.has(Rule::NewPositions));
                state.hosts[id].unacknowledged = Some(Value {
                    as_of: row.position,
                    version: row.version,
                });
            }
            Action::Acknowledge(id) => state.acknowledge(id, config),

            Action::FeedReads(id) => {
                state.hosts[id].feed_reads(&state.origin, config);
            }
            Action::FeedSends(id) => {
                let host = &mut state.hosts[id];
                host.feed_sends(host.watermark.is_none());
            }
            Action::FeedIsAnswered(id, len) => {
                state.hosts[id].feed_is_answered(&state.origin, len, config);
            }
            Action::FeedApplies(id) => {
                state.hosts[id].feed_applies(&state.origin, config);
            }

            Action::Begin(id) => state.reader_begins(id, config),
            Action::LookUp(id) => state.reader_looks_up(id),
            Action::ReadFar(id, value) => state.reader_reads_far(id, value),
            Action::Judge(id) => state.reader_judges(id, config),
            Action::Send(id) => state.reader_sends(id, config),
            Action::OriginFails(id) => state.origin_fails(id),
            Action::OriginAnswers(id, len) => state.origin_answers(id, len, config),
            Action::Answer(id, puts) => state.reader_is_answered(id, puts, config),
            Action::Fill(id) => state.reader_fills(id, config),
            Action::Leave(id) => state.hosts[id].reader = Reader::IDLE,
            Action::Join(id) => {
                let since = state.since(id);
                let reader = &mut state.hosts[id].reader;
                reader.joiner = Some((since, reader.sent.within_bound()));
            }
            Action::JoinerPuts(id) => state.joiner_puts(id, config),

            Action::TakeStamp(id) => {
                let host = &mut state.hosts[id];
                host.stamp = if rules.has(Rule::StampFirst) {
                    host.watermark.map(Stamp::Watermark)
                } else {
                    host.near.map(Stamp::Entry)
                };
            }
            Action::Stamp(id) => state.restamp(id, config),
            Action::PutLands(id) => {
                if let Some(put) = state.hosts[id].put.take() {
                    state.put_lands(put, config);
                }
            }
            Action::Evict(id) => state.hosts[id].near = None,

            Action::FarLosesValue => state.far.stored = None,
            Action::FarIsRewound(value) => state.far.stored = Some(value),
            Action::Crash(id) => state.hosts[id].crash(),
            Action::FailOver(lost) => state.fail_over(lost),
            Action::Prune(rows) => state.origin.pruned += rows,
        }
        if matches!(
            action,
            Action::FarLosesValue
                | Action::FarIsRewound(_)
                | Action::Crash(_)
                | Action::FailOver(_)
                | Action::Prune(_)
        ) {
            state.faults -= 1;
        }
    }
}
