//! The migration, from the bottom up: words, pure logic, effects, the run, phases, commands.
//! A module imports only from the floors below its own; `tests/floors.rs` holds that.

// Words.
pub mod model;
pub mod tables;

// Pure: no I/O.
pub mod column_types;
pub mod forecast;
pub mod hazards;
pub mod health;
pub mod journal;
pub mod ledger;
pub mod manifest;
pub mod settings;
pub mod sql;
pub mod summary;
pub mod turns;

// The only places that touch the world.
pub mod effects;

// A run and its context.
pub mod ctx;
pub mod freezes;
pub mod rehearsals;
pub mod run_dir;

pub mod phases;

pub mod commands;

pub mod cli;
