//! Writes of records, one or many, each a transaction (`transaction.rs`). Not for the statements of
//! each kind (`table.rs`).

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row;

use super::Postgres;
use super::rows::number;
use super::table::{CONFIGS, POLICIES};
use super::work::{Stop, Terms, Transaction, Work};
use crate::ids::{Key, RecordName, Tenant};
use crate::{Attribution, Change, NAMELESS, Precondition, WriteError, Written, WrittenMany};

/// What is stored as it is given is left alone: an import that is run again changes nothing twice.
const UPSERT_MANY: &str = "INSERT INTO {schema}.policies (tenant, body) \
     SELECT tenant, body FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k(tenant, body, n) \
     WHERE NOT EXISTS (SELECT FROM {schema}.policies p WHERE p.tenant = k.tenant AND p.body = k.body) \
     ORDER BY n ON CONFLICT (tenant) DO UPDATE SET body = excluded.body";
const NEWEST: &str = "SELECT coalesce(max(position), 0) AS position FROM {schema}.log";

impl Postgres {
    pub(super) async fn write_one(
        &self,
        key: &Key,
        change: &Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        let terms = Terms {
            tenant: key.tenant.as_ref(),
            by,
            deadline: self.deadline,
        };
        let work = ChangeOne {
            key,
            change,
            precondition,
        };
        let committed = self.transaction(terms, &work).await?;
        Ok(Written {
            revision: committed.revision,
            created: committed.done,
        })
    }

    pub(super) async fn write_many(
        &self,
        policies: &[(Tenant, Arc<str>)],
        by: &Attribution,
    ) -> Result<WrittenMany, WriteError> {
        let terms = Terms {
            tenant: None,
            by,
            // A chunk of an import is many writes in one; nobody answers a request from it.
            deadline: self.deadline * 4,
        };
        let committed = self.transaction(terms, &PutMany { policies }).await?;
        Ok(committed.done)
    }
}

struct ChangeOne<'a> {
    key: &'a Key,
    change: &'a Change,
    precondition: Precondition,
}

impl Work for ChangeOne<'_> {
    /// Whether there was no record before.
    type Done = bool;

    async fn run(&self, transaction: &mut Transaction<'_>) -> Result<bool, Stop> {
        // What is no position matches no revision.
        let at = |revision: u64| i64::try_from(revision).unwrap_or(-1);
        let (statements, user) = match self.key.record() {
            Some(RecordName::Policy) => (&POLICIES, None),
            Some(RecordName::Config(user)) => (&CONFIGS, Some(user)),
            None => {
                let rejected = WriteError::Rejected(NAMELESS.to_owned());
                return Err(transaction.roll_back(rejected).await);
            }
        };
        // Every statement begins with what names the record: the tenant, and of a config the user.
        let tenant = self.key.tenant.as_ref().map(Tenant::as_str);
        let schema = transaction.schema;
        let named = |statement: &'static str| {
            let query = schema.query(statement).bind(tenant);
            match user {
                Some(user) => query.bind(user),
                None => query,
            }
        };
        let query = match (self.change, self.precondition) {
            (Change::Put(body), Precondition::None) => Some(named(statements.upsert).bind(&**body)),
            (Change::Put(body), Precondition::Absent) => {
                Some(named(statements.insert).bind(&**body))
            }
            (Change::Put(body), Precondition::Present) => {
                Some(named(statements.update).bind(&**body))
            }
            (Change::Put(body), Precondition::Revision(revision)) => {
                let query = named(statements.update_if).bind(&**body);
                Some(query.bind(at(revision)))
            }
            (Change::Delete, Precondition::None | Precondition::Present) => {
                Some(named(statements.delete))
            }
            (Change::Delete, Precondition::Revision(revision)) => {
                Some(named(statements.delete_if).bind(at(revision)))
            }
            // There is nothing that this could delete.
            (Change::Delete, Precondition::Absent) => None,
        };
        if let Some(query) = query
            && let Some(row) = transaction.fetch(query).await?.first()
        {
            return Ok(row.try_get("created")?);
        }

        // No row: say what is there instead, still under the lock, and roll back.
        let stored = transaction.fetch(named(statements.revision)).await?;
        let current = stored.first().map(|row| number(row, "revision"));
        let error = match (self.change, self.precondition, current.transpose()?) {
            (Change::Delete, Precondition::None | Precondition::Absent, None) => WriteError::Absent,
            (_, _, current) => WriteError::Precondition { current },
        };
        Err(transaction.roll_back(error).await)
    }
}

struct PutMany<'a> {
    policies: &'a [(Tenant, Arc<str>)],
}

impl Work for PutMany<'_> {
    type Done = WrittenMany;

    /// One statement cannot upsert the same row twice: it ends where a tenant comes again.
    async fn run(&self, transaction: &mut Transaction<'_>) -> Result<WrittenMany, Stop> {
        let (mut rest, mut written) = (self.policies, 0);
        while !rest.is_empty() {
            let mut seen = HashSet::new();
            let end = rest
                .iter()
                .position(|(tenant, _)| !seen.insert(tenant.as_str()));
            let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
            let tenants: Vec<&str> = now.iter().map(|(tenant, _)| tenant.as_str()).collect();
            let bodies: Vec<&str> = now.iter().map(|(_, body)| &**body).collect();
            let query = transaction.schema.query(UPSERT_MANY);
            let query = query.bind(tenants).bind(bodies);
            written += transaction.execute(query).await?;
            rest = later;
        }
        // They may have been stored before, and then the head is what somebody else wrote last.
        let newest = transaction.schema.query(NEWEST);
        let newest = transaction.fetch(newest).await?;
        let newest = newest.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(WrittenMany {
            revision: number(newest, "position")?,
            written: usize::try_from(written).unwrap_or(usize::MAX),
        })
    }
}
