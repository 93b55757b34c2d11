//! The reference of `wit/`, as wit-bindgen writes it.

use std::path::Path;

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};

const PREFACE: &str = "\
<!-- Generated from wit/ by `make bless`. Do not edit. -->

The contract between the rules (one WebAssembly component) and any host that runs it. The source is
[wit/](../wit), whose files read better from top to bottom; this page is for looking things up.

";

pub fn reference(wit: &Path) -> String {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).expect("wit/ is valid");
    let world = resolve
        .select_world(&[package], None)
        .expect("wit/ has one world");
    let mut files = Files::default();
    let mut generator: Box<dyn WorldGenerator> = wit_bindgen_markdown::Opts::default().build();
    generator
        .generate(&mut resolve, world, &mut files)
        .expect("every type can be described");
    let name = format!("{}.md", resolve.worlds[world].name);
    let (_, text) = files
        .iter()
        .find(|(file, _)| *file == name)
        .expect("a page for the world");
    let text = std::str::from_utf8(text).expect("Markdown is text");
    let lines = text.lines().map(|line| line.trim_end().to_owned() + "\n");
    PREFACE.to_owned() + &lines.collect::<String>()
}
