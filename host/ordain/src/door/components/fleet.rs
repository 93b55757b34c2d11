//! Which component the fleet wants, as its settings say (rows of the logged table `settings`), and
//! the changes of these settings that a push, a promotion or a rollback is. Not for carrying them
//! out (`follow`).

use crate::runtime::Plan;
use ordain_store::{COMPONENT_SETTINGS, FleetSetting};

/// Instead of a digest: what each instance has in its own file.
pub const FILE: &str = "file";

const CURRENT: &str = "component.current";
const PREVIOUS: &str = "component.previous";
const CANDIDATE: &str = "component.candidate";
const SHARE: &str = "component.share";
const PROMOTE_AFTER: &str = "component.promote-after";
const DOUBT: &str = "component.doubt";
const TRUST: &str = "component.trust";

/// A component, and the position of the change that named it: naming it again is another change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub digest: String,
    pub revision: u64,
}

/// What an instance says of a component: a digest and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub digest: String,
    pub who: String,
    revision: u64,
}

impl Word {
    fn of(setting: &FleetSetting) -> Option<Word> {
        let (digest, who) = setting.value.split_once(' ')?;
        is_digest(digest).then(|| Word {
            digest: digest.to_owned(),
            who: who.to_owned(),
            revision: setting.revision,
        })
    }

    fn value(&self) -> String {
        format!("{} {}", self.digest, self.who)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// `None`: what each instance has in its file.
    pub current: Option<Named>,
    /// What a rollback returns to: a digest, or [`FILE`].
    pub previous: Option<String>,
    pub candidate: Option<Named>,
    pub plan: Plan,
    /// An instance has left what was wanted; another one objects.
    doubt: Option<Word>,
    trust: Option<Word>,
}

/// Settings to set or remove, and those that must be as they were for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    pub changes: Vec<(String, Option<String>)>,
    pub only_if: Vec<(String, Option<String>)>,
}

impl Fleet {
    /// What cannot be understood (an edit by hand) is as if it were not there.
    pub fn of(settings: &[FleetSetting]) -> Fleet {
        let mut fleet = Fleet::default();
        for setting in settings {
            fleet.take(setting);
        }
        fleet
    }

    /// Settings of components that say nothing to this program.
    pub fn not_understood(settings: &[FleetSetting]) -> impl Iterator<Item = &FleetSetting> {
        settings.iter().filter(|s| !Fleet::default().take(s))
    }

    /// Whether the setting is understood.
    fn take(&mut self, setting: &FleetSetting) -> bool {
        let named = || {
            is_digest(&setting.value).then(|| Named {
                digest: setting.value.clone(),
                revision: setting.revision,
            })
        };
        match &*setting.name {
            CURRENT => {
                self.current = named();
                self.current.is_some()
            }
            CANDIDATE => {
                self.candidate = named();
                self.candidate.is_some()
            }
            PREVIOUS => {
                let known = setting.value == FILE || is_digest(&setting.value);
                self.previous = known.then(|| setting.value.clone());
                known
            }
            SHARE => match setting.value.parse() {
                Ok(share) if is_share(share) => {
                    self.plan.share = share;
                    true
                }
                _ => false,
            },
            PROMOTE_AFTER => {
                self.plan.promote_after = setting.value.parse().ok().filter(|n| *n > 0);
                self.plan.promote_after.is_some()
            }
            DOUBT => {
                self.doubt = Word::of(setting);
                self.doubt.is_some()
            }
            TRUST => {
                self.trust = Word::of(setting);
                self.trust.is_some()
            }
            name => !name.starts_with(COMPONENT_SETTINGS),
        }
    }

    fn current_digest(&self) -> Option<String> {
        self.current.as_ref().map(|named| named.digest.clone())
    }

    /// An instance has left the component that is wanted now.
    pub fn doubt(&self) -> Option<&Word> {
        let (doubt, current) = (self.doubt.as_ref()?, self.current.as_ref()?);
        (doubt.digest == current.digest && doubt.revision > current.revision).then_some(doubt)
    }

    /// Another one has objected to that.
    pub fn is_vouched_for(&self) -> bool {
        let doubt = self.doubt().zip(self.trust.as_ref());
        doubt.is_some_and(|(doubt, trust)| {
            trust.digest == doubt.digest && trust.revision > doubt.revision
        })
    }

