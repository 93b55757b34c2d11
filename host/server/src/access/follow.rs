//! Follows the file or the URL that keys come from: a file is looked at once a second, a URL is
//! asked on a period, after a failure sooner and then less and less often, and when a token names a
//! key that nobody knows. Whatever fails leaves the keys as they are. Not for what is done with
//! keys (`verifier`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::jwks::{JwksError, Place, Set};
use super::key::Key;
use super::keyfile::Content;
use super::keyring::{Keyring, KeysState};
use super::keys::Keys;
use super::remote::Remote;
use ordain_store::supervise::{TaskStatus, Tasks};

/// Pause between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// Pauses after failures of the URL, the first and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// At most so often do tokens make the URL be asked, whatever keys they name.
const UNKNOWN: Duration = Duration::from_secs(30);
/// So long a request whose token names an unknown key waits for what the URL answers.
const WAIT: Duration = Duration::from_secs(1);

/// What gives keys beside those of the configuration.
#[derive(Default)]
pub enum Source {
    #[default]
    None,
    File(PathBuf),
    Url {
        remote: Remote,
        /// Pause between two looks.
        every: Duration,
        /// Counts until the URL has answered for the first time.
        fallback: Option<PathBuf>,
    },
}

const FILE: &str = "ORDAIN_JWKS_FILE";

/// A digest of what was seen last; `None`: it could not be read.
type Seen = Mutex<Option<[u8; 32]>>;

pub struct Follower {
    source: Source,
    pub keyring: Keyring,
    file: Seen,
    url: Seen,
    /// Whether the URL has ever given keys.
    answered: AtomicBool,
    /// What was told last about the URL; empty: it is in order.
    told: Mutex<String>,
    /// Somebody wants the source looked at now.
    asked: Arc<Notify>,
    /// A token has asked for the URL to be looked at, which has not been done yet.
    pending: watch::Sender<bool>,
    /// When one did.
    unknown: Mutex<Option<Instant>>,
    tasks: Tasks,
}

impl Follower {
    /// Reads the file, if that is what gives the keys; it must be in order: later on, the keys from
    /// before would do. `configured` are keys that stay whatever the source gives.
    pub fn new(source: Source, configured: Vec<Key>) -> Result<Follower, JwksError> {
        // What stands in for a URL has been looked at by nobody: that it is missing must be told.
        const NOTHING: [u8; 32] = [0; 32];
        let (set, seen) = match &source {
            Source::File(path) => {
                let content = Content::read(path)?;
                let set = content.set()?;
                set.left_out.warn(FILE);
                (Some(set.keys), Some(content.digest()))
            }
            _ => (None, Some(NOTHING)),
        };
        let state = match &source {
            Source::Url { .. } => KeysState::Down,
            Source::None | Source::File(_) => KeysState::Up,
        };
        Ok(Follower {
            source,
            keyring: Keyring::new(Keys::new(configured, set), state),
            file: Mutex::new(seen),
            url: Mutex::new(None),
            answered: AtomicBool::new(false),
            told: Mutex::new(String::new()),
            asked: Arc::new(Notify::new()),
            pending: watch::Sender::new(false),
            unknown: Mutex::new(None),
            tasks: Tasks::default(),
        })
    }

