//! `encode MODULE COMPONENT`: makes a component file of a core module that wit-bindgen has left its
//! world in. Not for compiling (`tests/guest-build.sh` does that), nor for judging the result:
//! hosts and tests check what it imports and exports.

use std::path::Path;

use anyhow::{Context, bail};
use wit_component::ComponentEncoder;

fn main() -> anyhow::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [module, component] = paths.as_slice() else {
        bail!("usage: encode MODULE COMPONENT");
    };
    let module = Path::new(module);
    let bytes = std::fs::read(module).with_context(|| module.display().to_string())?;
    let encoder = ComponentEncoder::default().module(&bytes)?;
    let encoded = encoder.validate(true).encode();
    let encoded = encoded.with_context(|| format!("{} makes no component", module.display()))?;
    let component = Path::new(component);
    // Renamed into place: what was stopped half way leaves nothing that looks done.
    let part = component.with_extension("part");
    std::fs::write(&part, encoded).with_context(|| part.display().to_string())?;
    std::fs::rename(&part, component).with_context(|| component.display().to_string())
}
