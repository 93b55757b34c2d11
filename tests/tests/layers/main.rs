//! Who imports whom: no two files of a crate need each other, be it through others. Read off the
//! sources, so that the way in stays one way. Tests are left out: they may look at everything.

mod circles;
mod imports;
mod modules;

use std::path::Path;

use modules::Crate;

/// The crates of the house. Which of them may take something from which, the compiler knows.
const CRATES: [&str; 5] = [
    "guest",
    "host/store",
    "host/coherence",
    "host/ordain",
    "host/server",
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = String::new();
    for folder in CRATES {
        let house = Crate::read(&repository.join(folder).join("src"));
        let imports = imports::all(&house);
        assert!(imports.len() > 15, "{folder}: {} imports", imports.len());
        for circle in circles::find(&imports) {
            found += &format!("\n{folder}: {} files: {circle:?}\n", circle.len());
            for import in imports.iter() {
                if circle.contains(&import.from) && circle.contains(&import.to) {
                    found += &format!("  {import}\n");
                }
            }
        }
    }
    assert!(found.is_empty(), "files that import each other:\n{found}");
}
