//! Where the exports of a component are, by the version of its world. Not for calling them
//! (`runtime`).

use wasmtime::component::{Component, ComponentExportIndex};

use super::VERSIONS;

/// Where the exports are; without any, there is no component.
#[derive(Default)]
pub struct ExportIndices {
    pub resolve: Option<ComponentExportIndex>,
    pub resolve_batch: Option<ComponentExportIndex>,
    pub validate: Option<ComponentExportIndex>,
    /// Worlds before 0.3.0 have no configs.
    pub get_effective: Option<ComponentExportIndex>,
    pub validate_level: Option<ComponentExportIndex>,
    pub patch_level: Option<ComponentExportIndex>,
}

impl ExportIndices {
    /// Those of a component of a version of the world, or which one it lacks.
    pub fn find(component: &Component, version: &str) -> Result<ExportIndices, String> {
        let resolver = Interface::find(component, format!("ordain:policy/resolver@{version}"));
        let configs = Interface::find(component, format!("ordain:policy/configs@{version}"));
        let of_configs = |name: &str| match version == VERSIONS[0] {
            true => configs.function(name).map(Some),
            false => Ok(None),
        };
        Ok(ExportIndices {
            resolve: Some(resolver.function("resolve")?),
            resolve_batch: Some(resolver.function("resolve-batch")?),
            validate: Some(resolver.function("validate")?),
            get_effective: of_configs("get-effective")?,
            validate_level: of_configs("validate")?,
            patch_level: of_configs("patch")?,
        })
    }
}

struct Interface<'a> {
    component: &'a Component,
    name: String,
    index: Option<ComponentExportIndex>,
}

impl Interface<'_> {
    fn find(component: &Component, name: String) -> Interface<'_> {
        Interface {
            index: component.get_export_index(None, &name),
            component,
            name,
        }
    }

    fn function(&self, name: &str) -> Result<ComponentExportIndex, String> {
        let index = self.index.as_ref();
        let index = index.and_then(|of| self.component.get_export_index(Some(of), name));
        index.ok_or_else(|| format!("{} has no function `{name}`", self.name))
    }
}
