//! The near cache: records in this process, bounded by bytes. A mechanism only: what may enter and
//! when it must go is decided in `window.rs`, under its locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quick_cache::{Equivalent, Weighter, sync::Cache};
use rand::Rng;

use super::clock::Moment;
use ordain_store::Record;
use ordain_store::ids::{Key, Tenant};

/// A record, or the fact that there is none, that was valid when it entered and is removed by the
/// first change of its key.
pub struct Entry {
    pub record: Option<Record>,
    /// Position it was read as of.
    pub as_of: u64,
    /// Names this entry in this process (rule D5).
    pub fill: u64,
    /// Bytes that a guest made of the record (rule D2).
    derived: ArcSwapOption<Derived>,
    /// Mark of the component that computed for long at this record, so that it does not begin in
    /// vain again; 0: none.
    heavy: AtomicU64,
    /// It was asked for since somebody last looked (rule A5).
    used: AtomicBool,
    /// As-of of the value that this host knows to be in far, and the `Moment` in nanoseconds at
    /// which it put that there; 0: not known.
    in_far: (AtomicU64, AtomicU64),
}

struct Derived {
    component: Arc<str>,
    bytes: Arc<[u8]>,
}

impl Entry {
    pub fn new(record: Option<Record>, as_of: u64) -> Entry {
        // Starts at 1: 0 means "in no cache". 2^64 fills take longer than the machine lasts.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let fill = NEXT.fetch_add(1, Ordering::Relaxed);
        Entry {
            record,
            as_of,
            fill,
            derived: ArcSwapOption::empty(),
            heavy: AtomicU64::new(0),
            used: AtomicBool::new(false),
            in_far: (AtomicU64::new(as_of), AtomicU64::new(0)),
        }
    }

    /// A value of this entry was put into far, read as of `as_of`.
    pub fn is_in_far(&self, as_of: u64, at: Moment) {
        self.in_far.0.store(as_of, Ordering::Relaxed);
        self.in_far.1.store(at.nanos(), Ordering::Relaxed);
    }

    /// Whether its value in far is older than half a life, or than the middle of the window.
    pub(super) fn past_half(&self, now: Moment, half_life: Duration, middle: u64) -> bool {
        let put = Moment::from_nanos(self.in_far.1.load(Ordering::Relaxed));
        now.since(put) >= half_life || self.in_far.0.load(Ordering::Relaxed) < middle
    }

    /// Whether it was asked for since this was last called.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Bytes that the component of this digest attached; another component sees none.
    pub fn derived(&self, component: &str) -> Arc<[u8]> {
        match &*self.derived.load() {
            Some(derived) if *derived.component == *component => derived.bytes.clone(),
            _ => Arc::default(),
        }
    }

    /// Whether the component of this mark is known to compute for long at it.
    pub fn is_heavy(&self, mark: u64) -> bool {
        self.heavy.load(Ordering::Relaxed) == mark
    }

    pub fn set_heavy(&self, mark: u64, is_heavy: bool) {
        if is_heavy {
            self.heavy.store(mark, Ordering::Relaxed);
        } else if self.is_heavy(mark) {
            self.heavy.store(0, Ordering::Relaxed);
        }
    }

    pub fn attach(&self, component: &Arc<str>, bytes: Arc<[u8]>) {
        self.derived.store(Some(Arc::new(Derived {
            component: component.clone(),
            bytes,
        })));
    }
}

/// A key without owning it, for look-ups that must not allocate.
#[derive(Hash)]
struct KeyRef<'a> {
    tenant: Option<&'a str>,
    subject: &'a str,
}

// `Key` derives Hash over the same fields in the same order, and `Arc<str>` hashes as `str`; the
// test below holds them together.
impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.tenant == key.tenant.as_ref().map(|t| t.as_str()) && self.subject == &*key.subject
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Entry>> for Bytes {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        // Map slot, entry, counters and string headers; measured, not exact. Derived bytes come
        // later and are about half of the text, so the text counts one and a half times; of a large
        // record, which may be made of very short parts, they count as much as they can be.
        const OVERHEAD: usize = 240;
        const LARGE: usize = 16 << 10;
        let body = entry.record.as_ref().map_or(0, |r| r.body.len());
        let derived = if body > LARGE { 2 * body } else { body / 2 };
        let key = key.tenant.as_ref().map_or(0, |t| t.as_str().len()) + key.subject.len();
        (OVERHEAD + key + body + derived) as u64
    }
}

