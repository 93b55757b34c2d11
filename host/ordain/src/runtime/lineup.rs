//! Which generation answers, and which others stand beside it: the one before, while the new one is
//! watched, and a candidate that answers in the shadow. One lineup is replaced by another in one
//! atomic store; calls under way end on the one that they began with. Not for who decides that
//! (`door/components`).

use std::sync::Arc;

use super::generation::Generation;
use super::shadow::Shadow;
use super::watch::{Watch, WatchStatus};

pub struct Lineup {
    pub current: Arc<Generation>,
    /// Answers what `current` fails at while that is watched, and returns when it fails too often.
    pub good: Option<Arc<Generation>>,
    pub watch: Arc<Watch>,
    pub shadow: Option<Arc<Shadow>>,
}

impl Lineup {
    /// One generation and nothing beside it.
    pub fn alone(current: Arc<Generation>) -> Lineup {
        Lineup {
            current,
            good: None,
            watch: Arc::new(Watch::over()),
            shadow: None,
        }
    }

    /// The generation that was good before, as long as the new one is watched.
    pub fn watching(&self) -> Option<&Arc<Generation>> {
        let good = self.good.as_ref()?;
        (!self.watch.is_over()).then_some(good)
    }

    /// `None`: nothing is watched.
    pub fn watch_status(&self) -> Option<WatchStatus> {
        self.watching()?;
        Some(self.watch.status())
    }
}
