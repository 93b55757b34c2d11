//! Who imports whom: no two files of a crate need each other, be it through others. Read off the sources,
//! so that the way in stays one way. Tests are left out: they may look at everything.

mod circles;
mod imports;
mod modules;
mod parts;

use std::path::Path;

use modules::Crate;
use parts::Part;

/// The crates of the house.
const CRATES: [&str; 2] = ["guest", "host"];
/// Of the host, from below: what is kept and where; what may be answered from a cache; rules, and what they are
/// asked; the program around it.
const PARTS: [Part; 4] = [
    ("store", &["backends", "ids", "secret", "supervise", "utf8"]),
    ("coherence", &["caches", "coherence", "places", "shares"]),
    (
        "ordain",
        &[
            "answer",
            "capabilities",
            "counts",
            "effective",
            "options",
            "ordain",
            "request",
            "runtime",
            "world",
        ],
    ),
    ("server", &["access", "cli", "config", "http", "metrics"]),
];

#[test]
fn no_files_import_each_other_in_a_circle() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = String::new();
    for folder in CRATES {
        let house = Crate::read(&repository.join(folder).join("src"));
        let imports = imports::all(&house);
        assert!(imports.len() > 20, "{folder}: {} imports", imports.len());
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

#[test]
fn no_part_of_the_host_takes_anything_from_one_above() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src");
    let house = Crate::read(&source);
    assert_eq!(parts::find_forgotten(&PARTS, &house), [""; 0]);
    let imports = imports::all(&house);
    let upward = parts::find_upward(&PARTS, &imports);
    assert!(upward.is_empty(), "imports of a part above: {upward:#?}");
}