    pub fn doubted_by(&self, who: &str) -> Changes {
        let digest = self.current_digest().unwrap_or_default();
        Changes {
            changes: vec![(DOUBT.to_owned(), Some(format!("{digest} {who}")))],
            only_if: vec![self.if_current(), self.if_doubt()],
        }
    }

    pub fn vouched_for_by(&self, who: &str) -> Changes {
        let digest = self.current_digest().unwrap_or_default();
        let trust = self.trust.as_ref().map(Word::value);
        Changes {
            changes: vec![(TRUST.to_owned(), Some(format!("{digest} {who}")))],
            only_if: vec![
                self.if_current(),
                self.if_doubt(),
                (TRUST.to_owned(), trust),
            ],
        }
    }

    fn if_doubt(&self) -> (String, Option<String>) {
        (DOUBT.to_owned(), self.doubt.as_ref().map(Word::value))
    }

    fn if_current(&self) -> (String, Option<String>) {
        (CURRENT.to_owned(), self.current_digest())
    }

    fn if_candidate(&self) -> (String, Option<String>) {
        let candidate = self.candidate.as_ref().map(|named| named.digest.clone());
        (CANDIDATE.to_owned(), candidate)
    }

    /// Makes a component the candidate, in place of the one that is known.
    pub fn propose(&self, digest: &str, plan: &Plan) -> Changes {
        Changes {
            changes: vec![
                (CANDIDATE.to_owned(), Some(digest.to_owned())),
                (SHARE.to_owned(), Some(plan.share.to_string())),
                (
                    PROMOTE_AFTER.to_owned(),
                    plan.promote_after.map(|n| n.to_string()),
                ),
            ],
            only_if: vec![self.if_candidate()],
        }
    }

    /// Lets go of the candidate that is known.
    pub fn withdraw(&self) -> Changes {
        let names = [CANDIDATE, SHARE, PROMOTE_AFTER];
        Changes {
            changes: names.map(|name| (name.to_owned(), None)).to_vec(),
            only_if: vec![self.if_candidate()],
        }
    }

    /// Makes a component the one that all run. A candidate that is another stays one; what runs
    /// already is left as it is, and so is what it could be rolled back to.
    pub fn promote(&self, digest: &str) -> Changes {
        let mut promotion = match &self.candidate {
            Some(candidate) if candidate.digest == digest => self.withdraw(),
            _ => Changes::default(),
        };
        let current = self.current_digest();
        if current.as_deref() != Some(digest) {
            let previous = current.unwrap_or_else(|| FILE.to_owned());
            promotion.changes.extend([
                (PREVIOUS.to_owned(), Some(previous)),
                (CURRENT.to_owned(), Some(digest.to_owned())),
            ]);
        }
        promotion.only_if.push(self.if_current());
        promotion
    }

    /// Promotes the candidate, provided that it still is one.
    pub fn promote_candidate(&self, candidate: &str) -> Changes {
        let mut changes = self.promote(candidate);
        let expected = (CANDIDATE.to_owned(), Some(candidate.to_owned()));
        if !changes.only_if.contains(&expected) {
            changes.only_if.push(expected);
        }
        changes
    }

    /// Returns to what is known to be good: a digest, or [`FILE`].
    pub fn return_to(&self, good: &str) -> Changes {
        let good = Some(good.to_owned()).filter(|name| name != FILE);
        let mut changes = vec![(PREVIOUS.to_owned(), None), (CURRENT.to_owned(), good)];
        // What was said of it is settled.
        let words = [(DOUBT, &self.doubt), (TRUST, &self.trust)];
        let said = words.into_iter().filter(|(_, word)| word.is_some());
        changes.extend(said.map(|(name, _)| (name.to_owned(), None)));
        Changes {
            changes,
            only_if: vec![
                self.if_current(),
                (PREVIOUS.to_owned(), self.previous.clone()),
            ],
        }
    }

    /// Returns to what ran before; `None`: nothing did.
    pub fn roll_back(&self) -> Option<Changes> {
        let previous = self.previous.as_deref()?;
        Some(self.return_to(previous))
    }
}

pub fn is_share(share: f64) -> bool {
    share > 0.0 && share <= 1.0
}

pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: char) -> String {
        format!("sha256:{}", letter.to_string().repeat(64))
    }

    /// What the settings are after changes, if their conditions hold.
    fn applied(settings: &[FleetSetting], changes: &Changes) -> Option<Vec<FleetSetting>> {
        let value = |name: &str| {
            let found = settings.iter().find(|setting| setting.name == name);
            found.map(|setting| setting.value.clone())
        };
        let holds = changes
            .only_if
            .iter()
            .all(|(name, expected)| value(name) == *expected);
        let mut settings = settings.to_vec();
        for (name, value) in &changes.changes {
            let revision = settings.iter().map(|s| s.revision).max().unwrap_or(0) + 1;
            settings.retain(|setting| setting.name != *name);
            settings.extend(value.clone().map(|value| FleetSetting {
                name: name.clone(),
                value,
                revision,
            }));
        }
        holds.then_some(settings)
    }

    #[test]
    fn a_push_a_promotion_and_a_rollback_lead_back_to_the_file() {
        let (a, b) = (digest('a'), digest('b'));
        let plan = Plan {
            share: 0.25,
            promote_after: Some(100),
        };
        let mut settings =
            applied(&[], &Fleet::default().propose(&a, &plan)).expect("no condition");
        let fleet = Fleet::of(&settings);
        assert_eq!(fleet.candidate.as_ref().map(|c| &*c.digest), Some(&*a));
        assert_eq!((fleet.plan, &fleet.current), (plan, &None));

        settings = applied(&settings, &fleet.promote_candidate(&a)).expect("it is the candidate");
        let fleet = Fleet::of(&settings);
        assert_eq!(fleet.current_digest().as_deref(), Some(&*a));
        assert_eq!(
            (fleet.previous.as_deref(), &fleet.candidate),
            (Some(FILE), &None)
        );
        assert_eq!(
            applied(&settings, &Fleet::default().promote(&b)),
            None,
            "the other was quicker"
        );

        settings = applied(&settings, &fleet.promote(&b)).expect("as known");
        let fleet = Fleet::of(&settings);
        assert_eq!(fleet.previous.as_deref(), Some(&*a));
        let back = fleet.roll_back().expect("something ran before");
        settings = applied(&settings, &back).expect("as known");
        let fleet = Fleet::of(&settings);
        assert_eq!((fleet.current_digest(), fleet.roll_back()), (Some(a), None));
    }

    #[test]
    fn a_rollback_of_the_first_promotion_runs_the_file_again() {
        let settings = applied(&[], &Fleet::default().promote(&digest('a'))).expect("as known");
        let back = Fleet::of(&settings)
            .roll_back()
            .expect("the file ran before");
        let settings = applied(&settings, &back).expect("as known");
        assert_eq!(Fleet::of(&settings), Fleet::default());
    }

    #[test]
    fn what_nobody_understands_is_as_if_it_were_not_there() {
        let row = |name: &str, value: &str| FleetSetting {
            name: name.to_owned(),
            value: value.to_owned(),
            revision: 1,
        };
        let rows = [
            // The last one is none of components.
            row("component.current", "sha256:abc"),
            row("component.previous", "yesterday"),
            row("component.candidate", &digest('g')),
            row("component.share", "0"),
            row("component.promote-after", "soon"),
            row("component.colour", "red"),
            row("bound", "2s"),
        ];
        assert_eq!(Fleet::of(&rows), Fleet::default());
        assert_eq!(Fleet::not_understood(&rows).count(), rows.len() - 1);
    }

    #[test]
    fn what_runs_already_is_promoted_by_nothing() {
        let (a, b) = (digest('a'), digest('b'));
        let mut settings = applied(&[], &Fleet::default().promote(&a)).expect("as known");
        settings = applied(&settings, &Fleet::of(&settings).promote(&b)).expect("as known");
        let fleet = Fleet::of(&settings);
        assert_eq!(fleet.promote(&b).changes, []);
        let candidate = fleet.propose(&b, &Plan::default());
        let tried = applied(&settings, &candidate).expect("there was none");
        let again = Fleet::of(&tried).promote(&b);
        let after = Fleet::of(&applied(&tried, &again).expect("as known"));
        assert_eq!((after.previous, after.candidate), (Some(a), None));
    }
}
