//! What the functions of the contract have in common: ids, records, and one call of an origin each.
//! Not for what an origin must do.

use std::sync::Arc;

use crate::ids::{Key, Level, Tenant, User};
use crate::{Attribution, Change, Origin, Precondition, WriteError, Written};

/// A record that every origin takes.
pub fn body(model: &str) -> Arc<str> {
    format!(r#"{{"defaultModel":"{model}","defaultProvider":"local"}}"#).into()
}

pub fn tenant(id: &str) -> Tenant {
    Tenant::new(id).expect("the contract uses proper ids")
}

pub fn of_tenant(id: &str) -> Level {
    Level::Tenant(tenant(id))
}

pub fn of_user(id: &str, user: &str) -> Level {
    Level::User(tenant(id), User::new(user).expect("a proper id"))
}

pub(super) async fn put_config(origin: &dyn Origin, level: &Level, body: &str) -> Written {
    let change = Change::Put(body.into());
    let key = Key::config(level);
    let by = somebody();
    let written = origin.write(&key, change, Precondition::None, &by);
    written.await.expect("a put without precondition succeeds")
}

pub(super) fn somebody() -> Attribution {
    Attribution {
        actor: "contract".to_owned(),
        ..Attribution::default()
    }
}

pub(super) async fn put(origin: &dyn Origin, id: &str, model: &str) -> Written {
    let change = Change::Put(body(model));
    let written = origin
        .write(
            &Key::policy(&tenant(id)),
            change,
            Precondition::None,
            &somebody(),
        )
        .await;
    written.expect("a put without precondition succeeds")
}

pub(super) async fn write(
    origin: &dyn Origin,
    id: &str,
    change: Change,
    precondition: Precondition,
) -> Result<Written, WriteError> {
    origin
        .write(&Key::policy(&tenant(id)), change, precondition, &somebody())
        .await
}

pub(super) async fn read_one(origin: &dyn Origin, id: &str) -> (u64, Option<(Arc<str>, u64)>) {
    let snapshot = origin
        .read(&[Key::policy(&tenant(id))])
        .await
        .expect("the origin answers");
    assert_eq!(snapshot.records.len(), 1);
    let record = snapshot.records.into_iter().next().flatten();
    (
        snapshot.as_of,
        record.map(|record| (record.body, record.revision)),
    )
}
