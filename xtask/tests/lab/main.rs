//! Benchmarks and campaigns, small: that they measure and find what they say.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tool.rs"]
mod tool;

mod bench;
mod bench_part;
mod changes;
mod chaos;
mod corruptions;
mod new_table;
mod rollbacks;
mod verbs;
