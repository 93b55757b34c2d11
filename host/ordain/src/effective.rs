//! The config that holds for a tenant or a user (DESIGN 4.5), as a value and as JSON. Not how it is
//! merged: that is the guest's. Not the configuration of the program either: the server has that.

use serde::Serialize;

use crate::answer::Provenance;

/// How much is left out when branches are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeStrategy {
    None,
    Minimal,
    Moderate,
    Aggressive,
}

/// How a path that has become long is shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathStrategy {
    None,
    SlidingWindow,
    Semantic,
    Hybrid,
}

/// Every field with the value that holds. Counts are at least 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    pub merge_compression_strategy: MergeStrategy,
    pub merge_max_messages: u64,
    pub merge_preserve_pinned: bool,
    pub path_compression_strategy: PathStrategy,
    pub path_max_messages: u64,
    /// Messages.
    pub path_sliding_window_size: u64,
    /// 0 to 1.
    pub path_compression_threshold: f64,
    pub auto_compact_enabled: bool,
    pub compaction_interval_minutes: u64,
}

/// Which level set a field, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SetBy {
    Default,
    Global,
    Tenant,
    User,
}

/// The level of every field of [`Config`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Levels {
    pub merge_compression_strategy: SetBy,
    pub merge_max_messages: SetBy,
    pub merge_preserve_pinned: SetBy,
    pub path_compression_strategy: SetBy,
    pub path_max_messages: SetBy,
    pub path_sliding_window_size: SetBy,
    pub path_compression_threshold: SetBy,
    pub auto_compact_enabled: SetBy,
    pub compaction_interval_minutes: SetBy,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectiveConfig {
    pub config: Config,
    pub levels: Levels,
    /// Its revision is the highest of the levels that there are; `None`: there is none.
    pub provenance: Provenance,
}
