//! The program `ordain`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ordain::cli::main()
}
