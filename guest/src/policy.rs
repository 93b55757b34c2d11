//! The decoded policy: what routing and egress need of a record, in the order that look-ups want.
//! Not the record itself: that is its canonical text, which is never made from this.

use serde::{Deserialize, Serialize};

use crate::words::EgressMode;

/// First byte of the derived form. Raise it with every change of the types below: bytes of another
/// form are then not read, whatever they would decode to.
const FORMAT: u8 = 1;

/// What a record says, field by field, borrowed from where it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields<'a> {
    pub default_provider: &'a str,
    pub default_model: &'a str,
    pub allow_remote_egress: bool,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
    pub tasks: Vec<Candidate<'a>>,
    pub users: Vec<UserPolicy<'a>>,
    /// `None`: everything is allowed. Empty: nothing is.
    pub allowed_models: Option<Vec<&'a str>>,
}

impl<'a> Fields<'a> {
    /// A policy that sends everything to one model.
    pub fn new(default_provider: &'a str, default_model: &'a str) -> Fields<'a> {
        Fields {
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
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    pub task: &'a str,
    pub provider: &'a str,
    pub model: &'a str,
    pub temperature: Option<f64>,
    pub max_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UserPolicy<'a> {
    pub user: &'a str,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
}

/// A decoded policy. All of its texts lie in one string: reading and dropping one takes a handful of
/// allocations, not one for each name, which is most of what decoding would cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    texts: String,
    default_provider: Span,
    default_model: Span,
    pub allow_remote_egress: bool,
    pub egress_mode: Option<EgressMode>,
    pub allow_off_mode: Option<bool>,
    /// Sorted by task; candidates of one task keep their order of preference.
    tasks: Vec<PackedCandidate>,
    /// Sorted by user.
    users: Vec<PackedUser>,
    allowed_models: Option<Vec<Span>>,
}

/// A part of `texts`, from its first byte to the one after its last.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Span(u32, u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PackedCandidate {
    task: Span,
    provider: Span,
    model: Span,
    temperature: Option<f64>,
    max_tokens: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PackedUser {
    user: Span,
    egress_mode: Option<EgressMode>,
    allow_off_mode: Option<bool>,
}

impl Policy {
    pub fn pack(fields: Fields<'_>) -> Policy {
        let Fields {
            mut tasks,
            mut users,
            allowed_models,
            ..
        } = fields;
        // Stable: candidates of one task stay in order of preference.
        tasks.sort_by_key(|candidate| candidate.task);
        users.sort_by_key(|entry| entry.user);
        let mut texts = String::new();
        let mut span = |text: &str| {
            let start = texts.len();
            texts.push_str(text);
            // A record's texts are far below 4 GiB.
            Span(start as u32, texts.len() as u32)
        };
        Policy {
            default_provider: span(fields.default_provider),
            default_model: span(fields.default_model),
            allow_remote_egress: fields.allow_remote_egress,
            egress_mode: fields.egress_mode,
            allow_off_mode: fields.allow_off_mode,
            tasks: tasks
                .iter()
                .map(|candidate| PackedCandidate {
                    task: span(candidate.task),
                    provider: span(candidate.provider),
                    model: span(candidate.model),
                    temperature: candidate.temperature,
                    max_tokens: candidate.max_tokens,
                })
                .collect(),
            users: users
                .iter()
                .map(|entry| PackedUser {
                    user: span(entry.user),
                    egress_mode: entry.egress_mode,
                    allow_off_mode: entry.allow_off_mode,
                })
                .collect(),
            allowed_models: allowed_models.map(|globs| globs.into_iter().map(&mut span).collect()),
            texts,
        }
    }

    pub fn default_provider(&self) -> &str {
        self.text(self.default_provider)
    }

    pub fn default_model(&self) -> &str {
        self.text(self.default_model)
    }

    /// The candidates of a task, best first.
    pub fn candidates<'a>(&'a self, task: &'a str) -> impl Iterator<Item = Candidate<'a>> {
        let first = self
            .tasks
            .partition_point(|packed| self.text(packed.task) < task);
        let candidates = self.tasks[first..].iter().map(|packed| Candidate {
            task: self.text(packed.task),
            provider: self.text(packed.provider),
            model: self.text(packed.model),
            temperature: packed.temperature,
            max_tokens: packed.max_tokens,
        });
        candidates.take_while(move |candidate| candidate.task == task)
    }

    pub fn user(&self, user: &str) -> Option<UserPolicy<'_>> {
        let at = self
            .users
            .binary_search_by(|packed| self.text(packed.user).cmp(user))
            .ok()?;
        let PackedUser {
            user,
            egress_mode,
            allow_off_mode,
        } = *self.users.get(at)?;
        Some(UserPolicy {
            user: self.text(user),
            egress_mode,
            allow_off_mode,
        })
    }

    /// The globs of which one must match; `None`: everything is allowed.
    pub fn allowed_models(&self) -> Option<impl Iterator<Item = &str>> {
        let globs = self.allowed_models.as_ref()?;
        Some(globs.iter().map(|glob| self.text(*glob)))
    }

    /// Empty for a span that lies outside, which only damaged bytes could have.
    fn text(&self, Span(start, end): Span) -> &str {
        self.texts
            .get(start as usize..end as usize)
            .unwrap_or_default()
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
        size_of::<Policy>()
            + self.texts.len()
            + size_of_val(self.tasks.as_slice())
            + size_of_val(self.users.as_slice())
            + self.allowed_models.as_deref().map_or(0, size_of_val)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate<'a>(task: &'a str, model: &'a str) -> Candidate<'a> {
        Candidate {
            task,
            provider: "p",
            model,
            temperature: Some(0.5),
            max_tokens: Some(2048),
        }
    }

    fn policy() -> Policy {
        let user = |user| UserPolicy {
            user,
            egress_mode: None,
            allow_off_mode: Some(true),
        };
        Policy::pack(Fields {
            tasks: vec![
                candidate("chat", "1"),
                candidate("a", "x"),
                candidate("chat", "2"),
            ],
            users: vec![user("z"), user("ä"), user("b")],
            allowed_models: Some(vec!["p/*"]),
            ..Fields::new("p", "m")
        })
    }

    #[test]
    fn candidates_of_one_task_keep_their_order_wherever_they_stood() {
        let policy = policy();
        let found: Vec<_> = policy.candidates("chat").collect();
        assert_eq!(found, [candidate("chat", "1"), candidate("chat", "2")]);
        assert_eq!(policy.candidates("a").count(), 1);
        assert_eq!(policy.candidates("b").count(), 0);
        assert_eq!(policy.candidates("").count(), 0);
    }

    #[test]
    fn users_are_found_by_their_exact_name() {
        let policy = policy();
        for user in ["z", "ä", "b"] {
            assert_eq!(policy.user(user).map(|entry| entry.user), Some(user));
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

    #[test]
    fn damaged_bytes_never_panic() {
        let bytes = policy().to_bytes();
        for at in 1..bytes.len() {
            for damage in [1, 0x40, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= damage;
                if let Some(policy) = Policy::from_bytes(&damaged) {
                    policy
                        .candidates("chat")
                        .for_each(|candidate| assert_eq!(candidate.task, "chat"));
                    policy.user("b");
                    assert!(policy.default_provider().len() <= bytes.len());
                }
            }
        }
    }
}