pub struct Near {
    cache: Cache<Key, Arc<Entry>, Bytes>,
}

impl Near {
    pub fn new(bytes: u64) -> Near {
        // The estimate only sizes the first tables; they grow.
        let items = usize::try_from(bytes / 2048)
            .unwrap_or(usize::MAX)
            .clamp(64, 1 << 20);
        Near {
            cache: Cache::with_weighter(items, bytes.max(1), Bytes),
        }
    }

    pub fn get(&self, tenant: Option<&str>, subject: &str) -> Option<Arc<Entry>> {
        let entry = self.cache.get(&KeyRef { tenant, subject })?;
        // Written once in a while only: a line that all threads write would cost all of them.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry)
    }

    /// Shows every entry, in no order; those that come and go meanwhile, or not.
    pub(super) fn each(&self, mut show: impl FnMut(&Key, &Arc<Entry>)) {
        for (key, entry) in self.cache.iter() {
            show(&key, &entry);
        }
    }

    /// Some keys, each as likely as any other.
    pub(super) fn sample(&self, size: usize) -> Vec<Key> {
        let mut seen = 0usize;
        let mut keys = Vec::with_capacity(size);
        self.each(|key, _| {
            seen += 1;
            if keys.len() < size {
                keys.push(key.clone());
                return;
            }
            // Reservoir sampling.
            let at = rand::rng().random_range(0..seen);
            if let Some(place) = keys.get_mut(at) {
                *place = key.clone();
            }
        });
        keys
    }

    pub fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cache.peek(key)
    }

    pub(super) fn insert(&self, key: Key, entry: Arc<Entry>) {
        self.cache.insert(key, entry);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.cache.remove(key);
    }

    /// Removes what a tenant has here and was read as of an earlier position. Looks at every entry.
    pub(super) fn remove_tenant(&self, tenant: &Tenant, before: u64) {
        self.cache
            .retain(|key, entry| key.tenant.as_ref() != Some(tenant) || entry.as_of >= before);
    }

    pub(super) fn clear(&self) {
        self.cache.clear();
    }

    pub fn entries(&self) -> usize {
        self.cache.len()
    }

    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    fn key(name: &str) -> Key {
        Key::policy(&Tenant::new(name).expect("a valid id"))
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_asked_for_while_others_pass_through() {
        let near = Near::new(1 << 20);
        let body: Arc<str> = "x".repeat(600).into();
        let fill = |name: &str| {
            let record = Record {
                body: body.clone(),
                revision: 1,
            };
            near.insert(key(name), Arc::new(Entry::new(Some(record), 1)));
        };
        let hot: Vec<String> = (0..200).map(|n| format!("hot-{n}")).collect();
        hot.iter().for_each(|name| fill(name));
        let mut kept = 0;
        for n in 0..20_000 {
            if near.get(Some(&hot[n % hot.len()]), "policy").is_some() {
                kept += 1;
            } else {
                fill(&hot[n % hot.len()]);
            }
            fill(&format!("cold-{n}"));
            assert!(near.bytes() <= 1 << 20, "{} bytes", near.bytes());
        }
        assert!(
            kept >= 19_000,
            "only {kept} of 20000 look-ups of hot records were hits"
        );
    }

    #[test]
    fn a_borrowed_key_hashes_like_the_owned_one() {
        let state = RandomState::new();
        for tenant in [None, Some("a"), Some("default"), Some("ä/%")] {
            let key = Key {
                tenant: tenant.map(|t| Tenant::new(t).expect("a valid id")),
                subject: "policy".into(),
            };
            let borrowed = KeyRef {
                tenant,
                subject: "policy",
            };
            assert_eq!(state.hash_one(&key), state.hash_one(&borrowed));
            assert!(borrowed.equivalent(&key));
        }
    }
}
