//! What a run explores: which parts of the protocol take part, which faults, and up to which size.

use crate::properties::Promise;
use crate::rules::Rules;

#[derive(Clone, Debug)]
pub struct Config {
    pub name: &'static str,
    pub rules: Rules,
    /// Promises that are checked.
    pub promises: Vec<Promise>,
    /// Begins with both hosts following the log and the first value in every cache, not with two
    /// processes that have just begun.
    pub warm: bool,
    /// Most commits, lost ones included.
    pub commits: u8,
    /// Commits may also be of other subjects.
    pub others: bool,
    /// Commits may also be purges that follow an edit past the triggers.
    pub purges: bool,
    /// Commits are also made by a host, which acknowledges them.
    pub own_writes: bool,
    /// Rows of a window.
    pub window: u8,
    /// Most new rows of one reply of the feed; 4: all.
    pub chunk: u8,
    /// Hosts whose feed is applied in single steps; the others read in one.
    pub feed_steps: [bool; 2],
    /// Hosts with a slow reader.
    pub readers: [bool; 2],
    /// Requests share the slow reader's reply.
    pub joiners: bool,
    /// Requests share replies of far, however old.
    pub shared_far: bool,
    pub restamp: bool,
    /// Near may lose an entry at any time.
    pub evict: bool,
    /// The faults that may happen, and how many in all.
    pub faults: u8,
    pub far_loss: bool,
    pub far_rewind: bool,
    pub crash: bool,
    pub failover: bool,
    pub prune: bool,
}

impl Config {
    /// No fault, two changes of the key, one slow reader on the first host.
    pub fn new(name: &'static str) -> Config {
        Config {
            name,
            rules: Rules::ALL,
            promises: Promise::ALL.to_vec(),
            warm: false,
            commits: 2,
            others: false,
            purges: false,
            own_writes: false,
            window: 4,
            chunk: 4,
            feed_steps: [false; 2],
            readers: [true, false],
            joiners: false,
            shared_far: false,
            restamp: false,
            evict: false,
            faults: 0,
            far_loss: false,
            far_rewind: false,
            crash: false,
            failover: false,
            prune: false,
        }
    }

    /// Whether far has to remember what it held.
    pub fn remembers(&self) -> bool {
        self.far_rewind || self.shared_far
    }
}
