//! The program `ordain`; everything is in the library.

use std::process::ExitCode;

/// A request makes some twenty small allocations, most of them freed by the same thread soon after.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ordain_server::cli::main()
}
