//! A look at a component before it is compiled: how much there is of each thing that compiling
//! takes time and memory for. The limits are many times what a component with rules has. Not for
//! whether it is valid: that is for the compiler to say.

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
    most: 2_000,
};
const ALL_LOCALS: Limit = Limit {
    what: "locals",
    most: 200_000,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn leb(bytes: &mut Vec<u8>, mut number: usize) {
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
    }

    fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
        bytes.push(id);
        leb(bytes, content.len());
        bytes.extend_from_slice(content);
    }

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    /// A component with one module of these sections.
    fn with(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut module = MODULE.to_vec();
        for (id, content) in sections {
            section(&mut module, *id, content);
        }
        let mut bytes = COMPONENT.to_vec();
        section(&mut bytes, 1, &module);
        bytes
    }

    /// A section of so many equal things.
    fn many(count: usize, one: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        leb(&mut content, count);
        content.extend(one.repeat(count));
        content
    }

    #[test]
    fn what_is_plainly_too_much_is_named_with_its_limit() {
        let function = |body: Vec<u8>| {
            let mut code = vec![1];
            leb(&mut code, body.len());
            code.extend(body);
            with(&[(1, many(1, &[0x60, 0, 0])), (3, many(1, &[0])), (10, code)])
        };
        let locals = |count| {
            let mut body = vec![1];
            leb(&mut body, count);
            body.extend([0x7e, 0x0b]);
            function(body)
        };
        let nested = |depth| {
            (0..depth).fold(COMPONENT.to_vec(), |inner, _| {
                let mut outer = COMPONENT.to_vec();
                section(&mut outer, 4, &inner);
                outer
            })
        };
        let export = |length| {
            let mut content = vec![1];
            leb(&mut content, length);
            content.extend(vec![b'n'; length]);
            content.extend([0, 0]);
            with(&[(7, content)])
        };
        for (bytes, words) in [
            (locals(2_001), "2001 locals in one function, at most 2000"),
            (
                function([vec![0], vec![1; 256 << 10]].concat()),
                "bytes in one function",
            ),
            (with(&[(3, many(20_001, &[0]))]), "20001 functions"),
            (with(&[(1, many(10_001, &[0x60, 0, 0]))]), "10001 types"),
            (
                with(&[(6, many(50_001, &[0x7f, 0, 0x41, 0, 0x0b]))]),
                "50001 imports, exports, globals",
            ),
            (export(1_025), "1025 bytes in the name"),
            (nested(9), "components in one another"),
            (
                [COMPONENT, &with(&[])[COMPONENT.len()..].repeat(64)].concat(),
                "modules and components",
            ),
        ] {
            let why = weigh(&bytes).expect_err(words);
            assert!(why.contains(words), "{words}: {why}");
        }
        for good in [locals(2_000), export(1_024), nested(7), with(&[])] {
            assert_eq!(weigh(&good), Ok(()));
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_compiler() {
        for bytes in [
            &b""[..],
            b"\0asm",
            b"nonsense",
            &with(&[(1, many(9, &[0x7f]))]),
        ] {
            assert_eq!(weigh(bytes), Ok(()));
        }
    }
}