    pub fn has_source(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    fn is_remote(&self) -> bool {
        matches!(self.source, Source::Url { .. })
    }

    /// Whether keys are still to come.
    pub fn is_awaited(&self) -> bool {
        self.is_remote() && !self.answered.load(Ordering::Relaxed)
    }

    fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::None => None,
            Source::File(path) => Some(path),
            Source::Url { fallback, .. } => fallback.as_deref(),
        }
    }

    /// Whether the URL is, or has just been, asked because of a token: whatever tokens name, at
    /// most one look in half a minute is for them.
    fn ask_for_unknown(&self) -> bool {
        if *self.pending.borrow() {
            return true;
        }
        let mut last = held(&self.unknown);
        if !self.is_remote() || last.is_some_and(|last| last.elapsed() < UNKNOWN) {
            return false;
        }
        *last = Some(Instant::now());
        self.pending.send_replace(true);
        self.asked.notify_one();
        true
    }

    /// Has the file or the URL looked at now, as whoever has changed it and says so may expect.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// After a token has named a key that was not known to those of the generation `tried`: whether
    /// the keys may be others by now. Waits for the URL if it may be asked, and for whoever is
    /// asking it already.
    pub async fn refresh(&self, tried: u64) -> bool {
        // A look for another token may have ended since.
        if self.keyring.keys().generation != tried {
            return true;
        }
        if !self.ask_for_unknown() {
            return false;
        }
        let mut pending = self.pending.subscribe();
        let done = timeout(WAIT, pending.wait_for(|pending| !pending)).await;
        done.is_ok()
    }

    /// Follows the source until nobody uses this any more. The URL is asked at once.
    pub fn follow(self: &Arc<Follower>) {
        let follower = Arc::downgrade(self);
        let (asked, tasks) = (self.asked.clone(), &self.tasks);
        match self.source {
            Source::None => {}
            Source::File(_) => {
                let work = move |_| follow_file(follower.clone(), asked.clone());
                drop(tasks.spawn("keys", work));
            }
            Source::Url { .. } => {
                let work = move |_| follow_url(follower.clone(), asked.clone());
                drop(tasks.spawn("keys", work));
            }
        }
    }

    /// What works in the background for it.
    pub fn tasks(&self) -> Vec<TaskStatus> {
        self.tasks.status()
    }

    /// Looks at the file; if it has changed, its keys hold from now on, and those that left it no
    /// more. It is read as a whole: keys are small, and times and sizes of files can be the same
    /// after a change.
    pub(super) fn look_at_file(&self) {
        let Some(path) = self.path() else {
            return;
        };
        let content = Content::read(path);
        let digest = content.as_ref().ok().map(Content::digest);
        let mut seen = held(&self.file);
        let was_read = seen.is_some();
        if *seen == digest && digest.is_some() {
            return;
        }
        *seen = digest;
        match content.and_then(|content| content.set()) {
            Ok(set) => {
                set.left_out.warn(FILE);
                let keys = self.keyring.replace(set.keys);
                tracing::info!(keys, "{FILE} is new or has changed: its keys hold now");
                self.file_is(KeysState::Up);
            }
            Err(error) => {
                // Once for each content, once for as long as it cannot be read.
                if digest.is_some() || was_read {
                    let path = path.display();
                    tracing::error!("{FILE}: {path} {error}; the keys from before stay in force");
                }
                self.file_is(KeysState::Stale);
            }
        }
    }

    /// A file that stands in for a URL says nothing about how that fares.
    fn file_is(&self, state: KeysState) {
        if !self.is_remote() {
            self.keyring.set_state(state);
        }
    }

    /// Asks the URL, and if what it answers has changed, its keys hold from now on. Whether it
    /// could be used.
    async fn look_at_url(&self) -> bool {
        let Source::Url { remote, .. } = &self.source else {
            return true;
        };
        let outcome = match remote.fetch().await {
            Ok(text) => self.take(&text, remote.address.variable()),
            Err(why) => Err(why),
        };
        let what = format!("{}: {}", remote.address.variable(), remote.address.shown());
        let mut told = held(&self.told);
        let Err(why) = outcome else {
            if !told.is_empty() {
                tracing::info!("{what} is in order again");
                told.clear();
            }
            self.keyring.set_state(KeysState::Up);
            return true;
        };
        let is_awaited = self.is_awaited();
        if is_awaited {
            self.look_at_file();
        }
        let (state, so) = match (self.keyring.keys().len(), is_awaited) {
            (0, _) => (KeysState::Down, "until it does, no token can be checked"),
            (_, true) => (KeysState::Stale, "until it does, other keys count"),
            (_, false) => (KeysState::Stale, "the keys from before stay in force"),
        };
        self.keyring.set_state(state);
        if *told != why {
            tracing::error!("{what} gives no keys: {why}; {so}");
            *told = why;
        }
        false
    }

    /// What the URL has answered. Something that it has answered before changes nothing.
    fn take(&self, text: &[u8], from: &str) -> Result<(), String> {
        let digest = *blake3::hash(text).as_bytes();
        let mut seen = held(&self.url);
        if *seen == Some(digest) {
            return Ok(());
        }
        let set =
            Set::read(text, Place::Url).map_err(|error| format!("what it answers {error}"))?;
        *seen = Some(digest);
        set.left_out.warn(from);
        let keys = self.keyring.replace(set.keys);
        self.answered.store(true, Ordering::Relaxed);
        tracing::info!(keys, "{from} has other keys: they hold now");
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow_file(follower: Weak<Follower>, asked: Arc<Notify>) {
    loop {
        // However it ends, the file is looked at.
        let _ = timeout(LOOK, asked.notified()).await;
        let Some(follower) = follower.upgrade() else {
            return;
        };
        // It waits for a disk. An error means that the process ends.
        let _ = tokio::task::spawn_blocking(move || follower.look_at_file()).await;
    }
}

async fn follow_url(follower: Weak<Follower>, asked: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let Some(follower) = follower.upgrade() else {
            return;
        };
        let Source::Url { every, .. } = follower.source else {
            return;
        };
        let is_for_token = *follower.pending.borrow();
        let pause = match follower.look_at_url().await {
            true => {
                failures = 0;
                every
            }
            false => {
                failures += 1;
                retry(failures)
            }
        };
        if is_for_token {
            follower.pending.send_replace(false);
        }
        // Nobody is kept alive by the wait.
        drop(follower);
        let _ = timeout(pause, asked.notified()).await;
    }
}

