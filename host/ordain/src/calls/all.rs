//! All calls that there are, where something is to be done with each of them. Not for any one.

use wasmtime::Store;
use wasmtime::component::Instance;

use super::config::{GetEffective, PatchConfig, ValidateConfig};
use super::policy::{Resolve, ResolveBatch, ValidatePolicy};
use super::question::{Question, fits};
use crate::capabilities::HostState;
use crate::world::ExportIndices;

/// Whether what a component exports has the types of the calls; else which function has not.
pub fn check_exports(
    instance: &Instance,
    indices: &ExportIndices,
    store: &mut Store<HostState>,
) -> Result<(), String> {
    check::<Resolve<'_>>(instance, indices, store)?;
    check::<ResolveBatch<'_>>(instance, indices, store)?;
    check::<ValidatePolicy<'_>>(instance, indices, store)?;
    check::<GetEffective<'_>>(instance, indices, store)?;
    check::<ValidateConfig<'_>>(instance, indices, store)?;
    check::<PatchConfig<'_>>(instance, indices, store)
}

fn check<'a, Q: Question + 'a>(
    instance: &Instance,
    indices: &ExportIndices,
    store: &mut Store<HostState>,
) -> Result<(), String> {
    let Some(name) = indices.name(Q::EXPORT) else {
        return Ok(());
    };
    let fits = fits::<Q>(instance, indices, store);
    fits.map_err(|error| format!("function {name}: {error:#}"))
}
