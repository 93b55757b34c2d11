//! The only `bindgen!` of the host. Names the world's types; says nothing about what they mean
//! (`wit/` does).

// What a look-up in near needs is synchronous; what waits for a server is not.
wasmtime::component::bindgen!({
    path: "../wit",
    world: "policy",
    imports: {
        "ordain:policy/far": async,
        "ordain:policy/policy-origin": async,
        "ordain:policy/feed": async,
    },
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub use self::exports::ordain::policy::resolver;
pub use self::ordain::policy::{clock, far, feed, held, log, near, policy_origin, settings, types};
