//! Where the exports of one component are. Not for which there can be (`table`), nor for calling
//! them (`calls`, `runtime`).

use wasmtime::component::{Component, ComponentExportIndex};

use super::table::{EXPORTS, Export};
use super::versions::Exported;

/// Where the exports of a component are; without any, there is no component.
#[derive(Default)]
pub struct ExportIndices([Option<Found>; EXPORTS.len()]);

struct Found {
    index: ComponentExportIndex,
    /// With its version.
    interface: String,
}

impl ExportIndices {
    /// All that the versions have which a component exports, or which one it lacks.
    pub fn find(component: &Component, exported: &Exported) -> Result<ExportIndices, String> {
        let mut found = ExportIndices::default();
        for (export, capability, function, since) in EXPORTS {
            let Some(version) = exported.version(capability).filter(|v| since <= *v) else {
                continue;
            };
            let package = capability.package().name;
            let interface = format!("{package}/{}@{version}", capability.name());
            let index = component.get_export_index(None, &interface);
            let index = index.and_then(|of| component.get_export_index(Some(&of), function));
            let lacking = || format!("{interface} has no function `{function}`");
            let index = index.ok_or_else(lacking)?;
            found.0[export as usize] = Some(Found { index, interface });
        }
        Ok(found)
    }

    /// `None`: the component has no such function.
    pub fn get(&self, export: Export) -> Option<&ComponentExportIndex> {
        let found = self.0[export as usize].as_ref()?;
        Some(&found.index)
    }

    /// Function, interface and version, in words; `None`: the component has no such function.
    pub fn name(&self, export: Export) -> Option<String> {
        let found = self.0[export as usize].as_ref()?;
        Some(format!("`{}` of {}", export.function(), found.interface))
    }
}
