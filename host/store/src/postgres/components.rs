//! Component files in the origin. Not for which of them runs: that is a setting (`upkeep.rs`).

use std::time::Duration;

use sqlx::Row;

use super::fault::ConnectError;
use super::link::{Link, Role};
use super::rows::trusted;
use super::{Postgres, fault, slots};
use crate::{OriginError, StoredComponent, WriteError};

const PUT: &str = "INSERT INTO {schema}.components AS c (digest, bytes, signature) VALUES ($1, $2, $3) \
     ON CONFLICT (digest) DO UPDATE SET \
     signature = coalesce(excluded.signature, c.signature), at = clock_timestamp()";
/// Of those that no setting names, the newest few stay.
const TIDY: &str = "DELETE FROM {schema}.components c WHERE c.digest <> $1 \
     AND NOT EXISTS (SELECT FROM {schema}.settings s WHERE s.name ~ '^component' AND s.value = c.digest) \
     AND (SELECT count(*) FROM {schema}.components n WHERE n.at > c.at) >= $2";
const GET: &str = "SELECT pg_is_in_recovery() AS replica, current_user AS acts_as, c.digest, c.bytes, c.signature \
     FROM (VALUES (1)) x LEFT JOIN {schema}.components c ON c.digest = $1";

/// Megabytes that cross a network, once in a while: longer than a read of a record.
const DEADLINE: Duration = Duration::from_secs(5);
const KEPT: i64 = 16;

impl Postgres {
    pub(super) async fn store_component(
        &self,
        component: &StoredComponent,
    ) -> Result<(), WriteError> {
        let work = async {
            let mut link = self.own_connection().await.map_err(fault::of_connect)?;
            let put = self
                .schema()
                .query(PUT)
                .bind(&component.digest)
                .bind(&*component.bytes)
                .bind(&component.signature);
            let of_write = |error| fault::of_write(&error);
            link.fetch(put).await.map_err(of_write)?;
            let tidy = self.schema().query(TIDY).bind(&component.digest).bind(KEPT);
            link.fetch(tidy).await.map_err(of_write)?;
            Ok(())
        };
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(outcome) => outcome,
            // It does no harm if it was stored: nothing refers to it.
            Err(_) => Err(OriginError::Late.into()),
        }
    }

    pub(super) async fn fetch_component(
        &self,
        digest: &str,
    ) -> Result<Option<StoredComponent>, OriginError> {
        let work = async {
            let mut link = self.own_connection().await.map_err(fault::of_connect)?;
            let rows = link.fetch(self.schema().query(GET).bind(digest)).await;
            rows.map_err(|error| fault::of_origin(&error))
        };
        let rows = match tokio::time::timeout(DEADLINE, work).await {
            Ok(rows) => rows?,
            Err(_) => return Err(OriginError::Late),
        };
        trusted(&rows, Role::Fleet)?;
        let of_origin = |error: sqlx::Error| fault::of_origin(&error);
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let Some(bytes) = row
            .try_get::<Option<Vec<u8>>, _>("bytes")
            .map_err(of_origin)?
        else {
            return Ok(None);
        };
        Ok(Some(StoredComponent {
            digest: digest.to_owned(),
            bytes: bytes.into(),
            signature: row.try_get("signature").map_err(of_origin)?,
        }))
    }

    /// Not from the pool: its connections give up sooner, and are for requests.
    async fn own_connection(&self) -> Result<Link, ConnectError> {
        let connect = || self.servers.connect(Some(Role::Fleet), DEADLINE, DEADLINE);
        slots::wait_for(&self.slots, connect).await
    }
}
