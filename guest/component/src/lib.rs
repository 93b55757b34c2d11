//! The component file `ordain-policy.wasm`: exports what [`guest`] is. Not for rules or code of any
//! kind: it is a crate of its own so that other components can be made of the same crate `guest`.

#[cfg(target_arch = "wasm32")]
use guest::component::{Component, bindings};

// Generated code passes pointers across the border.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)]
mod exports {
    use super::*;
    bindings::export!(Component with_types_in bindings);
}
