//! A connection as an operator with `psql` would have it, who looks at what Ordain keeps.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Result};

pub async fn connect(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    let options = options.options([("search_path", "ordain,public")]);
    options.connect().await
}