/// The pause after so many failures in a row: instances that failed together do not come back
/// together.
fn retry(failures: u32) -> Duration {
    let (first, longest) = RETRY;
    let pause = first
        .saturating_mul(1 << (failures - 1).min(10))
        .min(longest);
    pause.mul_f64(rand::random_range(0.75..=1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_failures_grow_to_a_bound() {
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (u32::MAX, 30.0)] {
            let pause = retry(failures).as_secs_f64() / seconds;
            assert!((0.75..=1.25).contains(&pause), "{failures}: {pause}");
        }
    }

    /// Answers every connection with an empty object, and counts them.
    async fn counting() -> (String, watch::Receiver<usize>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = listener.await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let (counter, counted) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer).await;
                counter.send_modify(|count| *count += 1);
            }
        });
        (url, counted)
    }

    async fn counts(counted: &mut watch::Receiver<usize>, expected: usize) {
        let reached = counted.wait_for(|count| *count >= expected);
        let reached = timeout(Duration::from_secs(20), reached).await;
        reached.expect("in time").expect("it goes on");
    }

    #[tokio::test]
    async fn whoever_asks_for_a_look_gets_one_at_once_and_tokens_get_one_in_half_a_minute() {
        let (url, mut counted) = counting().await;
        let address = super::super::Address::keys(&url).expect("an address");
        let source = Source::Url {
            remote: Remote::new(address).expect("a client"),
            every: Duration::from_secs(3600),
            fallback: None,
        };
        let follower = Arc::new(Follower::new(source, Vec::new()).expect("no file"));
        assert_eq!(follower.keyring.state(), KeysState::Down);
        follower.follow();
        counts(&mut counted, 1).await;
        let start = Instant::now();
        for expected in 2..6 {
            follower.reload();
            counts(&mut counted, expected).await;
        }
        // No pause was waited for: together they would be 15 s.
        assert!(start.elapsed() < Duration::from_secs(10));
        let asked: Vec<bool> =
            futures::future::join_all((0..50).map(|_| follower.refresh(0))).await;
        assert!(asked.iter().all(|asked| *asked), "they wait for the same");
        for _ in 0..50 {
            assert!(!follower.refresh(0).await);
        }
        // Whoever has tried older keys may try again, and waits for nothing.
        assert!(follower.refresh(1).await);
    }
}
