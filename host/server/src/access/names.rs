//! What a provider calls the claims that count here, and what its roles mean. Not for what follows
//! from them (`claims`).

use serde_json::{Map, Value};

use super::principal::Role;

/// What the claims are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub role: String,
    pub tenant: String,
    pub tenants: String,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            role: "role".to_owned(),
            tenant: "tenant_id".to_owned(),
            tenants: "tenants".to_owned(),
        }
    }
}

/// The claim of this name: the member that is called so, else the one at this path, whose steps are
/// apart by dots and may have dots in them (`resource_access.my.client.roles`): the longest that is
/// there counts.
pub fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let steps = name.rmatch_indices('.');
    steps
        .filter_map(|(at, _)| {
            let inner = claims.get(&name[..at])?.as_object()?;
            claim(inner, &name[at + 1..])
        })
        .next()
}

/// Whether the claim of this name is one text with words in it, as OAuth has it (RFC 8693 4.2).
pub fn is_scope(name: &str) -> bool {
    let last = name.rsplit(['.', '/', ':']).next();
    matches!(last, Some("scope" | "scp"))
}

/// Puts a value where [`claim`] finds it: at the path, or under the whole name if that is a URL or
/// the path is taken.
pub fn put(claims: &mut Map<String, Value>, name: &str, value: Value) {
    let path = (!name.contains(['/', ':'])).then(|| name.split_once('.'));
    if let Some(Some((first, rest))) = path
        && !first.is_empty()
        && !rest.is_empty()
    {
        let inner = claims
            .entry(first)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(inner) = inner {
            return put(inner, rest, value);
        }
    }
    claims.insert(name.to_owned(), value);
}

/// What values of the role's claim mean. What is not in it means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMap(Vec<(String, Role)>);

impl Default for RoleMap {
    /// Every role by its own name.
    fn default() -> RoleMap {
        RoleMap(
            Role::ALL
                .map(|role| (role.name().to_owned(), role))
                .to_vec(),
        )
    }
}

/// Why something is no map of roles; with the number of the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoleMapError {
    #[error("pair {0} is not like App.Admin=admin")]
    Form(usize),
    #[error("pair {0} names no role: a role is one of {names}", names = Role::ALL.map(Role::name).join(", "))]
    Role(usize),
    #[error("pair {0} gives another role to a value that has one")]
    Twice(usize),
}

impl RoleMap {
    /// `App.Admin=admin,gateway=resolver`. A value may have `=` in it, no role does.
    pub fn parse(text: &str) -> Result<RoleMap, RoleMapError> {
        let mut map: Vec<(String, Role)> = Vec::new();
        for (number, pair) in (1..).zip(text.split(',').map(str::trim)) {
            let (value, role) = pair.rsplit_once('=').ok_or(RoleMapError::Form(number))?;
            let (value, role) = (value.trim(), role.trim());
            if value.is_empty() {
                return Err(RoleMapError::Form(number));
            }
            let role = Role::of(role).ok_or(RoleMapError::Role(number))?;
            match map.iter().find(|(known, _)| known == value) {
                Some((_, same)) if *same == role => {}
                Some(_) => return Err(RoleMapError::Twice(number)),
                None => map.push((value.to_owned(), role)),
            }
        }
        Ok(RoleMap(map))
    }

    /// Letters count.
    pub fn role(&self, value: &str) -> Option<Role> {
        let found = self.0.iter().find(|(known, _)| known == value);
        found.map(|(_, role)| *role)
    }

    /// A value that means this role.
    pub fn value(&self, role: Role) -> Option<&str> {
        let found = self.0.iter().find(|(_, meant)| *meant == role);
        found.map(|(value, _)| value.as_str())
    }
}

impl std::fmt::Display for RoleMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self
            .0
            .iter()
            .map(|(value, role)| format!("{value}={}", role.name()));
        f.write_str(&pairs.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn a_claim_is_found_by_its_whole_name_first_and_else_by_its_path() {
        let claims = members(json!({
            "role": "a",
            "app_metadata": {"role": "b", "x.y": "c"},
            "https://x.example/role": "d",
            "resource_access": {"my": 1, "my.client": {"roles": ["e"]}},
            "a.b": "f",
            "a": {"b": "g", "c": null},
        }));
        for (name, expected) in [
            ("role", json!("a")),
            ("app_metadata.role", json!("b")),
            ("app_metadata.x.y", json!("c")),
            ("https://x.example/role", json!("d")),
            ("resource_access.my.client.roles", json!(["e"])),
            ("a.b", json!("f")),
            ("a.c", json!(null)),
        ] {
            assert_eq!(claim(&claims, name), Some(&expected), "{name}");
        }
        for name in ["", ".", "role.x", "app_metadata.", ".role", "a..b", "Role"] {
            assert_eq!(claim(&claims, name), None, "{name}");
        }
    }

    #[test]
    fn what_is_put_is_found() {
        let mut claims = Map::new();
        let names = [
            "a",
            "a.b",
            "c.d",
            "c.e.f",
            "https://x.example/role",
            "c",
            ".",
            "g.",
        ];
        for (number, name) in names.iter().enumerate().filter(|(_, name)| **name != "c") {
            put(&mut claims, name, number.into());
        }
        for (number, name) in names.iter().enumerate().filter(|(_, name)| **name != "c") {
            assert_eq!(
                claim(&claims, name),
                Some(&number.into()),
                "{name}: {claims:?}"
            );
        }
        assert_eq!(claims["c"], json!({"d": 2, "e": {"f": 3}}));
    }

    #[test]
    fn a_map_gives_roles_to_its_values_and_to_nothing_else() {
        let text = "App.Admin=admin, a=b=reader,https://x/ops=metrics,Ordain Users=reader";
        let map = RoleMap::parse(text).expect("a map");
        assert_eq!(map.role("App.Admin"), Some(Role::Admin));
        assert_eq!(map.role("a=b"), Some(Role::Reader));
        assert_eq!(map.role("Ordain Users"), Some(Role::Reader));
        assert_eq!(map.value(Role::Metrics), Some("https://x/ops"));
        assert_eq!(map.value(Role::Editor), None);
        for nothing in ["admin", "app.admin", "App.Admin ", "a", "Ordain", ""] {
            assert_eq!(map.role(nothing), None, "{nothing}");
        }
        for (text, error) in [
            ("", RoleMapError::Form(1)),
            ("a", RoleMapError::Form(1)),
            ("a=admin,", RoleMapError::Form(2)),
            ("=admin", RoleMapError::Form(1)),
            ("a=Admin", RoleMapError::Role(1)),
            ("a=", RoleMapError::Role(1)),
            ("a=admin,b=editor,a=reader", RoleMapError::Twice(3)),
        ] {
            assert_eq!(RoleMap::parse(text), Err(error), "{text}");
        }
        assert_eq!(RoleMap::default().role("editor"), Some(Role::Editor));
        assert_eq!(map.to_string().split(',').count(), 4);
    }
}
