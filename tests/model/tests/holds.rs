//! The protocol with all its rules keeps its promises, in what can be explored within seconds. `make
//! model` goes on from here.

use std::time::Duration;

use ordain_model::{Config, Limit, check, runs};

const LIMIT: Limit = Limit {
    steps: 1_000_000,
    time: Duration::from_secs(120),
    threads: 1,
};

#[test]
fn x() {
    for run in runs::all() {
        let run = Config {
            commits: 1,
            faults: run.faults.min(1),
            ..run
        };
        let o = check(&run, LIMIT);
        println!(
            "{} {} {} {:?} {}",
            run.name, o.states, o.depth, o.time, o.all
        );
        assert!(o.broken.is_empty());
    }
}
