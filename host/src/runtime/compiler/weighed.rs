//! A look at a component before it is compiled: how much there is of each thing that compiling takes time and
//! memory for. The limits are many times what a component with rules has. Not for whether it is valid: that is
//! for the compiler to say.

use wasmparser::{Parser, Payload};

/// Things of one kind in a component, all its modules together.
struct Limit {
    what: &'static str,
    most: u64,
}

const MODULES: Limit = Limit {
    what: "modules and components in it",
    most: 64,
};
const DEPTH: Limit = Limit {
    what: "components in one another",
    most: 8,
};
const FUNCTIONS: Limit = Limit {
    what: "functions",
    most: 20_000,
};
const TYPES: Limit = Limit {
    what: "types",
    most: 10_000,
};
const ENTRIES: Limit = Limit {
    what: "imports, exports, globals, tables, elements and data",
    most: 50_000,
};
const LOCALS: Limit = Limit {
    what: "locals in one function",
    most: 4_000,
};
const ALL_LOCALS: Limit = Limit {
    what: "locals",
    most: 400_000,
};
const BODY: Limit = Limit {
    what: "bytes in one function",
    most: 256 << 10,
};
const NAME: Limit = Limit {
    what: "bytes in the name of an import or export",
    most: 1_024,
};

impl Limit {
    fn holds(&self, count: u64) -> Result<(), String> {
        match count <= self.most {
            true => Ok(()),
            false => Err(format!(
                "it has {count} {}, at most {} are taken",
                self.what, self.most
            )),
        }
    }
}

#[derive(Default)]
struct Counts {
    modules: u64,
    functions: u64,
    types: u64,
    entries: u64,
    locals: u64,
}

/// Refuses what is plainly too much, in words. What cannot be read is left to the compiler.
pub fn weigh(bytes: &[u8]) -> Result<(), String> {
    let mut counts = Counts::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { return Ok(()) };
        match &payload {
            Payload::Version { .. } => {
                depth += 1;
                DEPTH.holds(depth)?;
                counts.modules += 1;
                MODULES.holds(counts.modules)?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            other => counts.add(other)?,
        }
    }
    Ok(())
}

impl Counts {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::TypeSection(all) => self.types += u64::from(all.count()),
            Payload::CoreTypeSection(all) => self.types += u64::from(all.count()),
            Payload::ComponentTypeSection(all) => self.types += u64::from(all.count()),
            Payload::FunctionSection(all) => self.functions += u64::from(all.count()),
            Payload::ComponentCanonicalSection(all) => self.functions += u64::from(all.count()),
            Payload::TableSection(all) => self.entries += u64::from(all.count()),
            Payload::MemorySection(all) => self.entries += u64::from(all.count()),
            Payload::TagSection(all) => self.entries += u64::from(all.count()),
            Payload::GlobalSection(all) => self.entries += u64::from(all.count()),
            Payload::ElementSection(all) => self.entries += u64::from(all.count()),
            Payload::DataSection(all) => self.entries += u64::from(all.count()),
            Payload::InstanceSection(all) => self.entries += u64::from(all.count()),
            Payload::ComponentInstanceSection(all) => self.entries += u64::from(all.count()),
            Payload::ComponentAliasSection(all) => self.entries += u64::from(all.count()),
            Payload::ImportSection(all) => {
                self.entries += u64::from(all.count());
                for import in all.clone().into_imports().flatten() {
                    NAME.holds(import.module.len().max(import.name.len()) as u64)?;
                }
            }
            Payload::ExportSection(all) => {
                self.entries += u64::from(all.count());
                for export in all.clone().into_iter().flatten() {
                    NAME.holds(export.name.len() as u64)?;
                }
            }
            Payload::ComponentImportSection(all) => {
                self.entries += u64::from(all.count());
                for import in all.clone().into_iter().flatten() {
                    NAME.holds(import.name.name.len() as u64)?;
                }
            }
            Payload::ComponentExportSection(all) => {
                self.entries += u64::from(all.count());
                for export in all.clone().into_iter().flatten() {
                    NAME.holds(export.name.name.len() as u64)?;
                }
            }
            Payload::CodeSectionEntry(body) => {
                BODY.holds(body.range().len() as u64)?;
                let locals = body.get_locals_reader().into_iter().flatten().flatten();
                let locals: u64 = locals.map(|(count, _)| u64::from(count)).sum();
                LOCALS.holds(locals)?;
                self.locals += locals;
            }
            _ => {}
        }
        TYPES.holds(self.types)?;
        FUNCTIONS.holds(self.functions)?;
        ENTRIES.holds(self.entries)?;
        ALL_LOCALS.holds(self.locals)
    }
}
