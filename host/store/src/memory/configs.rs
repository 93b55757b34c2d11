//! What the table of configs in Postgres refuses, for the origin in memory: what its CHECK
//! (`config_is_sound`) does not know or take. Not for the faults that people are told: the guest has
//! found those before.

use serde::Deserialize;

use crate::WriteError;

/// 2^53 - 1.
const COUNT_MAX: i64 = 9_007_199_254_740_991;

/// The fields that the CHECK knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(dead_code)] // Some are of a type and no more.
struct Fields {
    auto_compact_enabled: Option<bool>,
    compaction_interval_minutes: Option<i64>,
    merge_compression_strategy: Option<String>,
    merge_max_messages: Option<i64>,
    merge_preserve_pinned: Option<bool>,
    path_compression_strategy: Option<String>,
    path_compression_threshold: Option<f64>,
    path_max_messages: Option<i64>,
    path_sliding_window_size: Option<i64>,
}

pub fn check(body: &str) -> Result<(), WriteError> {
    let rejected = |why: String| WriteError::Rejected(why);
    let fields: Fields = serde_json::from_str(body)
        .map_err(|error| rejected(format!("this is no level of config: {error}")))?;
    let counts = [
        fields.compaction_interval_minutes,
        fields.merge_max_messages,
        fields.path_max_messages,
        fields.path_sliding_window_size,
    ];
    if counts
        .iter()
        .flatten()
        .any(|n| !(1..=COUNT_MAX).contains(n))
    {
        return Err(rejected(format!("counts are 1 to {COUNT_MAX}")));
    }
    let threshold = fields.path_compression_threshold;
    if threshold.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Err(rejected("the threshold is 0 to 1".to_owned()));
    }
    let merge = ["none", "minimal", "moderate", "aggressive"];
    let path = ["none", "sliding_window", "semantic", "hybrid"];
    for (strategy, known) in [
        (fields.merge_compression_strategy, merge),
        (fields.path_compression_strategy, path),
    ] {
        if strategy.is_some_and(|strategy| !known.contains(&&*strategy)) {
            return Err(rejected(format!("a strategy is one of {known:?}")));
        }
    }
    Ok(())
}
