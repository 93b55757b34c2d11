//! The statements of the tables of records, a table for each kind; the columns of configs are the
//! fields of a level. Not for what the fields mean: that is the guest's.

/// The statements of the table of one kind of record. All but the last return `created`, and
/// `kept`: whether what the table says now is what was written.
pub struct Statements {
    pub upsert: &'static str,
    pub insert: &'static str,
    pub update: &'static str,
    pub update_if: &'static str,
    pub delete: &'static str,
    pub delete_if: &'static str,
    pub revision: &'static str,
}

pub const POLICIES: Statements = Statements {
    upsert: "INSERT INTO public.policies AS p (tenant, body) VALUES ($1, $2) \
             ON CONFLICT (tenant) DO UPDATE SET body = excluded.body \
             RETURNING p.xmax = 0 AS created, true AS kept",
    insert: "INSERT INTO public.policies (tenant, body) VALUES ($1, $2) \
             ON CONFLICT (tenant) DO NOTHING RETURNING true AS created, true AS kept",
    update: "UPDATE public.policies SET body = $2 WHERE tenant = $1 \
             RETURNING false AS created, true AS kept",
    update_if: "UPDATE public.policies SET body = $2 WHERE tenant = $1 AND revision = $3 \
                RETURNING false AS created, true AS kept",
    delete: "DELETE FROM public.policies WHERE tenant = $1 RETURNING false AS created, true AS kept",
    delete_if: "DELETE FROM public.policies WHERE tenant = $1 AND revision = $2 \
                RETURNING false AS created, true AS kept",
    revision: "SELECT revision FROM public.policies WHERE tenant = $1",
};

/// The columns of configs that hold fields.
macro_rules! columns {
    () => {
        "auto_compact_enabled, compaction_interval_minutes, merge_compression_strategy, \
         merge_max_messages, merge_preserve_pinned, path_compression_strategy, \
         path_compression_threshold, path_max_messages, path_sliding_window_size"
    };
}

/// The fields of the JSON text `$3`, in the order of the columns; NULL where it has none.
macro_rules! fields {
    () => {
        "SELECT \"autoCompactEnabled\", \"compactionIntervalMinutes\", \"mergeCompressionStrategy\", \
         \"mergeMaxMessages\", \"mergePreservePinned\", \"pathCompressionStrategy\", \
         \"pathCompressionThreshold\", \"pathMaxMessages\", \"pathSlidingWindowSize\" \
         FROM json_to_record($3::text::json) AS f(\"autoCompactEnabled\" boolean, \
         \"compactionIntervalMinutes\" bigint, \"mergeCompressionStrategy\" text, \
         \"mergeMaxMessages\" bigint, \"mergePreservePinned\" boolean, \
         \"pathCompressionStrategy\" text, \"pathCompressionThreshold\" double precision, \
         \"pathMaxMessages\" bigint, \"pathSlidingWindowSize\" bigint)"
    };
}

/// The level of tenant `$1` and user `$2`, NULL where there is none. By plain columns: an index on
/// expressions is not used under row level security.
macro_rules! this_level {
    () => {
        " WHERE ((c.tenant = $1::text AND c.user_id = $2::text) \
         OR (c.tenant = $1::text AND $2::text IS NULL AND c.user_id IS NULL) \
         OR ($1::text IS NULL AND $2::text IS NULL AND c.tenant IS NULL AND c.user_id IS NULL))"
    };
}

macro_rules! insert {
    ($conflict:expr, $created:literal) => {
        concat!(
            "INSERT INTO public.configs AS c (tenant, user_id, ",
            columns!(),
            ") SELECT $1, $2, f.* FROM (",
            fields!(),
            ") f ON CONFLICT (coalesce(tenant, ''), coalesce(user_id, '')) DO ",
            $conflict,
            " RETURNING ",
            $created,
            " AS created, c.body = $3 AS kept"
        )
    };
}

macro_rules! update {
    ($condition:literal) => {
        concat!(
            "UPDATE public.configs AS c SET (",
            columns!(),
            ") = (",
            fields!(),
            ")",
            this_level!(),
            $condition,
            " RETURNING false AS created, c.body = $3 AS kept"
        )
    };
}

macro_rules! delete {
    ($condition:literal) => {
        concat!(
            "DELETE FROM public.configs AS c",
            this_level!(),
            $condition,
            " RETURNING false AS created, true AS kept"
        )
    };
}

pub const CONFIGS: Statements = Statements {
    upsert: insert!(
        concat!("UPDATE SET (", columns!(), ") = (", fields!(), ")"),
        "c.xmax = 0"
    ),
    insert: insert!("NOTHING", "true"),
    update: update!(""),
    update_if: update!(" AND c.revision = $4"),
    delete: delete!(""),
    delete_if: delete!(" AND c.revision = $3"),
    revision: concat!("SELECT c.revision FROM public.configs c", this_level!()),
};

/// Why a level is rejected that the table cannot say as it is: nothing of it may be lost in
/// silence.
pub const NOT_KEPT: &str = "the table of configs cannot keep this level as it is: it has no column for one \
     of the fields, or the text is not canonical";
