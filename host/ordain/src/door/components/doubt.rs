//! A component that failed here: this instance has left it already, and whether the fleet does is
//! settled among the instances. The first that leaves it says so in the settings; one that it
//! answers well may object within a few seconds; nobody does, or a second one has left it, too:
//! then the fleet returns. Not for when an instance leaves a component (`runtime/watch`), nor for
//! what it does then (`leave`).

use std::time::{Duration, Instant};

use super::fleet::{Fleet, Named};

/// For others to object: longer than it takes an instance to learn of a change, and to make one.
const OBJECTION: Duration = Duration::from_secs(3);

/// A component that failed too often, and the one that answers again: a digest, or [`FILE`].
#[derive(Clone)]
pub struct Failed {
    pub(super) named: Named,
    pub(super) good: String,
    pub(super) why: String,
    /// When the fleet was told.
    pub(super) told: Option<Instant>,
}

/// What an instance does about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Tell,
    Wait,
    Return,
    /// It is this instance's affair alone.
    End,
}

impl Failed {
    pub(super) fn step(&self, fleet: &Fleet, name: &str) -> Step {
        // The very wish that brought it: one that came later is somebody's who knows. And where the
        // fleet has nothing to return to, what was good here is this instance's own affair.
        if fleet.current.as_ref() != Some(&self.named) || fleet.previous.is_none() {
            return Step::End;
        }
        match (fleet.doubt(), self.told) {
            (Some(doubt), _) if doubt.who != name => Step::Return,
            (Some(_), _) if fleet.is_vouched_for() => Step::End,
            (Some(_), Some(told)) if told.elapsed() >= OBJECTION => Step::Return,
            (None, None) => Step::Tell,
            _ => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::FILE;
    use super::*;
    use ordain_store::FleetSetting;

    fn fleet(settings: &[(&str, &str, u64)]) -> Fleet {
        let digest = format!("sha256:{}", "a".repeat(64));
        let setting = |(name, value, revision): &(&str, &str, u64)| FleetSetting {
            name: format!("component.{name}"),
            value: value.replace('D', &digest),
            revision: *revision,
        };
        Fleet::of(&settings.iter().map(setting).collect::<Vec<_>>())
    }

    fn step(told: Option<Duration>, words: &[(&str, &str, u64)]) -> Step {
        let mut settings = vec![("previous", "file", 10), ("current", "D", 11)];
        settings.extend(words);
        let fleet = fleet(&settings);
        let failed = Failed {
            named: fleet.current.clone().expect("a component"),
            good: FILE.to_owned(),
            why: String::new(),
            told: told.and_then(|ago| Instant::now().checked_sub(ago)),
        };
        failed.step(&fleet, "me")
    }

    #[test]
    fn the_word_of_one_instance_turns_a_fleet_only_if_nobody_objects() {
        let (just_now, before) = (Some(Duration::ZERO), Some(OBJECTION));
        assert_eq!(step(None, &[]), Step::Tell);
        assert_eq!(step(just_now, &[]), Step::Wait);
        let mine = ("doubt", "D me", 12);
        assert_eq!(step(just_now, &[mine]), Step::Wait);
        assert_eq!(step(before, &[mine]), Step::Return);
        assert_eq!(step(before, &[mine, ("trust", "D other", 13)]), Step::End);
        // That was said of an earlier doubt.
        assert_eq!(step(before, &[mine, ("trust", "D other", 9)]), Step::Return);
    }

    #[test]
    fn two_instances_turn_it_at_once_whoever_objects() {
        let other = ("doubt", "D other", 12);
        assert_eq!(step(None, &[other]), Step::Return);
        assert_eq!(step(None, &[other, ("trust", "D third", 13)]), Step::Return);
        // It was said of a wish before this one.
        assert_eq!(step(None, &[("doubt", "D other", 5)]), Step::Tell);
    }

    #[test]
    fn a_wish_that_came_later_is_left_alone() {
        let older = fleet(&[("previous", "file", 10), ("current", "D", 11)]);
        let failed = Failed {
            named: older.current.expect("a component"),
            good: FILE.to_owned(),
            why: String::new(),
            told: None,
        };
        let again = fleet(&[("previous", "file", 20), ("current", "D", 21)]);
        assert_eq!(failed.step(&again, "me"), Step::End);
        assert_eq!(
            failed.step(&fleet(&[("current", "D", 11)]), "me"),
            Step::End
        );
    }
}
