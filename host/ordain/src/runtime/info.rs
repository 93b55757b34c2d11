//! What is to be known of a component, whatever its world is: digest, size, imports and exports.
//! Not for whether this host runs it (`world`).

use wasmtime::component::Component;

use super::bytes::{LoadError, check_size_and_kind, digest};
use super::compiled::Compiled;
use super::compiler;
use super::engine::GuestEngine;

/// A component.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ComponentInfo {
    /// `sha256:...` of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// `ordain:policy/policy@0.3.0`.
    pub world: String,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// Digest, size, imports, exports and world of a component file, of whatever world it is.
pub fn inspect(engine: &GuestEngine, bytes: &[u8]) -> Result<ComponentInfo, LoadError> {
    Ok(compile(engine, bytes)?.1)
}

/// The compiled component, from the folder for compiled code if it is there.
pub fn compile(
    engine: &GuestEngine,
    bytes: &[u8],
) -> Result<(Component, ComponentInfo), LoadError> {
    check_size_and_kind(bytes)?;
    let digest = digest(bytes);
    let component = match engine
        .compiled
        .as_ref()
        .map(|cache| cache.get(&digest, &engine.engine))
    {
        Some(Compiled::Found(component)) => component,
        cached => {
            let code = compiler::compile(&engine.engine, bytes, &digest)?;
            if let Some(Compiled::Missing(place)) = cached {
                place.put(&engine.engine, &code.bytes);
            }
            code.component
        }
    };
    let ty = component.component_type();
    let mut imports: Vec<String> = ty
        .imports(&engine.engine)
        .map(|(name, _)| name.to_string())
        .collect();
    let mut exports: Vec<String> = ty
        .exports(&engine.engine)
        .map(|(name, _)| name.to_string())
        .collect();
    imports.sort();
    exports.sort();
    // The resolver's version is the world's: all interfaces are of one package.
    let version = exports
        .iter()
        .find_map(|name| name.strip_prefix("ordain:policy/resolver@"));
    let world = version.map_or("unknown".into(), |v| format!("ordain:policy/policy@{v}"));
    let info = ComponentInfo {
        digest,
        size: bytes.len() as u64,
        world,
        imports,
        exports,
    };
    Ok((component, info))
}
