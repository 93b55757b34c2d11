//! What may happen in a state of the model. What it does is in `model.rs`.

use crate::feed::Feed;
use crate::model::{Action, Protocol};
use crate::origin::Kind;
use crate::reader::Phase;
use crate::rules::Rule;
use crate::state::{Id, State, Value};

impl Protocol {
    pub fn enabled(&self, state: &State, actions: &mut Vec<Action>) {
        let config = &self.config;
        actions.push(Action::Tick);
        if state.origin.commits < config.commits {
            actions.push(Action::Commit(Kind::Change));
            if config.others {
                actions.push(Action::Commit(Kind::Other));
            }
            if config.purges {
                actions.push(Action::Commit(Kind::Purge));
            }
        }
        for id in 0..state.hosts.len() {
            self.feed_actions(state, id, actions);
            self.reader_actions(state, id, actions);
            self.other_actions(state, id, actions);
        }
        if state.faults > 0 {
            self.faults(state, actions);
        }
    }

    fn feed_actions(&self, state: &State, id: Id, actions: &mut Vec<Action>) {
        let lagging = !self.config.rules.has(Rule::PrimaryFeed);
        match state.hosts[id].feed {
            Feed::Idle if self.config.feed_steps[id] => actions.push(Action::FeedSends(id)),
            Feed::Idle => actions.push(Action::FeedReads(id)),
            Feed::Sent { .. } => snapshots(state, lagging, |len| {
                actions.push(Action::FeedIsAnswered(id, len));
            }),
            Feed::Reply { .. } => actions.push(Action::FeedApplies(id)),
        }
    }

    fn reader_actions(&self, state: &State, id: Id, actions: &mut Vec<Action>) {
        let config = &self.config;
        let host = &state.hosts[id];
        match host.reader.phase {
            Phase::Idle => {
                if config.readers[id] {
                    actions.push(Action::Begin(id));
                }
            }
            Phase::HasEntry => actions.push(Action::LookUp(id)),
            Phase::Began => {
                if host.reader.fresh && host.near.is_some() {
                    actions.push(Action::LookUp(id));
                }
                if host.reader.view.is_some() {
                    let now = state.far.stored;
                    let then = state.far.held().filter(|_| config.shared_far);
                    let far = now.into_iter().chain(then.filter(|v| Some(*v) != now));
                    actions.extend(far.map(|value| Action::ReadFar(id, value)));
                }
                actions.push(Action::Send(id));
            }
            Phase::FarRead => actions.push(Action::Judge(id)),
            Phase::FarMissed => actions.push(Action::Send(id)),
            Phase::Sent | Phase::HalfRead => {
                if host.reader.found.is_some() {
                    actions.push(Action::OriginFails(id));
                }
                snapshots(state, !config.rules.has(Rule::PrimaryReads), |len| {
                    actions.push(Action::OriginAnswers(id, len));
                });
            }
            Phase::Read => {
                actions.push(Action::Answer(id, true));
                if host.put.is_some() {
                    actions.push(Action::Answer(id, false));
                }
            }
            Phase::Answered => {
                let usable = |v: Value| host.valid(v.as_of, config.rules) && host.near.is_none();
                if host.reader.value.is_some_and(usable) {
                    actions.push(Action::Fill(id));
                }
                let unusable = |v: Value| !host.valid(v.as_of, config.rules);
                if state.far.stored.is_some_and(unusable)
                    && host.watermark.is_some()
                    && state.may_join(id, host.reader.sent.within_bound(), config)
                {
                    actions.push(Action::JoinerPuts(id));
                }
                actions.push(Action::Leave(id));
            }
            Phase::Tested => actions.push(Action::Fill(id)),
        }
        if config.joiners
            && matches!(host.reader.phase, Phase::Sent | Phase::Read)
            && host.reader.joiner.is_none()
        {
            actions.push(Action::Join(id));
        }
    }

    fn other_actions(&self, state: &State, id: Id, actions: &mut Vec<Action>) {
        let config = &self.config;
        let host = &state.hosts[id];
        if config.own_writes {
            if host.unacknowledged.is_some() {
                actions.push(Action::Acknowledge(id));
            } else if state.origin.commits < config.commits {
                actions.push(Action::Write(id));
            }
        }
        if config.restamp {
            if host.stamp.is_some() {
                actions.push(Action::Stamp(id));
            } else if host.watermark.is_some() && host.near.is_some() {
                actions.push(Action::TakeStamp(id));
            }
        }
        if host.put.is_some() {
            actions.push(Action::PutLands(id));
        }
        if config.evict && host.near.is_some() {
            actions.push(Action::Evict(id));
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        let config = &self.config;
        if config.far_loss && state.far.stored.is_some() {
            actions.push(Action::FarLosesValue);
        }
        if config.far_rewind {
            let others = state.far.held().filter(|v| Some(*v) != state.far.stored);
            actions.extend(others.map(Action::FarIsRewound));
        }
        if config.crash {
            actions.extend((0..state.hosts.len()).map(Action::Crash));
        }
        let visible = state.origin.count() - state.origin.pruned;
        if config.failover {
            actions.extend((1..=visible).map(Action::FailOver));
        }
        if config.prune {
            // F6: never the newest row.
            actions.extend((1..visible).map(Action::Prune));
        }
    }
}

/// The snapshots that a server may answer from: the primary from the newest, a replica that lags
/// from any.
fn snapshots(state: &State, lagging: bool, mut each: impl FnMut(u8)) {
    let newest = state.origin.count();
    let oldest = if lagging { state.origin.pruned } else { newest };
    (oldest..=newest).for_each(&mut each);
}
