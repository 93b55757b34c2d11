//! The decoded policy: what routing and egress need of a record, in the order that look-ups want.
//! Not the record itself: that is its canonical text, which is never made from this.

use serde::{Deserialize, Serialize};

use crate::words::EgressMode;

/// First byte of the derived form. Raise it with every change of the types below: bytes of another
/// form are then not read, whatever they would decode to.
const FORMAT: u8 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub default_provider: String,
    pub default_model: String,
    pub allow_remote_egress: bool,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
    /// Sorted by task; candidates of one task keep their order of preference.
    tasks: Vec<Candidate>,
    /// Sorted by user.
    users: Vec<UserPolicy>,
    /// `None`: everything is allowed. Empty: nothing is.
    pub allowed_models: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub task: String,
    pub provider: String,
    pub model: String,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserPolicy {
    pub user: String,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
}

impl Policy {
    /// A policy that allows everything to go to one model. More is set field by field.
    pub fn new(default_provider: String, default_model: String) -> Policy {
        Policy {
            default_provider,
            default_model,
            allow_remote_egress: true,
            egress_mode: None,
            allow_off_mode: None,
            tasks: Vec::new(),
            users: Vec::new(),
            allowed_models: None,
        }
    }

    pub fn set_tasks(&mut self, mut tasks: Vec<Candidate>) {
        // Stable: candidates of one task stay in order of preference.
        tasks.sort_by(|a, b| a.task.cmp(&b.task));
        self.tasks = tasks;
    }

    pub fn set_users(&mut self, mut users: Vec<UserPolicy>) {
        users.sort_by(|a, b| a.user.cmp(&b.user));
        self.users = users;
    }

    /// The candidates of a task, best first.
    pub fn candidates<'a>(&'a self, task: &'a str) -> impl Iterator<Item = &'a Candidate> {
        let first = self
            .tasks
            .partition_point(|candidate| candidate.task.as_str() < task);
        self.tasks[first..]
            .iter()
            .take_while(move |candidate| candidate.task == task)
    }

    pub fn user(&self, user: &str) -> Option<&UserPolicy> {
        let at = self
            .users
            .binary_search_by(|entry| entry.user.as_str().cmp(user))
            .ok()?;
        self.users.get(at)
    }

    /// The derived form: compact bytes for the slot beside a near entry (D2).
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising into memory has nothing that can fail; were it to, an empty slot is right.
        postcard::to_extend(self, vec![FORMAT]).unwrap_or_default()
    }

    /// Reads the derived form; nothing if the bytes are not exactly one policy of this form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Policy> {
        let (&FORMAT, body) = bytes.split_first()? else {
            return None;
        };
        match postcard::take_from_bytes(body) {
            Ok((policy, [])) => Some(policy),
            _ => None,
        }
    }

    /// Bytes of memory that a decoded copy takes, roughly.
    pub fn weight(&self) -> usize {
        let tasks: usize = self.tasks.iter().map(Candidate::weight).sum();
        let users: usize = self
            .users
            .iter()
            .map(|entry| size_of::<UserPolicy>() + entry.user.len())
            .sum();
        let globs: usize = self
            .allowed_models
            .iter()
            .flatten()
            .map(|glob| size_of::<String>() + glob.len())
            .sum();
        size_of::<Policy>()
            + self.default_provider.len()
            + self.default_model.len()
            + tasks
            + users
            + globs
    }
}

impl Candidate {
    fn weight(&self) -> usize {
        size_of::<Candidate>() + self.task.len() + self.provider.len() + self.model.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(task: &str, model: &str) -> Candidate {
        Candidate {
            task: task.into(),
            provider: "p".into(),
            model: model.into(),
            temperature: Some(0.5),
            max_tokens: Some(2048),
        }
    }

    fn policy() -> Policy {
        let mut policy = Policy::new("p".into(), "m".into());
        policy.set_tasks(vec![
            candidate("chat", "1"),
            candidate("a", "x"),
            candidate("chat", "2"),
        ]);
        let user = |name: &str| UserPolicy {
            user: name.into(),
            egress_mode: None,
            allow_off_mode: Some(true),
        };
        policy.set_users(vec![user("z"), user("ä"), user("b")]);
        policy.allowed_models = Some(vec!["p/*".into()]);
        policy
    }

    #[test]
    fn candidates_of_one_task_keep_their_order_wherever_they_stood() {
        let policy = policy();
        let models: Vec<_> = policy
            .candidates("chat")
            .map(|c| c.model.as_str())
            .collect();
        assert_eq!(models, ["1", "2"]);
        assert_eq!(policy.candidates("a").count(), 1);
        assert_eq!(policy.candidates("b").count(), 0);
        assert_eq!(policy.candidates("").count(), 0);
    }

    #[test]
    fn users_are_found_by_their_exact_name() {
        let policy = policy();
        for user in ["z", "ä", "b"] {
            assert_eq!(
                policy.user(user).map(|entry| entry.user.as_str()),
                Some(user)
            );
        }
        assert_eq!(policy.user("Z"), None);
    }

    #[test]
    fn the_derived_form_is_read_back_and_any_other_form_is_not() {
        let policy = policy();
        let bytes = policy.to_bytes();
        assert_eq!(Policy::from_bytes(&bytes), Some(policy));
        assert_eq!(Policy::from_bytes(&[]), None);
        assert_eq!(Policy::from_bytes(&bytes[..bytes.len() - 1]), None);
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Policy::from_bytes(&longer), None);
        let mut other = bytes;
        other[0] = FORMAT + 1;
        assert_eq!(Policy::from_bytes(&other), None);
    }
}
