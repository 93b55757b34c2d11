//! Component files made by hand: broken ones, ones of other worlds, and real ones that do something
//! when they are instantiated. Functions of other worlds trap when they are called.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

use super::real;

/// The real component, cut off in the middle.
pub fn truncated() -> Vec<u8> {
    let mut bytes = real();
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// No component at all.
pub fn random(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64 << 10];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// What begins as a component does, and goes on at random.
pub fn random_component(seed: u64) -> Vec<u8> {
    [COMPONENT, &random(seed)].concat()
}

/// A core module, as a compiler without the component model makes it.
pub fn core_module() -> Vec<u8> {
    module(r#"(module (func (export "resolve") (result i32) i32.const 1))"#)
}

/// A component of the world of a changed `wit/`: `change` gets the name and the text of each file.
/// Its functions trap.
pub fn of_world(change: impl Fn(&str, String) -> String) -> Vec<u8> {
    of_world_with("", change)
}

/// The same with `more` WIT in a file of its own, beside those of the platform.
pub fn of_world_with(more: &str, change: impl Fn(&str, String) -> String) -> Vec<u8> {
    let (resolve, world) = changed(more, change);
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a module can say what its world is");
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .expect("a module of a world makes a component")
}

fn changed(more: &str, change: impl Fn(&str, String) -> String) -> (Resolve, WorldId) {
    let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    for part in ["", "deps", "deps/host"] {
        let to = folder.path().join(part);
        std::fs::create_dir_all(&to).expect("a folder");
        for file in std::fs::read_dir(from.join(part))
            .expect("wit/ is there")
            .flatten()
        {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.ends_with(".wit") {
                let text = std::fs::read_to_string(file.path()).expect("WIT is text");
                std::fs::write(to.join(&name), change(&name, text)).expect("a file");
            }
        }
    }
    if !more.is_empty() {
        std::fs::write(folder.path().join("deps/host/more.wit"), more).expect("a file");
    }
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(folder.path())
        .expect("the changed WIT can be parsed");
    let world = resolve
        .select_world(&[package], None)
        .expect("wit/ has one world");
    (resolve, world)
}

/// The real component as one of other versions: it says that its policies are of 1.0.0, which had
/// no `resolve-batch` (that is still in the file, and no host may take it for a function of that
/// version), and it has a capability that no host knows, and no configs.
pub fn other_versions() -> Vec<u8> {
    renamed(&[
        ("ordain:policy/policy@1.1.0", "ordain:policy/policy@1.0.0"),
        (
            "ordain:policy/settings@1.1.0",
            "ordain:policy/settings@1.0.0",
        ),
        ("ordain:policy/types@1.1.0", "ordain:policy/types@1.0.0"),
        ("ordain:config/config@1.0.0", "ordain:events/events@1.0.0"),
    ])
}

/// The real component without policies: in their place is a capability that no host knows.
pub fn without_policies() -> Vec<u8> {
    renamed(&[("ordain:policy/policy@1.1.0", "ordain:people/people@1.1.0")])
}

/// The real component with other names of the same length: nothing else in the file has to change.
fn renamed(names: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = real();
    for (name, other) in names {
        let (name, other) = (name.as_bytes(), other.as_bytes());
        assert_eq!(name.len(), other.len());
        let places: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at..].starts_with(name))
            .collect();
        assert!(!places.is_empty(), "the component has no such name");
        for at in places {
            bytes[at..at + other.len()].copy_from_slice(other);
        }
    }
    bytes
}

/// The real component, which computes for ever when it is instantiated.
pub fn start_hangs() -> Vec<u8> {
    with_module("(module (func $f (loop br 0)) (start $f))")
}

/// The real component, which traps when it is instantiated.
pub fn start_traps() -> Vec<u8> {
    with_module("(module (func $f unreachable) (start $f))")
}

/// The real component with one more memory, of so many pages of 64 KiB.
pub fn with_memory(pages: u32) -> Vec<u8> {
    with_module(&format!("(module (memory {pages}))"))
}

/// The real component with one more table.
pub fn with_table(entries: u32) -> Vec<u8> {
    with_module(&format!("(module (table {entries} funcref))"))
}

