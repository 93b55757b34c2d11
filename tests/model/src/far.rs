//! The far cache: one value of one key, put by rule A4. Nothing else is in far, and it may lose,
//! rewind or bring back whatever it ever held.

use crate::rules::{Rule, Rules};
use crate::state::{Position, Value, Version};

/// A put that is under way; it may land any time later, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Put {
    pub value: Value,
    /// The unusable value that was found before, which this one may replace (A3).
    pub seen: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Far {
    pub stored: Option<Value>,
    /// All that was ever stored, as a set; kept where a fault may bring it back.
    held: u32,
}

const VERSIONS: u32 = crate::origin::COMMITS as u32 + 1;

impl Far {
    /// The script of A4. False: refused.
    pub fn put(&mut self, put: Put, rules: Rules, remember: bool) -> bool {
        let newer = |stored: Value| stored.as_of < put.value.as_of;
        let replaces = |stored: Value| put.seen == Some(stored);
        let accepted =
            !rules.has(Rule::PutIfNewer) || self.stored.is_none_or(|s| newer(s) || replaces(s));
        if accepted {
            self.stored = Some(put.value);
            if remember {
                let number = u32::from(put.value.as_of) * VERSIONS + u32::from(put.value.version);
                self.held |= 1 << number;
            }
        }
        accepted
    }

    pub fn held(&self) -> impl Iterator<Item = Value> {
        let held = self.held;
        (0..VERSIONS * VERSIONS)
            .filter(move |number| (held >> number) & 1 == 1)
            .map(|number| Value {
                as_of: (number / VERSIONS) as Position,
                version: (number % VERSIONS) as Version,
            })
    }
}
