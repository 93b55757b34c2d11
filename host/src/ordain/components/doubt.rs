//! A component that failed here: this instance has left it already, and whether the fleet does is settled
//! among the instances. The first that leaves it says so in the settings; one that it answers well may
//! object within a few seconds; nobody does, or a second one has left it, too: then the fleet returns. Not
//! for when an instance leaves a component (`runtime/watch`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::fleet::{FILE, Fleet, Named};
use super::follow::{Components, trouble};
use crate::runtime::Runtime;

/// For others to object: longer than it takes an instance to learn of a change, and to make one.
const OBJECTION: Duration = Duration::from_secs(3);

/// A component that failed too often, and the one that answers again: a digest, or [`FILE`].
#[derive(Clone)]
pub struct Failed {
    named: Named,
    good: String,
    why: String,
    /// When the fleet was told.
    told: Option<Instant>,
}

/// What an instance does about it.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Tell,
    Wait,
    Return,
    /// It is this instance's affair alone.
    End,
}

impl Failed {
    fn step(&self, fleet: &Fleet, name: &str) -> Step {
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

impl Components {
    /// The runtime has returned to the component before.
    pub(super) fn note_return(&self, runtime: &Runtime, failed: &[Arc<str>]) {
        let number = failed.len() as u64;
        self.returns.fetch_add(number, Ordering::Relaxed);
        self.swaps.fetch_add(number, Ordering::Relaxed);
        let running = runtime.lineup().current.digest().to_string();
        let mut state = self.state();
        state.since = SystemTime::now();
        // Unless something else was chosen in the meantime.
        let chosen = match &state.chosen {
            Some(named) => named.digest.clone(),
            None => state.file.digest().to_string(),
        };
        if !failed.iter().any(|digest| **digest == *chosen) {
            return;
        }
        let why = format!("it failed too often, and {running} answers again");
        match state.chosen.clone() {
            Some(named) => {
                state.trouble = Some(trouble(&named.digest, &why));
                let good = match running == **state.file.digest() {
                    true => FILE.to_owned(),
                    false => running,
                };
                state.failed = Some(Failed {
                    named,
                    good,
                    why,
                    told: None,
                });
            }
            None => state.trouble = Some(trouble(FILE, &why)),
        }
    }

    /// Goes on with a component that failed here. True: it is to be looked at again.
    pub(super) async fn settle_failed(&self, fleet: &Fleet) -> bool {
        let Some(failed) = self.state().failed.clone() else {
            return false;
        };
        let reason = format!("{}: {}", failed.named.digest, failed.why);
        let again = match failed.step(fleet, &self.name) {
            Step::End => false,
            Step::Wait => return true,
            Step::Return => self.change(fleet.return_to(&failed.good), &reason).await,
            Step::Tell => {
                let reason = format!("{reason} on one instance");
                if !self.change(fleet.doubted_by(&self.name), &reason).await
                    && let Some(failed) = &mut self.state().failed
                {
                    failed.told = Some(Instant::now());
                }
                return true;
            }
        };
        if !again {
            self.state().failed = None;
        }
        again
    }

    /// Objects, if another instance has left what answers well here.
    pub(super) async fn vouch(&self, runtime: &Runtime, fleet: &Fleet) {
        let Some(doubt) = fleet.doubt() else { return };
        if doubt.who == self.name || fleet.is_vouched_for() {
            return;
        }
        let lineup = runtime.lineup();
        if **lineup.current.digest() == *doubt.digest && lineup.watch.is_going_well() {
            let reason = format!(
                "{} failed on one instance and answers well here",
                doubt.digest
            );
            self.change(fleet.vouched_for_by(&self.name), &reason).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::FleetSetting;

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
