//! What each instance had told anybody before a request to it began. The sweep behind the promises
//! that hold for one instance; judges nothing.

use std::collections::HashMap;

use crate::log::Log;
use crate::record::{History, Host, Tier};

/// Positions that the answer to a request must reflect, as far as they concern its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// The instance's own acknowledged write of the key.
    pub own: u64,
    /// The latest state of the key that it has shown.
    pub shown: u64,
    /// What it must have applied, whatever the key: an answer from near or far tells.
    pub applied: u64,
}

/// For each operation of the history, what its instance had completed before it began.
pub fn told(history: &History, log: &Log) -> Vec<Told> {
    let mut hosts: HashMap<Host, Vec<usize>> = HashMap::new();
    for (index, op) in history.ops.iter().enumerate() {
        if let Some(host) = op.host {
            hosts.entry(host).or_default().push(index);
        }
    }
    let mut result = vec![Told::default(); history.ops.len()];
    for mut begun in hosts.into_values() {
        let mut ended = begun.clone();
        begun.sort_by_key(|index| history.ops[*index].began);
        ended.sort_by_key(|index| history.ops[*index].ended);
        let mut ended = ended.into_iter().peekable();
        let mut applied = 0;
        let mut keys: HashMap<&str, Told> = HashMap::new();
        for index in begun {
            let op = &history.ops[index];
            while let Some(earlier) = ended.next_if(|e| history.ops[*e].ended < op.began) {
                let earlier = &history.ops[earlier];
                let key = keys.entry(&earlier.tenant).or_default();
                if let Some(row) = earlier
                    .acknowledged()
                    .and_then(|_| log.written_by(&earlier.id))
                    && !row.lost
                {
                    key.own = key.own.max(row.position);
                }
                if let Some(answer) = earlier.answer() {
                    let shown = log
                        .key(&earlier.tenant)
                        .earliest_shown(answer, earlier.ended);
                    key.shown = key.shown.max(shown);
                    if answer.tier != Tier::Origin {
                        applied = applied.max(answer.position);
                    }
                }
            }
            result[index] = Told {
                applied,
                ..keys.get(op.tenant.as_str()).copied().unwrap_or_default()
            };
        }
    }
    result
}
