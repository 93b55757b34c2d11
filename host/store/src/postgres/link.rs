//! One connection and what it works as. A session of our own is brought into its state once; where
//! a pooler may give the session to other programs after each transaction, every transaction brings
//! what it needs along, and leaves nothing behind: no role, no time limits, no prepared statements.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection};

/// As whom a connection works. Neither owns anything (O3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// For one tenant at a time, which `ordain.tenant` names in each transaction: row level
    /// security shows it no other's rows. Also for following the log.
    Tenant,
    /// For what concerns all tenants.
    Fleet,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Tenant => "ordain_tenant",
            Role::Fleet => "ordain_service",
        }
    }
}

pub struct Link {
    pub connection: PgConnection,
    /// What begins a transaction on a session that may be somebody else's afterwards.
    shared: Option<String>,
}

impl Link {
    pub fn own(connection: PgConnection) -> Link {
        Link {
            connection,
            shared: None,
        }
    }

    pub fn shared(connection: PgConnection, role: Option<Role>, statement: Duration) -> Link {
        let begin = match role {
            Some(role) => format!("BEGIN; SELECT {}", settings(role, statement, true)),
            None => "BEGIN".to_owned(),
        };
        Link {
            connection,
            shared: Some(begin),
        }
    }

    /// Whether statements may be kept for later ones.
    pub fn keeps(&self) -> bool {
        self.shared.is_none()
    }

    pub async fn close(self) {
        // However it ends, it is gone.
        let _ = self.connection.close().await;
    }

    /// Runs one statement as a transaction.
    pub async fn fetch(
        &mut self,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let Some(begin) = self.shared.clone() else {
            return query.fetch_all(&mut self.connection).await;
        };
        self.say(begin).await?;
        let rows = query
            .persistent(false)
            .fetch_all(&mut self.connection)
            .await;
        match rows {
            Ok(rows) => self.say("COMMIT".to_owned()).await.map(|()| rows),
            Err(error) => {
                self.say("ROLLBACK".to_owned()).await?;
                Err(error)
            }
        }
    }

    async fn say(&mut self, sql: String) -> Result<(), sqlx::Error> {
        // Safe: constants and numbers only.
        let said = sqlx::raw_sql(AssertSqlSafe(sql));
        said.execute(&mut self.connection).await.map(drop)
    }
}

/// Calls that bring a session (`local`: a transaction) into its state.
pub fn settings(role: Role, statement: Duration, local: bool) -> String {
    let role = role.name();
    let idle = (statement.as_millis() * 2).max(1000);
    let statement = statement.as_millis() + 100;
    format!(
        "set_config('role', '{role}', {local}), set_config('statement_timeout', '{statement}ms', {local}), \
         set_config('idle_in_transaction_session_timeout', '{idle}ms', {local})"
    )
}
