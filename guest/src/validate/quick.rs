//! The short way from a sound record to a policy: in one pass, without a tree. It accepts less than
//! the long way does and explains nothing: whatever it does not take, the long way judges. It must
//! never accept what the long way refuses; the tests hold the two together.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{NUMBER, SURELY_SMALL};
use crate::limits;
use crate::policy::{Candidate, Fields, Policy, UserPolicy};
use crate::words::EgressMode;

/// The policy that a sound text says; `None`: ask the long way.
pub fn decode(text: &str) -> Option<Policy> {
    if text.len() > limits::RECORD {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let record = Object::<Record>::deserialize(&mut reader).ok()?.0;
    reader.end().ok()?;
    let tasks = record.tasks.as_ref().map_or(0, Vec::len);
    let longest = text.len() + tasks * 2 * NUMBER;
    if text.len() > SURELY_SMALL && longest > limits::RECORD {
        return None;
    }
    record.policy()
}

#[derive(Default)]
struct Record<'a> {
    default_provider: Option<Text<'a>>,
    default_model: Option<Text<'a>>,
    allow_remote_egress: Option<bool>,
    egress_mode: Option<EgressMode>,
    allow_off_mode: Option<bool>,
    tasks: Option<Vec<Object<Task<'a>>>>,
    users: Option<Users<'a>>,
    allowed_models: Option<Vec<Text<'a>>>,
}

#[derive(Default)]
struct Task<'a> {
    task: Option<Text<'a>>,
    provider: Option<Text<'a>>,
    model: Option<Text<'a>>,
    temperature: Option<f64>,
    max_tokens: Option<u64>,
}

#[derive(Default)]
struct User {
    egress_mode: Option<EgressMode>,
    allow_off_mode: Option<bool>,
}

struct Users<'a>(Vec<(Text<'a>, User)>);

impl Record<'_> {
    fn policy(&self) -> Option<Policy> {
        let tasks = self.tasks.as_deref().unwrap_or_default();
        let users = self.users.as_ref().map_or(&[][..], |users| &users.0);
        let globs = self.allowed_models.as_ref().map(|globs| globs.iter());
        let fields = Fields {
            allow_remote_egress: self.allow_remote_egress.unwrap_or(true),
            egress_mode: self.egress_mode,
            allow_off_mode: self.allow_off_mode,
            tasks: tasks
                .iter()
                .map(|Object(task)| task.candidate())
                .collect::<Option<_>>()?,
            users: users
                .iter()
                .map(|(name, user)| user.policy(name))
                .collect::<Option<_>>()?,
            allowed_models: match globs {
                Some(globs) => Some(globs.map(Text::glob).collect::<Option<_>>()?),
                None => None,
            },
            ..Fields::new(
                self.default_provider.as_ref()?.id()?,
                self.default_model.as_ref()?.id()?,
            )
        };
        let mut names: Vec<&str> = fields.users.iter().map(|entry| entry.user).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
        (!twice).then(|| Policy::pack(fields))
    }
}

impl Task<'_> {
    fn candidate(&self) -> Option<Candidate<'_>> {
        let temperature = self.temperature.map(f64::abs);
        let sound = self.temperature.is_none_or(limits::temperature_is_valid)
            && self
                .max_tokens
                .is_none_or(|tokens| (1..=limits::MAX_COUNT).contains(&tokens));
        sound.then_some(())?;
        Some(Candidate {
            task: self.task.as_ref()?.id()?,
            provider: self.provider.as_ref()?.id()?,
            model: self.model.as_ref()?.id()?,
            temperature,
            max_tokens: self.max_tokens,
        })
    }
}

impl User {
    fn policy<'a>(&self, name: &'a Text<'_>) -> Option<UserPolicy<'a>> {
        limits::user_fault(&name.0).is_none().then_some(UserPolicy {
            user: &name.0,
            egress_mode: self.egress_mode,
            allow_off_mode: self.allow_off_mode,
        })
    }
}

