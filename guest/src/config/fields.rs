//! The fields of a config: their names, what each may hold, and what it is where no level sets it
//! (DESIGN 4.5). The only place that names them. Not for which level wins (`config`).

use serde::Serialize;

use crate::body::{boolean, count, number, word};
use crate::faults::{Faults, Path};
use crate::json::Json;

pub struct Field {
    pub name: &'static str,
    holds: Holds,
    pub default: Value,
}

enum Holds {
    Word(&'static [(&'static str, Value)]),
    /// An integer from 1 on.
    Count,
    /// A number from 0 to 1.
    Share,
    Flag,
}

/// What a field holds, in JSON as it is here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    Word(&'static str),
    Count(u64),
    Share(f64),
    Flag(bool),
}

const SHARE_RULE: &str = "must be a number from 0 to 1";

/// How much is left out when branches are merged.
const MERGE: [(&str, Value); 4] = words(["none", "minimal", "moderate", "aggressive"]);
/// How a path that has become long is shortened.
const PATH: [(&str, Value); 4] = words(["none", "sliding_window", "semantic", "hybrid"]);

/// In the order in which they are answered.
pub const FIELDS: [Field; 9] = [
    Field {
        name: "mergeCompressionStrategy",
        holds: Holds::Word(&MERGE),
        default: Value::Word("moderate"),
    },
    Field::count("mergeMaxMessages", 100),
    Field::flag("mergePreservePinned", true),
    Field {
        name: "pathCompressionStrategy",
        holds: Holds::Word(&PATH),
        default: Value::Word("sliding_window"),
    },
    Field::count("pathMaxMessages", 200),
    // Messages.
    Field::count("pathSlidingWindowSize", 50),
    // Share of the limit from which on a path is shortened.
    Field {
        name: "pathCompressionThreshold",
        holds: Holds::Share,
        default: Value::Share(0.85),
    },
    Field::flag("autoCompactEnabled", true),
    Field::count("compactionIntervalMinutes", 60),
];

/// Their names.
pub const NAMES: [&str; FIELDS.len()] = {
    let mut names = [""; FIELDS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = FIELDS[index].name;
        index += 1;
    }
    names
};

const fn words(words: [&'static str; 4]) -> [(&'static str, Value); 4] {
    let [a, b, c, d] = words;
    [
        (a, Value::Word(a)),
        (b, Value::Word(b)),
        (c, Value::Word(c)),
        (d, Value::Word(d)),
    ]
}

impl Field {
    const fn count(name: &'static str, default: u64) -> Field {
        Field {
            name,
            holds: Holds::Count,
            default: Value::Count(default),
        }
    }

    const fn flag(name: &'static str, default: bool) -> Field {
        Field {
            name,
            holds: Holds::Flag,
            default: Value::Flag(default),
        }
    }

    pub fn read(&self, json: &Json, at: &Path<'_>, faults: &mut Faults) -> Option<Value> {
        match self.holds {
            Holds::Word(words) => word(json, at, faults, words),
            Holds::Count => count(json, at, faults).map(Value::Count),
            Holds::Share => number(json, at, faults, 1.0, SHARE_RULE).map(Value::Share),
            Holds::Flag => boolean(json, at, faults).map(Value::Flag),
        }
    }
}
