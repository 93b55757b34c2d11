//! Checks tokens: the keys that hold now, and what they have found good. Not for where keys come from
//! (`follow`) and not for what a token means (`claims`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::claims::{self, Rules, Span};
use super::denied::Denied;
use super::follow::{Follower, Source};
use super::jwks::JwksError;
use super::key::Key;
use super::keys::Keys;
use super::principal::Principal;
use super::token::{LIMIT, Token};

/// Tokens that need not be checked anew.
const REMEMBERED: usize = 10_000;

/// Where keys come from, and what tokens must say.
#[derive(Default)]
pub struct Configured {
    pub keys: Vec<Key>,
    pub source: Source,
    pub rules: Rules,
}

/// How the set of keys fares that a file or a URL gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeysState {
    Up,
    /// It cannot be used as it is now, the keys from before are; or a URL has given none yet, and
    /// other keys are there.
    Stale,
    /// There is no key yet.
    Down,
}

/// A token that was found good.
#[derive(Clone)]
struct Good {
    principal: Arc<Principal>,
    span: Span,
    /// Of the keys that it was checked by.
    generation: u64,
}

pub struct Verifier {
    rules: Rules,
    keys: ArcSwap<Keys>,
    /// By a hash with a key of this process, so that nobody can choose what collides and no token is kept.
    good: Cache<[u8; 32], Good>,
    hash: [u8; 32],
    state: AtomicU8,
    pub(super) follower: Follower,
}

impl Verifier {
    /// Reads the file, if that is what gives the keys; it must be in order: later on, the keys from before
    /// would do.
    pub fn new(configured: Configured) -> Result<Verifier, JwksError> {
        let Configured {
            keys,
            source,
            rules,
        } = configured;
        let (follower, set) = Follower::new(source)?;
        let state = match follower.is_remote() {
            true => KeysState::Down,
            false => KeysState::Up,
        };
        Ok(Verifier {
            rules,
            keys: ArcSwap::from_pointee(Keys::new(keys, set)),
            good: Cache::new(REMEMBERED),
            hash: rand::random(),
            state: AtomicU8::new(state as u8),
            follower,
        })
    }

    /// Keys that there are.
    pub fn keys(&self) -> usize {
        self.keys.load().len()
    }

    /// `None`: neither a file nor a URL gives keys.
    pub fn state(&self) -> Option<KeysState> {
        let is = self.state.load(Ordering::Relaxed);
        let all = [KeysState::Up, KeysState::Stale, KeysState::Down];
        let state = all.into_iter().find(|state| *state as u8 == is);
        state.filter(|_| self.follower.has_source())
    }

    pub(super) fn set_state(&self, state: KeysState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// These keys of the source hold from now on, and those that left it no more.
    pub(super) fn replace(&self, set: Vec<Key>) -> usize {
        let keys = self.keys.load().with_set(set);
        let number = keys.len();
        self.keys.store(Arc::new(keys));
        self.good.clear();
        number
    }

    pub fn principal(&self, token: &str) -> Result<Arc<Principal>, Denied> {
        let now = now();
        // What is too long is not worth a hash.
        if token.len() > LIMIT {
            return Err(Denied::Invalid("the token is longer than 8 KiB"));
        }
        let name = *blake3::keyed_hash(&self.hash, token.as_bytes()).as_bytes();
        let keys = self.keys.load();
        if let Some(good) = self.good.get(&name)
            && good.generation == keys.generation
        {
            good.span.check(now)?;
            return Ok(good.principal);
        }
        let (principal, span) = self.check(token, &keys, now)?;
        let principal = Arc::new(principal);
        // Should the keys change in between, it bears the generation of the old ones and is of no use.
        let good = Good {
            principal: principal.clone(),
            span,
            generation: keys.generation,
        };
        self.good.insert(name, good);
        Ok(principal)
    }

    fn check(&self, token: &str, keys: &Keys, now: f64) -> Result<(Principal, Span), Denied> {
        let token = Token::read(token)?;
        let keys = keys.find(token.algorithm, token.kid.as_deref());
        // As long as the URL has not answered a token may well be a good one.
        let denied = |denied| match self.follower.is_awaited() {
            true => Denied::Unavailable,
            false => denied,
        };
        let keys = keys.map_err(denied)?;
        let has_signed =
            |key: &&Key| key.has_signed(token.algorithm, token.message, &token.signature);
        if !keys.iter().any(has_signed) {
            return Err(denied(Denied::Invalid("the token's signature is wrong")));
        }
        claims::read(&token.claims()?, &self.rules, now)
    }
}

/// Seconds since 1970. A clock before that finds every token not valid yet, or expired never: none starts.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
