//! Policies that this instance has decoded already. A copy is used only under the fill number that
//! the host has just shown (D5), so it can never outlive the near entry that it was made from;
//! which tenant it belongs to need not be known, as fill numbers are unique in the process. Not
//! here: freshness. That was settled before anybody asks for a copy.

use std::borrow::Cow;

use crate::policy::Policy;
use crate::ports::{Ports, Present, Severity};
use crate::validate;
use crate::words::Failure;

/// Fill numbers follow each other, so their low bits spread over the sets evenly: no hash is
/// needed.
const SETS: usize = 256;
/// Copies of one set. With one alone, two busy tenants of one set would evict each other for ever.
const WAYS: usize = 4;
/// Most bytes of memory that all copies take together.
const MOST_BYTES: usize = 2 * 1024 * 1024;

struct Copy {
    policy: Policy,
    weight: usize,
    /// Used since the clock's hand last passed.
    used: bool,
}

/// A bounded store with second chances: 1,024 copies and 2 MiB at most.
pub struct Decoded {
    /// Fill numbers, beside the copies so that a search touches one cache line; 0: the place is
    /// free.
    fills: Vec<u64>,
    copies: Vec<Option<Copy>>,
    bytes: usize,
    /// Next place that is looked at when bytes are short.
    hand: usize,
}

impl Default for Decoded {
    fn default() -> Decoded {
        let mut copies = Vec::new();
        copies.resize_with(SETS * WAYS, || None);
        Decoded {
            fills: vec![0; SETS * WAYS],
            copies,
            bytes: 0,
            hand: 0,
        }
    }
}

impl Decoded {
    /// The policy at index 0 of the last look-up: the copy made under its fill number, else decoded
    /// from derived bytes, else from its text.
    pub fn policy(
        &mut self,
        ports: &mut impl Ports,
        present: Present,
    ) -> Result<Cow<'_, Policy>, Failure> {
        let fill = present.fill;
        if let Some(place) = self.find(fill) {
            if let Some(copy) = &mut self.copies[place] {
                copy.used = true;
            }
        } else {
            let policy = decode(ports, present)?;
            let weight = policy.weight();
            if fill == 0 || weight > MOST_BYTES {
                return Ok(Cow::Owned(policy));
            }
            self.insert(
                fill,
                Copy {
                    policy,
                    weight,
                    used: false,
                },
            );
        }
        match self
            .find(fill)
            .and_then(|place| self.copies[place].as_ref())
        {
            Some(copy) => Ok(Cow::Borrowed(&copy.policy)),
            // Cannot be: it was found or inserted above.
            None => Err(Failure::Unavailable),
        }
    }

    fn find(&self, fill: u64) -> Option<usize> {
        if fill == 0 {
            return None;
        }
        let first = first_of_set(fill);
        let way = self.fills[first..first + WAYS]
            .iter()
            .position(|known| *known == fill)?;
        Some(first + way)
    }

    fn insert(&mut self, fill: u64, copy: Copy) {
        let place = self.place_for(fill);
        self.free(place);
        while self.bytes + copy.weight > MOST_BYTES {
            self.step();
        }
        self.bytes += copy.weight;
        self.fills[place] = fill;
        self.copies[place] = Some(copy);
    }

    /// A free place of the fill number's set, else that of the first copy without a second chance.
    fn place_for(&mut self, fill: u64) -> usize {
        let first = first_of_set(fill);
        let set = first..first + WAYS;
        if let Some(free) = set.clone().find(|place| self.fills[*place] == 0) {
            return free;
        }
        // The start turns with the fill numbers, so that no way is favoured.
        let start = (fill as usize / SETS) % WAYS;
        for turn in 0..WAYS {
            let place = first + (start + turn) % WAYS;
            match &mut self.copies[place] {
                Some(copy) if copy.used => copy.used = false,
                _ => return place,
            }
        }
        first + start
    }

    /// Moves the hand by one place, over all sets: it takes a chance away, or the copy.
    fn step(&mut self) {
        match &mut self.copies[self.hand] {
            Some(copy) if copy.used => copy.used = false,
            _ => self.free(self.hand),
        }
        self.hand = (self.hand + 1) % self.copies.len();
    }

    fn free(&mut self, place: usize) {
        self.fills[place] = 0;
        if let Some(copy) = self.copies[place].take() {
            self.bytes -= copy.weight;
        }
    }
}

fn first_of_set(fill: u64) -> usize {
    (fill as usize % SETS) * WAYS
}

fn decode(ports: &mut impl Ports, present: Present) -> Result<Policy, Failure> {
    // Derived bytes lie beside a near entry; without a fill number there is none.
    if present.fill != 0 {
        let bytes = ports.derived(0);
        let is_there = !bytes.is_empty();
        if let Some(policy) = Policy::from_bytes(bytes) {
            return Ok(policy);
        }
        if is_there {
            ports.log(
                Severity::Warn,
                "the derived bytes of a policy cannot be read: its text is decoded instead",
            );
        }
    }
    match validate::decode(&ports.text(0)) {
        Ok(policy) => {
            if present.fill != 0 {
                ports.attach(0, policy.bytes());
            }
            Ok(policy)
        }
        Err(faults) => {
            // The count alone: pointers contain keys of the record.
            let message = format!(
                "the stored policy of revision {} breaks the rules of this component ({} faults)",
                present.revision,
                faults.len()
            );
            ports.log(Severity::Error, &message);
            Err(Failure::RecordInvalid(faults))
        }
    }
}

#[cfg(test)]
mod tests;
