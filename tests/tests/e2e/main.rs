//! End to end: the real binary over HTTP and as a command line, on real servers and with the real
//! component. One executable, since linking is what costs.
#![allow(clippy::unwrap_used)]

mod access;
mod access_cli;
mod access_keys;
mod access_paths;
mod access_tokens;
mod batch;
mod broken_records;
mod caches;
mod candidate;
mod cli_embedded;
mod cli_remote;
mod cluster;
mod compiled;
mod component;
mod component_fleet;
mod component_refused;
mod configuration;
mod configuration_broken;
mod configuration_guards;
mod feed;
mod hostile;
mod lists;
mod outages;
mod poison;
mod policies;
mod preconditions;
mod problems;
mod purge_prune;
mod purge_prune_calls;
mod random;
mod records;
mod resolve;
mod revisions;
mod start;
mod start_refused;
mod support;
mod swap;
mod swap_faults;
mod tiers;
mod unix_socket;
