//! Checks tokens by the keys that hold now, and remembers what was found good. Not for where keys
//! come from (`follow`) and not for what a token means (`claims`).

use std::sync::Arc;
use std::time::SystemTime;

use quick_cache::sync::Cache;

use super::claims::{self, Rules, Span};
use super::denied::Denied;
use super::follow::{Follower, Source};
use super::jwks::JwksError;
use super::key::Key;
use super::keyring::KeysState;
use super::keys::Keys;
use super::principal::Principal;
use super::token::{LIMIT, Token};
use ordain_store::supervise::TaskStatus;

/// Tokens that need not be checked anew.
const REMEMBERED: usize = 10_000;

/// Where keys come from, and what tokens must say.
#[derive(Default)]
pub struct Configured {
    pub keys: Vec<Key>,
    pub source: Source,
    pub rules: Rules,
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
    /// By a hash with a key of this process, so that nobody can choose what collides and no token
    /// is kept.
    good: Cache<[u8; 32], Good>,
    hash: [u8; 32],
    pub(super) follower: Arc<Follower>,
}

impl Verifier {
    /// Reads the file, if that is what gives the keys; it must be in order: later on, the keys from
    /// before would do.
    pub fn new(configured: Configured) -> Result<Verifier, JwksError> {
        let Configured {
            keys,
            source,
            rules,
        } = configured;
        Ok(Verifier {
            rules,
            good: Cache::new(REMEMBERED),
            hash: rand::random(),
            follower: Follower::new(source, keys)?.into(),
        })
    }

    /// Follows the source of the keys for as long as anybody uses this.
    pub fn follow(&self) {
        self.follower.follow();
    }

    /// Has the file or the URL looked at now, as whoever has changed it and says so may expect.
    pub fn reload(&self) {
        self.follower.reload();
    }

    /// After a token has named a key that was not known to those of the generation `tried`: whether
    /// the keys may be others by now.
    pub async fn refresh(&self, tried: u64) -> bool {
        self.follower.refresh(tried).await
    }

    /// What works in the background for it.
    pub fn tasks(&self) -> Vec<TaskStatus> {
        self.follower.tasks()
    }

    /// Keys that there are.
    pub fn keys(&self) -> usize {
        self.follower.keyring.keys().len()
    }

    /// `None`: neither a file nor a URL gives keys.
    pub fn state(&self) -> Option<KeysState> {
        let has_source = self.follower.has_source();
        has_source.then(|| self.follower.keyring.state())
    }

    pub fn principal(&self, token: &str) -> Result<Arc<Principal>, Denied> {
        let now = now();
        // What is too long is not worth a hash.
        if token.len() > LIMIT {
            return Err(Denied::Invalid("the token is longer than 8 KiB"));
        }
        let name = *blake3::keyed_hash(&self.hash, token.as_bytes()).as_bytes();
        let keys = self.follower.keyring.keys();
        if let Some(good) = self.good.get(&name)
            && good.generation == keys.generation
        {
            good.span.check(now)?;
            return Ok(good.principal);
        }
        let (principal, span) = self.check(token, &keys, now)?;
        let principal = Arc::new(principal);
        // Should the keys change in between, it bears the generation of the old ones and is of no
        // use.
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

/// Seconds since 1970. A clock before that finds every token not valid yet, or expired never: none
/// starts.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
