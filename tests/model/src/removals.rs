//! Which promise breaks when a rule is taken out, and a small configuration that shows it. The
//! configuration begins where caches are warm if the fault needs that, so that the trace is short.

use crate::config::Config;
use crate::properties::Promise;
use crate::rules::{Rule, Rules};

/// What breaks without a rule: the promises, each in a configuration. Empty for the one rule whose
/// absence breaks none of them (N5: see docs/model.md).
pub fn without(rule: Rule) -> Vec<(Promise, Config)> {
    use Promise::{F, L, M, S, T, X};
    let promises: &[Promise] = match rule {
        Rule::NewPositions => &[S, T],
        Rule::PrunedStart | Rule::PrunedEmpty => &[S],
        Rule::PrimaryReads | Rule::PrimaryFeed | Rule::WatermarkRow | Rule::SendTime => &[S],
        Rule::WholeReply | Rule::PurgeTouchesAll | Rule::Membership => &[S],
        Rule::Test | Rule::ViewFirst | Rule::AtomicFill | Rule::JoinAge => &[S],
        Rule::RowWithHead | Rule::StampFirst => &[S],
        Rule::HeadWithRow | Rule::Fence | Rule::OwnFence => &[M],
        Rule::JoinOvertaken | Rule::JoinWindow | Rule::StampAsOf => &[M],
        Rule::FenceDropped | Rule::Seen => &[L],
        Rule::SeenBefore | Rule::PutIfNewer => &[F],
        Rule::RemoveFirst | Rule::Demand => &[T],
        Rule::StaleTest | Rule::StaleNow => &[X],
        Rule::ReplyBelow => &[],
    };
    let config = |promise: &Promise| Config {
        rules: Rules::without(rule),
        promises: vec![*promise],
        ..shows(rule)
    };
    promises.iter().map(|p| (*p, config(p))).collect()
}

/// The configuration, with all rules in place.
pub fn shows(rule: Rule) -> Config {
    let cold = Config::new(rule.text());
    let warm = Config {
        warm: true,
        ..cold.clone()
    };
    let failover = Config {
        faults: 1,
        failover: true,
        others: true,
        ..cold.clone()
    };
    let pruned = Config {
        faults: 1,
        prune: true,
        others: true,
        ..cold.clone()
    };
    let steps = Config {
        feed_steps: [true, false],
        ..warm.clone()
    };
    let joiners = Config {
        joiners: true,
        ..warm.clone()
    };
    let two_readers = Config {
        readers: [true; 2],
        commits: 1,
        ..warm.clone()
    };
    match rule {
        Rule::NewPositions
        | Rule::WatermarkRow
        | Rule::Membership
        | Rule::FenceDropped
        | Rule::ReplyBelow
        | Rule::Seen => failover,
        Rule::PrunedStart | Rule::PrunedEmpty => pruned,
        Rule::PrimaryReads | Rule::RowWithHead | Rule::HeadWithRow => warm,
        Rule::Test | Rule::Fence | Rule::Demand | Rule::StaleTest | Rule::StaleNow => warm,
        Rule::SendTime | Rule::PrimaryFeed | Rule::RemoveFirst => steps,
        Rule::ViewFirst | Rule::AtomicFill => steps,
        Rule::WholeReply => Config { chunk: 1, ..warm },
        Rule::PurgeTouchesAll => Config {
            purges: true,
            ..warm
        },
        Rule::OwnFence => Config {
            own_writes: true,
            ..warm
        },
        Rule::JoinAge => joiners,
        Rule::JoinOvertaken => Config {
            own_writes: true,
            ..joiners
        },
        Rule::JoinWindow => Config {
            own_writes: true,
            others: true,
            window: 1,
            ..joiners
        },
        Rule::SeenBefore => Config {
            joiners: true,
            ..two_readers
        },
        Rule::PutIfNewer => two_readers,
        Rule::StampFirst => Config {
            restamp: true,
            ..warm
        },
        Rule::StampAsOf => Config {
            restamp: true,
            far_loss: true,
            faults: 1,
            ..warm
        },
    }
}
