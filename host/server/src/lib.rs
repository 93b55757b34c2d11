//! The program around the library: HTTP, access, configuration, commands, metrics. Not for what is
//! answered (`ordain`).

pub mod access;
pub mod cli;
pub mod config;
pub mod http;
pub mod metrics;
