//! Checks tokens: the keys that hold now, what they have found good, and the file that they come from,
//! which is looked at once a second. Not for what a token means (`claims`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use super::Denied;
use super::claims::{self, Rules, Span};
use super::jwks::{Content, JwksError};
use super::key::Key;
use super::keys::Keys;
use super::principal::Principal;
use super::token::{LIMIT, Token};

/// Pause between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// Tokens that need not be checked anew.
const REMEMBERED: usize = 10_000;

/// Where keys come from, and what tokens must say.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    pub keys: Vec<Key>,
    pub file: Option<PathBuf>,
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
    file: Option<PathBuf>,
    keys: ArcSwap<Keys>,
    /// By a hash with a key of this process, so that nobody can choose what collides and no token is kept.
    good: Cache<[u8; 32], Good>,
    hash: [u8; 32],
    /// Digest of the file as it was last looked at; `None`: it could not be read.
    seen: Mutex<Option<[u8; 32]>>,
    current: AtomicBool,
    /// Somebody asks to look at the file now.
    asked: Arc<Notify>,
}

impl Verifier {
    /// Reads the file, which must be in order: later on, the keys from before would do.
    pub fn new(configured: Configured) -> Result<Verifier, JwksError> {
        let Configured { keys, file, rules } = configured;
        let content = file.as_deref().map(Content::read).transpose()?;
        let from_file = content.as_ref().map(Content::keys).transpose()?;
        Ok(Verifier {
            rules,
            file,
            keys: ArcSwap::from_pointee(Keys::new(keys, from_file, 0)),
            good: Cache::new(REMEMBERED),
            hash: rand::random(),
            seen: Mutex::new(content.map(|content| content.digest())),
            current: AtomicBool::new(true),
            asked: Arc::default(),
        })
    }

    /// Keys that there are.
    pub fn keys(&self) -> usize {
        self.keys.load().len()
    }

    /// Whether the file can be used as it is now; `None`: there is none.
    pub fn is_current(&self) -> Option<bool> {
        let current = self.current.load(Ordering::Relaxed);
        self.file.as_ref().map(|_| current)
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
        let (principal, span) = check(token, &keys, &self.rules, now)?;
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

    /// Keys are looked at now, not when it is time again.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Follows the file until nobody uses this any more.
    pub fn follow(self: &Arc<Verifier>) {
        if self.file.is_none() {
            return;
        }
        let (verifier, asked) = (Arc::downgrade(self), self.asked.clone());
        tokio::spawn(async move {
            loop {
                // An error means that nobody asked, and it is time anyway.
                let _ = tokio::time::timeout(LOOK, asked.notified()).await;
                let Some(verifier) = verifier.upgrade() else {
                    return;
                };
                // It waits for a disk. An error means that the process ends.
                let _ = tokio::task::spawn_blocking(move || verifier.look()).await;
            }
        });
    }

    /// Looks at the file; if it has changed, its keys hold from now on, and those that left it no more. It is
    /// read as a whole: keys are small, and times and sizes of files can be the same after a change.
    pub(super) fn look(&self) {
        let Some(path) = &self.file else { return };
        let content = Content::read(path);
        let digest = content.as_ref().ok().map(Content::digest);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let was_read = seen.is_some();
        if *seen == digest && digest.is_some() {
            return;
        }
        *seen = digest;
        match content.and_then(|content| content.keys()) {
            Ok(file) => {
                let keys = self.keys.load().with_file(file);
                tracing::info!(
                    keys = keys.len(),
                    "ORDAIN_JWKS_FILE has changed: its keys hold now"
                );
                if keys.len() == 0 {
                    tracing::warn!("there is no key left: every token is refused");
                }
                self.keys.store(Arc::new(keys));
                self.good.clear();
                self.current.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                self.current.store(false, Ordering::Relaxed);
                // Once for each content, once for as long as it cannot be read.
                if digest.is_some() || was_read {
                    let path = path.display();
                    tracing::error!(
                        "ORDAIN_JWKS_FILE: {path} {error}; the keys from before stay in force"
                    );
                }
            }
        }
    }
}

fn check(token: &str, keys: &Keys, rules: &Rules, now: f64) -> Result<(Principal, Span), Denied> {
    let token = Token::read(token)?;
    let key = keys.find(token.algorithm, token.kid.as_deref())?;
    if !key.has_signed(token.message, &token.signature) {
        return Err(Denied::Invalid("the token's signature is wrong"));
    }
    claims::read(&token.claims()?, rules, now)
}

/// Seconds since 1970. A clock before that finds every token not valid yet, or expired never: none starts.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
