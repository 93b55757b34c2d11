//! Makes another component the one that answers on this instance. Not for which one that is
//! (`follow`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::state::Components;
use crate::runtime::{Generation, Lineup, Runtime, Watch};

impl Components {
    /// Makes a generation the one that answers. `watched`: with the one that was good so far at
    /// hand; that is the one that answers now, or the one behind it if that is watched itself, or,
    /// where the lineup has none, `previous`.
    pub(super) fn swap(
        &self,
        runtime: &Runtime,
        generation: Arc<Generation>,
        watched: bool,
        previous: Option<Arc<Generation>>,
    ) {
        loop {
            let before = runtime.lineup();
            if before.current.digest() == generation.digest() {
                // What is known of it so far stays so.
                return;
            }
            let in_lineup = [before.watching().cloned(), Some(before.current.clone())];
            let first = previous.clone().filter(|_| !runtime.is_open());
            let candidates = [first]
                .into_iter()
                .chain(in_lineup)
                .chain([previous.clone()]);
            let good = candidates
                .flatten()
                .find(|good| watched && good.digest() != generation.digest());
            let shadow = before.shadow.clone();
            let lineup = Lineup {
                current: generation.clone(),
                watch: Arc::new(match good {
                    Some(_) => Watch::new(self.options.watch, self.options.faults),
                    None => Watch::over(),
                }),
                good: good.clone(),
                shadow: shadow.filter(|s| s.candidate().digest() != generation.digest()),
            };
            generation.enlist();
            if let Some(good) = &good {
                good.enlist();
            }
            if !runtime.swap(&before, lineup) {
                // It has just returned by itself.
                continue;
            }
            self.swaps.fetch_add(1, Ordering::Relaxed);
            self.state().since = SystemTime::now();
            let is_asked = |old: &&Arc<Generation>| {
                let new = [Some(&generation), good.as_ref()];
                new.into_iter()
                    .flatten()
                    .any(|new| new.digest() == old.digest())
            };
            let old = [Some(&before.current), before.good.as_ref()];
            let old = old.into_iter().flatten();
            old.filter(|old| !is_asked(old))
                .for_each(|old| old.retire());
            let (from, to) = (&**before.current.digest(), &**generation.digest());
            tracing::warn!(from, to, "another component answers now");
            return;
        }
    }
}