/// A string, borrowed from the text where it holds no escape.
struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    fn id(&self) -> Option<&str> {
        limits::id_fault(&self.0).is_none().then_some(&*self.0)
    }

    fn glob(&self) -> Option<&str> {
        limits::text_fault(&self.0, limits::GLOB)
            .is_none()
            .then_some(&*self.0)
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(Strings)
    }
}

/// Something of known members. Serde's own derivation would take a list for an object too.
trait Members<'de>: Default {
    /// Reads the value of one member; refuses what is unknown.
    fn member<M: MapAccess<'de>>(&mut self, name: &str, from: &mut M) -> Result<(), M::Error>;
}

struct Object<T>(T);

impl<'de, T: Members<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader<T>(T);
        impl<'de, T: Members<'de>> Visitor<'de> for Reader<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Object<T>, M::Error> {
                while let Some(Text(name)) = map.next_key()? {
                    self.0.member(&name, &mut map)?;
                }
                Ok(Object(self.0))
            }
        }
        from.deserialize_map(Reader(T::default()))
    }
}

impl<'de> Members<'de> for Record<'de> {
    fn member<M: MapAccess<'de>>(&mut self, name: &str, from: &mut M) -> Result<(), M::Error> {
        match name {
            "defaultProvider" => once(&mut self.default_provider, from),
            "defaultModel" => once(&mut self.default_model, from),
            "allowRemoteEgress" => once(&mut self.allow_remote_egress, from),
            "egressMode" => mode(&mut self.egress_mode, from),
            "allowOffMode" => once(&mut self.allow_off_mode, from),
            "tasks" => once(&mut self.tasks, from),
            "userPolicies" => once(&mut self.users, from),
            "allowedModels" => once(&mut self.allowed_models, from),
            _ => refuse(),
        }
    }
}

impl<'de> Members<'de> for Task<'de> {
    fn member<M: MapAccess<'de>>(&mut self, name: &str, from: &mut M) -> Result<(), M::Error> {
        match name {
            "task" => once(&mut self.task, from),
            "provider" => once(&mut self.provider, from),
            "model" => once(&mut self.model, from),
            "temperature" => once(&mut self.temperature, from),
            "maxTokens" => once(&mut self.max_tokens, from),
            _ => refuse(),
        }
    }
}

impl<'de> Members<'de> for User {
    fn member<M: MapAccess<'de>>(&mut self, name: &str, from: &mut M) -> Result<(), M::Error> {
        match name {
            "egressMode" => mode(&mut self.egress_mode, from),
            "allowOffMode" => once(&mut self.allow_off_mode, from),
            _ => refuse(),
        }
    }
}

impl<'de> Deserialize<'de> for Users<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Users<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Users<'de>, M::Error> {
                let mut users = Vec::new();
                while let Some((name, Object(user))) = map.next_entry()? {
                    users.push((name, user));
                }
                Ok(Users(users))
            }
        }
        from.deserialize_map(Entries)
    }
}

/// A member may stand once, and is never null: the types read here take none.
fn once<'de, T: Deserialize<'de>, M: MapAccess<'de>>(
    slot: &mut Option<T>,
    from: &mut M,
) -> Result<(), M::Error> {
    if slot.is_some() {
        return refuse();
    }
    *slot = Some(from.next_value()?);
    Ok(())
}

fn mode<'de, M: MapAccess<'de>>(
    slot: &mut Option<EgressMode>,
    from: &mut M,
) -> Result<(), M::Error> {
    let mut text: Option<Text> = None;
    if slot.is_some() {
        let _: IgnoredAny = from.next_value()?;
        return refuse();
    }
    once(&mut text, from)?;
    *slot = match text.as_ref().map(|text| &*text.0) {
        Some("enforce") => Some(EgressMode::Enforce),
        Some("report-only") => Some(EgressMode::ReportOnly),
        Some("off") => Some(EgressMode::Off),
        _ => return refuse(),
    };
    Ok(())
}

