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
    /// What it can do: `ordain:policy@1.1.0`.
    pub capabilities: Vec<String>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
}

/// What is to be known of a component file, whether or not this host runs it.
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
    let capabilities = exports.iter().filter_map(|name| read_capability(name));
    let capabilities = capabilities.collect();
    let info = ComponentInfo {
        digest,
        size: bytes.len() as u64,
        capabilities,
        imports,
        exports,
    };
    Ok((component, info))
}

/// Package and version of an interface that is named as its package: that is a capability, known
/// here or not.
fn read_capability(export: &str) -> Option<String> {
    let (interface, version) = export.split_once('@')?;
    let (package, interface) = interface.split_once('/')?;
    let is_capability = package.strip_prefix("ordain:") == Some(interface);
    is_capability.then(|| format!("{package}@{version}"))
}
