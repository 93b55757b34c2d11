//! The statements of the tables of records, a table for each kind. Not for what a record says: that
//! is the guest's.

/// The statements of the table of one kind of record. All but the last return `created`.
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
    upsert: "INSERT INTO {schema}.policies AS p (tenant, body) VALUES ($1, $2) \
             ON CONFLICT (tenant) DO UPDATE SET body = excluded.body \
             RETURNING p.xmax = 0 AS created",
    insert: "INSERT INTO {schema}.policies (tenant, body) VALUES ($1, $2) \
             ON CONFLICT (tenant) DO NOTHING RETURNING true AS created",
    update: "UPDATE {schema}.policies SET body = $2 WHERE tenant = $1 \
             RETURNING false AS created",
    update_if: "UPDATE {schema}.policies SET body = $2 WHERE tenant = $1 AND revision = $3 \
                RETURNING false AS created",
    delete: "DELETE FROM {schema}.policies WHERE tenant = $1 RETURNING false AS created",
    delete_if: "DELETE FROM {schema}.policies WHERE tenant = $1 AND revision = $2 \
                RETURNING false AS created",
    revision: "SELECT revision FROM {schema}.policies WHERE tenant = $1",
};

/// The level of tenant `$1` and user `$2`.
macro_rules! this_level {
    () => {
        " WHERE ((c.tenant = $1::text AND c.user_id = $2::text) \
         OR (c.tenant = $1::text AND $2::text IS NULL AND c.user_id IS NULL) \
         OR ($1::text IS NULL AND $2::text IS NULL AND c.tenant IS NULL AND c.user_id IS NULL))"
    };
}

/// A level has a tenant and a user, NULL where there is none; each of its rows is found by plain
/// columns: an index on expressions is not used under row level security.
pub const CONFIGS: Statements = Statements {
    upsert: "INSERT INTO {schema}.configs AS c (tenant, user_id, body) VALUES ($1, $2, $3) \
             ON CONFLICT (coalesce(tenant, ''), coalesce(user_id, '')) \
             DO UPDATE SET body = excluded.body RETURNING c.xmax = 0 AS created",
    insert: "INSERT INTO {schema}.configs (tenant, user_id, body) VALUES ($1, $2, $3) \
             ON CONFLICT (coalesce(tenant, ''), coalesce(user_id, '')) \
             DO NOTHING RETURNING true AS created",
    update: concat!(
        "UPDATE {schema}.configs AS c SET body = $3",
        this_level!(),
        " RETURNING false AS created"
    ),
    update_if: concat!(
        "UPDATE {schema}.configs AS c SET body = $3",
        this_level!(),
        " AND c.revision = $4 RETURNING false AS created"
    ),
    delete: concat!(
        "DELETE FROM {schema}.configs AS c",
        this_level!(),
        " RETURNING false AS created"
    ),
    delete_if: concat!(
        "DELETE FROM {schema}.configs AS c",
        this_level!(),
        " AND c.revision = $3 RETURNING false AS created"
    ),
    revision: concat!("SELECT c.revision FROM {schema}.configs c", this_level!()),
};