fn refuse<T, E: de::Error>() -> Result<T, E> {
    Err(E::custom("for the long way"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::validate::{decode_at_length, validate};

    const FULL: &str = r#"{"allowOffMode":true,"allowRemoteEgress":false,"allowedModels":["a/*","\u00e4/b"],
        "defaultModel":"m","defaultProvider":"p","egressMode":"report-only",
        "tasks":[{"maxTokens":2048,"model":"m1","provider":"local","task":"chat","temperature":0.3},
                 {"model":"m2","provider":"p\"2","task":"chat"}],
        "userPolicies":{"u1":{},"u2":{"allowOffMode":false,"egressMode":"off"}}}"#;

    #[test]
    fn a_sound_record_goes_the_short_way_and_means_the_same() {
        let canonical = validate(FULL).expect("sound");
        for text in [
            FULL,
            &canonical,
            r#"{"defaultProvider":"p","defaultModel":"m"}"#,
        ] {
            let quick = decode(text).expect("the short way");
            assert_eq!(decode_at_length(text), Ok(quick));
        }
    }

    #[test]
    fn what_serde_would_be_lenient_about_goes_the_long_way() {
        for (from, to) in [
            (r#""u1":{}"#, r#""u1":[]"#),
            (r#""u1":{}"#, r#""u2":{}"#),
            (r#""u1":{}"#, r#""..":{}"#),
            (r#""u1":{}"#, r#""u1":{"x":1}"#),
            (r#""u1":{}"#, r#""u1":null"#),
            (
                r#"{"model":"m2","provider":"p\"2","task":"chat"}"#,
                r#"["chat","p","m"]"#,
            ),
            (r#""temperature":0.3"#, r#""temperature":null"#),
            (r#""temperature":0.3"#, r#""temperature":2.5"#),
            (r#""temperature":0.3"#, r#""temperature":"0.3""#),
            (r#""maxTokens":2048"#, r#""maxTokens":0"#),
            (r#""maxTokens":2048"#, r#""maxTokens":-1"#),
            (r#""maxTokens":2048"#, r#""maxTokens":9007199254740992"#),
            (r#""defaultModel":"m""#, r#""defaultModel":"""#),
            (r#""defaultModel":"m""#, r#""defaultModel":"m\n""#),
            (r#""defaultModel":"m""#, r#""defaultmodel":"m""#),
            (r#""egressMode":"report-only""#, r#""egressMode":"audit""#),
            (
                r#""egressMode":"report-only""#,
                r#""egressMode":"off","egressMode":"off""#,
            ),
            (
                r#""allowOffMode":true"#,
                r#""allowOffMode":true,"allowOffMode":true"#,
            ),
            (r#""allowOffMode":true"#, r#""allowOffMode":null"#),
            (r#""a/*""#, r#""""#),
            (r#""a/*""#, "1"),
        ] {
            let text = FULL.replacen(from, to, 1);
            assert_ne!(text, FULL, "{from} is not there");
            assert!(decode_at_length(&text).is_err(), "{to} is a fault");
            assert_eq!(decode(&text), None, "{to}");
        }
        assert_eq!(decode(&format!("{FULL}x")), None, "trailing text");
        assert_eq!(decode("[]"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn the_short_way_never_accepts_what_the_long_way_does_not(
            at in 0..FULL.len(),
            cut in 0usize..12,
            insert in "[\\[\\]{}\",:a-zA-Z0-9.\\-\\\\ ]{0,4}",
        ) {
            let end = (at + cut).min(FULL.len());
            let text = format!("{}{insert}{}", &FULL[..at], &FULL[end..]);
            if let Some(quick) = decode(&text) {
                prop_assert_eq!(decode_at_length(&text), Ok(quick));
            }
        }
    }
}
