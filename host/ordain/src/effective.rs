//! The config that holds for a tenant or a user (DESIGN 4.5), as the guest says it. Not which fields
//! there are or how they are merged: that is the guest's. Not the configuration of the program
//! either: the server has that.

use serde::ser::{Error, Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;

use crate::answer::Provenance;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveConfig {
    /// JSON text of an object: every field with the value that holds.
    pub config: String,
    /// JSON text of an object: for every field the level that set it, `default`, `global`, `tenant`
    /// or `user`.
    pub levels: String,
    /// Its revision is the highest of the levels that there are; `None`: there is none.
    pub provenance: Provenance,
}

impl Serialize for EffectiveConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let read = |text| serde_json::from_str::<&RawValue>(text).map_err(S::Error::custom);
        let mut object = serializer.serialize_struct("EffectiveConfig", 3)?;
        object.serialize_field("config", read(&self.config)?)?;
        object.serialize_field("levels", read(&self.levels)?)?;
        object.serialize_field("provenance", &self.provenance)?;
        object.end()
    }
}