/// The real component with one more function, which has so many locals.
pub fn with_locals(count: usize) -> Vec<u8> {
    with_module(&format!("(module (func (local {})))", "i64 ".repeat(count)))
}

/// The real component with so many more functions that each keep `locals` values over `loops`
/// loops: of modest size, and dear to compile.
pub fn with_dear_functions(functions: usize, locals: usize, loops: usize) -> Vec<u8> {
    let mut body = Vec::new();
    // One group of locals, of type i64.
    body.push(1);
    leb(&mut body, locals);
    body.push(I64);
    for number in 1..locals {
        // set number (load (const 8 * number))
        body.push(0x41);
        leb(&mut body, number % 64);
        body.extend([0x29, 3, 0, 0x21]);
        leb(&mut body, number);
    }
    for number in 0..loops {
        let (one, other) = (1 + number % (locals - 1), 1 + (number * 7) % (locals - 1));
        // loop: set one (add (get one) (get other)); br_if 0 (eqz (get other)); end
        body.extend([0x03, 0x40]);
        for (instruction, local) in [(0x20, one), (0x20, other)] {
            body.push(instruction);
            leb(&mut body, local);
        }
        body.extend([0x7c, 0x21]);
        leb(&mut body, one);
        body.push(0x20);
        leb(&mut body, other);
        body.extend([0x50, 0x0d, 0, 0x0b]);
    }
    for number in 1..locals {
        // set 0 (add (get 0) (get number))
        body.extend([0x20, 0, 0x20]);
        leb(&mut body, number);
        body.extend([0x7c, 0x21, 0]);
    }
    body.extend([0x20, 0, 0x0b]);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type: nothing to an i64.
    section(&mut module, 1, &[1, 0x60, 0, 1, I64]);
    let (mut of_types, mut code) = (Vec::new(), Vec::new());
    leb(&mut of_types, functions);
    leb(&mut code, functions);
    of_types.extend(std::iter::repeat_n(0, functions));
    for _ in 0..functions {
        leb(&mut code, body.len());
        code.extend_from_slice(&body);
    }
    section(&mut module, 3, &of_types);
    section(&mut module, 5, &[1, 0, 1]);
    section(&mut module, 10, &code);
    with_core_module(&module)
}

/// The real component with a name as long as this on an import.
pub fn with_name(length: usize) -> Vec<u8> {
    with_module(&format!(
        "(module (func (export \"{}\")))",
        "n".repeat(length)
    ))
}

/// A type of WebAssembly.
const I64: u8 = 0x7e;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// Sections of a component.
const CORE_MODULE: u8 = 1;
const CORE_INSTANCES: u8 = 2;

/// The real component, followed by a module and its instantiation.
fn with_module(text: &str) -> Vec<u8> {
    with_core_module(&module(text))
}

fn with_core_module(module: &[u8]) -> Vec<u8> {
    let mut bytes = real();
    let index = count_modules(&bytes);
    section(&mut bytes, CORE_MODULE, module);
    // One instance: of a module, of that index, with no arguments.
    let mut instance = vec![1, 0];
    leb(&mut instance, index);
    instance.push(0);
    section(&mut bytes, CORE_INSTANCES, &instance);
    bytes
}

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is a module")
}

fn count_modules(component: &[u8]) -> usize {
    let mut rest = component.strip_prefix(COMPONENT).expect("a component");
    let mut modules = 0;
    while let Some((id, after)) = rest.split_first() {
        let (length, after) = unleb(after);
        modules += usize::from(*id == CORE_MODULE);
        rest = &after[length..];
    }
    modules
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    leb(bytes, content.len());
    bytes.extend_from_slice(content);
}

/// Appends a number as WebAssembly writes it: seven bits a byte, the lowest first.
fn leb(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn unleb(bytes: &[u8]) -> (usize, &[u8]) {
    let last = bytes.iter().position(|byte| byte & 0x80 == 0);
    let (number, rest) = bytes.split_at(last.expect("a number ends") + 1);
    let digits = number.iter().rev();
    (
        digits.fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f)),
        rest,
    )
}
