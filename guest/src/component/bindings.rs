//! The world `rules` of `wit/` in Rust, generated. Not for converting its types: that is
//! `convert`.

// Generated code passes pointers across the border and cannot do without `unsafe`; no other code of
// this crate has any.
#![allow(unsafe_code, unused_qualifications)]

wit_bindgen::generate!({
    path: "../wit",
    world: "rules",
    generate_all,
    // Names of subjects are at hand: borrowed, they cross the border without an allocation.
    ownership: Borrowing { duplicate_if_necessary: false },
    // Who builds a component of this crate exports it.
    pub_export_macro: true,
});
