//! One transaction of a write, in the steps of rule O4, three round trips: it begins and takes the
//! lock of the log, does the work that it is given, reads the revision and commits; it is tried
//! again where that is safe. Not for what the work is (`work.rs`). The application writes no log
//! row and no revision: triggers do (O3).

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use tokio::time::Instant;

use super::link::{self, Link};
use super::rows::number;
use super::schema_name::SchemaName;
use super::work::{Committed, Stop, Terms, Transaction, Work};
use super::{Postgres, fault};
use crate::ids::Tenant;
use crate::{OriginError, WriteError};

/// How often a transaction that lost against another is tried again (O4).
const TRIES: u32 = 5;

impl Postgres {
    pub(super) async fn transaction<W: Work>(
        &self,
        terms: Terms<'_>,
        work: &W,
    ) -> Result<Committed<W::Done>, WriteError> {
        let until = Instant::now() + terms.deadline;
        // All writers wait for one lock (O2). They do so here, not with all connections in hand.
        // Who waits in vain is told to try again while there is still time to tell.
        let patience = terms.deadline * 3 / 5;
        let writers = terms.tenant.map_or(&self.fleet_writers, |_| &self.writers);
        let Ok(Ok(_turn)) = tokio::time::timeout(patience, writers.acquire()).await else {
            return Err(WriteError::Busy);
        };
        let pool = self.pool_of(terms.tenant);
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
            // Whatever the session was set to: it may be a pooler's.
            let settings = link::settings(pool.role, self.deadline, true);
            let schema = pool.schema();
            let begin = schema.fill(&begin(&settings, &terms, lock, W::LOCKS_FIRST));
            let link = lease.link().map_err(|error| fault::of_origin(&error))?;
            match attempt(link, schema, begin, work, until).await {
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

async fn attempt<W: Work>(
    link: &mut Link,
    schema: &SchemaName,
    begin: String,
    work: &W,
    until: Instant,
) -> Result<Committed<W::Done>, Stop> {
    let mut transaction = Transaction {
        keeps: link.keeps(),
        connection: &mut link.connection,
        schema,
    };
    let before = async {
        // Safe: hexadecimal digits, numbers and a name that needs no escaping.
        let begin = sqlx::raw_sql(AssertSqlSafe(begin));
        let begun = begin.execute(&mut *transaction.connection).await;
        begun.map_err(|error| match fault::is_cancelled(&error) {
            true => Stop::Locked,
            false => Stop::Before(error),
        })?;
        work.run(&mut transaction).await
    };
    let done = tokio::time::timeout_at(until, before)
        .await
        .unwrap_or(Err(Stop::Decided(OriginError::Late.into())))?;

    // Each statement of this message has a snapshot of its own; the first one's error keeps the
    // others from running. A COMMIT that waits for a synchronous replica must not be cut short by a
    // timeout: it would then be reported as done (O6).
    let commit = schema.fill(
        "SELECT position FROM {schema}.log_head WHERE one; SET LOCAL statement_timeout = 0; COMMIT",
    );
    // Safe: a constant and a name that needs no escaping.
    let commit = sqlx::raw_sql(AssertSqlSafe(commit));
    let rows = commit.fetch_all(&mut link.connection);
    let rows = match tokio::time::timeout_at(until, rows).await {
        Ok(rows) => rows.map_err(Stop::Commit)?,
        Err(_) => return Err(Stop::Decided(WriteError::OutcomeUnknown)),
    };
    match rows.first().map(|row| number(row, "position")) {
        Some(Ok(revision)) => Ok(Committed { revision, done }),
        // Committed, at a position that we cannot read: a caller must not take it for a failure.
        _ => Err(Stop::Decided(WriteError::OutcomeUnknown)),
    }
}

/// The first three steps of O4 in one message: a statement each, so that what follows the lock
/// sees what was committed before it. Texts go as hexadecimal digits: a message of several
/// statements has no parameters, and digits need no quoting rules.
///
/// Without `locks_first` the lock is left to the work.
fn begin(settings: &str, terms: &Terms<'_>, lock: Duration, locks_first: bool) -> String {
    let mut sql = format!("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT {settings}; SELECT ");
    let settings = [
        ("ordain.tenant", terms.tenant.map(Tenant::as_str)),
        ("ordain.actor", Some(terms.by.actor.as_str())),
        ("ordain.request_id", terms.by.request_id.as_deref()),
        ("ordain.reason", terms.by.reason.as_deref()),
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
    let statement = terms.deadline.as_millis() + 100;
    // The lock of a row may be two waits, for one's turn and for the row, and `lock_timeout` bounds
    // each by itself: the statement's own timeout bounds them together. 0 would be no limit.
    let lock = lock.as_millis().max(1);
    let take = match locks_first {
        true => format!(
            "set_config('statement_timeout', '{lock}ms', true); \
             SELECT position FROM {{schema}}.log_head WHERE one FOR UPDATE; SELECT "
        ),
        false => String::new(),
    };
    sql + &format!(
        "set_config('lock_timeout', '{lock}ms', true), \
         set_config('synchronous_commit', 'on', true), {take}\
         set_config('statement_timeout', '{statement}ms', true)"
    )
}
