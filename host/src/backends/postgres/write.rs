//! Writes: one transaction each, in the steps of rule O4, three round trips. The application writes
//! no log row and no revision: triggers do (O3).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};
use tokio::time::Instant;

use super::configs::{CONFIGS, NOT_KEPT};
use super::link::{self, Link};
use super::{Postgres, fault, upkeep};
use crate::backends::{
    Attribution, Change, NAMELESS, OriginError, Precondition, WriteError, Written, WrittenMany,
};
use crate::ids::{Key, RecordName, Tenant};

/// The statements of the table of one kind of record. All but the last return `created`, and `kept`:
/// whether what the table says now is what was written.
pub(super) struct Statements {
    pub upsert: &'static str,
    pub insert: &'static str,
    pub update: &'static str,
    pub update_if: &'static str,
    pub delete: &'static str,
    pub delete_if: &'static str,
    pub revision: &'static str,
}

const POLICIES: Statements = Statements {
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
/// What is stored as it is given is left alone: an import that is run again changes nothing twice.
const UPSERT_MANY: &str = "INSERT INTO public.policies (tenant, body) \
     SELECT tenant, body FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k(tenant, body, n) \
     WHERE NOT EXISTS (SELECT FROM public.policies p WHERE p.tenant = k.tenant AND p.body = k.body) \
     ORDER BY n ON CONFLICT (tenant) DO UPDATE SET body = excluded.body";

/// How often a transaction that lost against another is tried again (O4).
const TRIES: u32 = 5;

/// Why a transaction ended without a commit.
pub(super) enum Stop {
    /// The lock of the log was not free in time: nothing was written.
    Locked,
    /// Of the statements before COMMIT: nothing was written.
    Before(sqlx::Error),
    /// Sent COMMIT, got this.
    Commit(sqlx::Error),
    /// Rolled back by decision.
    Decided(WriteError),
}

/// What a transaction does between taking the lock and reading the revision.
pub(super) enum Work<'a> {
    One {
        key: &'a Key,
        change: &'a Change,
        precondition: Precondition,
    },
    Many(&'a [(Tenant, Arc<str>)]),
    /// See `upkeep.rs` for these.
    Settings {
        changes: &'a [(String, Option<String>)],
        only_if: &'a [(String, Option<String>)],
    },
    Purge(Option<&'a Tenant>),
    Prune(upkeep::Prune),
}

impl Work<'_> {
    /// Whose work it is; `None`: the fleet's, or of many tenants.
    fn tenant(&self) -> Option<&Tenant> {
        match self {
            Work::One { key, .. } => key.tenant.as_ref(),
            _ => None,
        }
    }
}

/// What a transaction did, under the lock.
#[derive(Default)]
pub(super) struct Done {
    pub created: bool,
    /// Policies of many that were not stored like that before.
    pub written: u64,
    /// Rows that were deleted from the log.
    pub pruned: u64,
}

/// A transaction that was committed.
pub(super) struct Committed {
    /// Position of the last row that it logged.
    pub revision: u64,
    pub done: Done,
}

impl Postgres {
    pub(super) async fn write_one(
        &self,
        key: &Key,
        change: &Change,
        precondition: Precondition,
        by: &Attribution,
    ) -> Result<Written, WriteError> {
        let work = Work::One {
            key,
            change,
            precondition,
        };
        let committed = self.transaction(&work, by, self.deadline).await?;
        Ok(Written {
            revision: committed.revision,
            created: committed.done.created,
        })
    }

    pub(super) async fn write_many(
        &self,
        policies: &[(Tenant, Arc<str>)],
        by: &Attribution,
    ) -> Result<WrittenMany, WriteError> {
        // A chunk of an import is many writes in one; nobody answers a request from it.
        let deadline = self.deadline * 4;
        let work = Work::Many(policies);
        let committed = self.transaction(&work, by, deadline).await?;
        Ok(WrittenMany {
            revision: committed.revision,
            written: usize::try_from(committed.done.written).unwrap_or(usize::MAX),
        })
    }

    pub(super) async fn transaction(
        &self,
        work: &Work<'_>,
        by: &Attribution,
        deadline: Duration,
    ) -> Result<Committed, WriteError> {
        let until = Instant::now() + deadline;
        // All writers wait for one lock (O2). They do so here, not with all connections in hand.
        // Who waits in vain is told to try again while there is still time to tell.
        let patience = deadline * 3 / 5;
        let tenant = work.tenant();
        let writers = tenant.map_or(&self.fleet_writers, |_| &self.writers);
        let Ok(Ok(_turn)) = tokio::time::timeout(patience, writers.acquire()).await else {
            return Err(WriteError::Busy);
        };
        let pool = self.pool_of(tenant);
        let (mut conflicts, mut broken) = (0, 0);
        loop {
            // A lease that is dropped on any way out of here closes its connection: the server
            // then rolls back, as COMMIT was not sent.
            let lease = tokio::time::timeout_at(until, pool.lease()).await;
            let mut lease = match lease {
                Ok(lease) => lease.map_err(fault::of_connect)?,
                Err(_) => return Err(OriginError::Late.into()),
            };
            // 400 ms of the default 500, less after waiting for the turn.
            let lock = self
                .deadline
                .min(until.saturating_duration_since(Instant::now()))
                * 4
                / 5;
            // A prune deletes before it takes the lock of the log, or it would stop all writes.
            let at_once = !matches!(work, Work::Prune(_));
            // Whatever the session was set to: it may be a pooler's.
            let settings = link::settings(pool.role, self.deadline, true);
            let begin = begin(&settings, tenant, by, (lock, deadline), at_once);
            let link = lease.link().map_err(|error| fault::of_origin(&error))?;
            match attempt(link, begin, work, until).await {
                Ok(committed) => {
                    lease.give_back();
                    return Ok(committed);
                }
                Err(Stop::Decided(error)) => {
                    if !matches!(error, WriteError::Origin(_) | WriteError::OutcomeUnknown) {
                        lease.give_back();
                    }
                    return Err(error);
                }
                Err(Stop::Before(error) | Stop::Commit(error))
                    if fault::is_conflict(&error) && conflicts < TRIES =>
                {
                    conflicts += 1;
                }
                Err(Stop::Before(error))
                    if lease.reused
                        && fault::is_read_only(&error)
                        && broken < pool.most_broken() =>
                {
                    // There was a failover, and another host may be the primary now.
                    pool.forget_idle();
                    broken += 1;
                }
                Err(Stop::Before(error))
                    if lease.reused && fault::is_broken(&error) && broken < pool.most_broken() =>
                {
                    broken += 1;
                }
                Err(Stop::Locked) => return Err(WriteError::Busy),
                Err(Stop::Before(error)) => return Err(fault::of_write(&error)),
                Err(Stop::Commit(error)) if fault::is_answer(&error) => {
                    return Err(fault::of_write(&error));
                }
                Err(Stop::Commit(_)) => return Err(WriteError::OutcomeUnknown),
            }
        }
    }
}

async fn attempt(
    link: &mut Link,
    begin: String,
    work: &Work<'_>,
    until: Instant,
) -> Result<Committed, Stop> {
    let keeps = link.keeps();
    let connection = &mut link.connection;
    let before = async {
        // Safe: hexadecimal digits and numbers only.
        let begin = sqlx::raw_sql(AssertSqlSafe(begin));
        begin.execute(&mut *connection).await.map_err(|error| {
            match fault::is_cancelled(&error) {
                true => Stop::Locked,
                false => Stop::Before(error),
            }
        })?;
        match work {
            Work::One {
                key,
                change,
                precondition,
            } => change_one(connection, keeps, key, change, *precondition).await,
            Work::Many(policies) => {
                let written = change_many(connection, keeps, policies).await;
                Ok(Done {
                    written: written.map_err(Stop::Before)?,
                    ..Done::default()
                })
            }
            Work::Settings { changes, only_if } => {
                upkeep::set(connection, keeps, changes, only_if).await
            }
            Work::Purge(tenant) => upkeep::log_purge(connection, keeps, *tenant).await,
            Work::Prune(prune) => upkeep::log_prune(connection, keeps, prune).await,
        }
    };
    let done = tokio::time::timeout_at(until, before)
        .await
        .unwrap_or(Err(Stop::Decided(OriginError::Late.into())))?;

    // Each statement of this message has a snapshot of its own; the first one's error keeps the
    // others from running. A COMMIT that waits for a synchronous replica must not be cut short by a
    // timeout: it would then be reported as done (O6).
    let commit = sqlx::raw_sql(match work {
        // It may have written nothing: then the head is what somebody else wrote last.
        Work::Many(_) => {
            "SELECT coalesce(max(position), 0) AS position FROM public.log; \
             SET LOCAL statement_timeout = 0; COMMIT"
        }
        _ => {
            "SELECT position FROM public.log_head WHERE one; SET LOCAL statement_timeout = 0; COMMIT"
        }
    });
    let rows = match tokio::time::timeout_at(until, commit.fetch_all(&mut *connection)).await {
        Ok(rows) => rows.map_err(Stop::Commit)?,
        Err(_) => return Err(Stop::Decided(WriteError::OutcomeUnknown)),
    };
    let revision = rows.first().map(|row| super::read::number(row, "position"));
    match revision {
        Some(Ok(revision)) => Ok(Committed { revision, done }),
        // Committed, at a position that we cannot read: a caller must not take it for a failure.
        _ => Err(Stop::Decided(WriteError::OutcomeUnknown)),
    }
}

/// The first three steps of O4 in one message: a statement each, so that what follows the lock
/// sees what was committed before it. Texts go as hexadecimal digits: a message of several
/// statements has no parameters, and digits need no quoting rules.
///
/// Without `at_once` the lock is left to what follows.
fn begin(
    settings: &str,
    tenant: Option<&Tenant>,
    by: &Attribution,
    (lock, deadline): (Duration, Duration),
    at_once: bool,
) -> String {
    let mut sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT {settings}; SELECT ");
    let settings = [
        ("ordain.tenant", tenant.map(Tenant::as_str)),
        ("ordain.actor", Some(by.actor.as_str())),
        ("ordain.request_id", by.request_id.as_deref()),
        ("ordain.reason", by.reason.as_deref()),
    ];
    for (name, value) in settings {
        // Postgres has no U+0000 in texts.
        let value = value.unwrap_or("").replace('\0', "\u{fffd}");
        let digits = value.bytes().fold(String::new(), |mut digits, byte| {
            // Writing to a String does not fail.
            let _ = write!(digits, "{byte:02x}");
            digits
        });
        sql += &format!(
            "set_config('{name}', convert_from(decode('{digits}', 'hex'), 'UTF8'), true), "
        );
    }
    let statement = deadline.as_millis() + 100;
    // The lock of a row may be two waits, for one's turn and for the row, and `lock_timeout` bounds
    // each by itself: the statement's own timeout bounds them together. 0 would be no limit.
    let lock = lock.as_millis().max(1);
    let take = match at_once {
        true => format!(
            "set_config('statement_timeout', '{lock}ms', true); \
             SELECT position FROM public.log_head WHERE one FOR UPDATE; SELECT "
        ),
        false => String::new(),
    };
    sql + &format!(
        "set_config('lock_timeout', '{lock}ms', true), \
         set_config('synchronous_commit', 'on', true), {take}\
         set_config('statement_timeout', '{statement}ms', true)"
    )
}

async fn change_one(
    connection: &mut PgConnection,
    keeps: bool,
    key: &Key,
    change: &Change,
    precondition: Precondition,
) -> Result<Done, Stop> {
    // What is no position matches no revision.
    let at = |revision: u64| i64::try_from(revision).unwrap_or(-1);
    let (statements, user) = match key.record() {
        Some(RecordName::Policy) => (&POLICIES, None),
        Some(RecordName::Config(user)) => (&CONFIGS, Some(user)),
        None => {
            let rejected = WriteError::Rejected(NAMELESS.to_owned());
            return Err(rolled_back(connection, rejected).await);
        }
    };
    // Every statement begins with what names the record: the tenant, and of a config the user.
    let tenant = key.tenant.as_ref().map(Tenant::as_str);
    let named = |statement: &'static str| {
        let query = sqlx::query(statement).persistent(keeps).bind(tenant);
        match user {
            Some(user) => query.bind(user),
            None => query,
        }
    };
    let query = match (change, precondition) {
        (Change::Put(body), Precondition::None) => Some(named(statements.upsert).bind(&**body)),
        (Change::Put(body), Precondition::Absent) => Some(named(statements.insert).bind(&**body)),
        (Change::Put(body), Precondition::Present) => Some(named(statements.update).bind(&**body)),
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
    if let Some(query) = query {
        let row = query
            .fetch_all(&mut *connection)
            .await
            .map_err(Stop::Before)?;
        if let Some(row) = row.first() {
            let created = row.try_get("created").map_err(Stop::Before)?;
            if row.try_get("kept").map_err(Stop::Before)? {
                return Ok(Done {
                    created,
                    ..Done::default()
                });
            }
            let rejected = WriteError::Rejected(NOT_KEPT.to_owned());
            return Err(rolled_back(connection, rejected).await);
        }
    }

    // No row: say what is there instead, still under the lock, and roll back.
    let stored = named(statements.revision);
    let stored = stored
        .fetch_all(&mut *connection)
        .await
        .map_err(Stop::Before)?;
    let current = stored
        .first()
        .map(|row| super::read::number(row, "revision"));
    let current = current.transpose().map_err(Stop::Before)?;
    let error = match (change, precondition, current) {
        (Change::Delete, Precondition::None | Precondition::Absent, None) => WriteError::Absent,
        (_, _, current) => WriteError::Precondition { current },
    };
    Err(rolled_back(connection, error).await)
}

/// Ends a transaction that has nothing to commit; the connection stays good.
pub(super) async fn rolled_back(connection: &mut PgConnection, error: WriteError) -> Stop {
    match sqlx::raw_sql("ROLLBACK").execute(connection).await {
        Ok(_) => Stop::Decided(error),
        Err(error) => Stop::Before(error),
    }
}

/// How many were written. One statement cannot upsert the same row twice: it ends where a tenant comes again.
async fn change_many(
    connection: &mut PgConnection,
    keeps: bool,
    policies: &[(Tenant, Arc<str>)],
) -> Result<u64, sqlx::Error> {
    let (mut rest, mut written) = (policies, 0);
    while !rest.is_empty() {
        let mut seen = HashSet::new();
        let end = rest
            .iter()
            .position(|(tenant, _)| !seen.insert(tenant.as_str()));
        let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
        let tenants: Vec<&str> = now.iter().map(|(tenant, _)| tenant.as_str()).collect();
        let bodies: Vec<&str> = now.iter().map(|(_, body)| &**body).collect();
        let upsert = sqlx::query(UPSERT_MANY).persistent(keeps);
        let done = upsert.bind(tenants).bind(bodies).execute(&mut *connection);
        written += done.await?.rows_affected();
        rest = later;
    }
    Ok(written)
}
