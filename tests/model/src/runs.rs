//! The configurations of `make model`, largest last. Modelled on the table of the protocol's
//! review.

use crate::config::Config;

/// All rules in place; each must hold.
pub fn all() -> Vec<Config> {
    let plain = Config::new;
    vec![
        Config {
            others: true,
            evict: true,
            ..plain("no fault, other subjects, near evicts")
        },
        Config {
            commits: 3,
            ..plain("three changes")
        },
        Config {
            purges: true,
            others: true,
            ..plain("purge rows")
        },
        Config {
            own_writes: true,
            others: true,
            ..plain("own writes")
        },
        Config {
            shared_far: true,
            others: true,
            ..plain("shared replies of far")
        },
        Config {
            feed_steps: [true, false],
            ..plain("feed of one host in single steps")
        },
        Config {
            feed_steps: [true, false],
            chunk: 1,
            warm: true,
            ..plain("feed in single steps, replies of one row")
        },
        Config {
            far_loss: true,
            far_rewind: true,
            faults: 2,
            ..plain("far lost or rewound, two faults")
        },
        Config {
            crash: true,
            faults: 1,
            window: 1,
            others: true,
            ..plain("host crash, window of one row")
        },
        Config {
            crash: true,
            far_loss: true,
            far_rewind: true,
            faults: 2,
            ..plain("host crash, far lost or rewound, two faults")
        },
        Config {
            failover: true,
            faults: 1,
            others: true,
            ..plain("lossy failover")
        },
        Config {
            prune: true,
            faults: 1,
            others: true,
            window: 2,
            ..plain("pruned log")
        },
        Config {
            joiners: true,
            evict: true,
            ..plain("joiners, near evicts")
        },
        Config {
            joiners: true,
            own_writes: true,
            window: 1,
            ..plain("joiners, own writes, window of one row")
        },
        Config {
            joiners: true,
            failover: true,
            faults: 1,
            ..plain("joiners, lossy failover")
        },
        Config {
            restamp: true,
            far_loss: true,
            faults: 1,
            evict: true,
            ..plain("re-stamping, far lost, near evicts")
        },
        Config {
            restamp: true,
            joiners: true,
            ..plain("re-stamping, joiners")
        },
        Config {
            readers: [true; 2],
            ..plain("two readers")
        },
        Config {
            feed_steps: [true; 2],
            ..plain("feeds of both hosts in single steps")
        },
        Config {
            feed_steps: [true, false],
            failover: true,
            faults: 1,
            ..plain("lossy failover, feed in single steps")
        },
        Config {
            failover: true,
            faults: 2,
            commits: 3,
            ..plain("two lossy failovers, three changes")
        },
        Config {
            prune: true,
            faults: 1,
            others: true,
            window: 2,
            commits: 3,
            ..plain("pruned log, three changes")
        },
        Config {
            readers: [true; 2],
            joiners: true,
            ..plain("two readers with joiners")
        },
        Config {
            readers: [true; 2],
            joiners: true,
            failover: true,
            faults: 1,
            warm: true,
            ..plain("two readers with joiners, lossy failover")
        },
        everything(Config {
            faults: 1,
            ..plain("everything, one fault")
        }),
        everything(Config {
            faults: 2,
            commits: 3,
            feed_steps: [true, false],
            ..plain("everything, two faults, three changes")
        }),
    ]
}

fn everything(config: Config) -> Config {
    Config {
        others: true,
        purges: true,
        own_writes: true,
        joiners: true,
        shared_far: true,
        restamp: true,
        evict: true,
        far_loss: true,
        far_rewind: true,
        crash: true,
        failover: true,
        prune: true,
        ..config
    }
}
