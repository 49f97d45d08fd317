//! The migration, from the ground up. A module imports only from the floors below its own, and no two
//! files import each other; `tests/floors.rs` holds that.
//!
//! What touches every row is a crate of its own below all of this: `xtask/datapath`.

// Words: what things are called, and pure logic. No I/O.
pub mod findings;
pub mod forecast;
pub mod hazards;
pub mod health;
pub mod identity;
pub mod journal;
pub mod ledger;
pub mod model;
pub mod remembered;
pub mod shown;
pub mod sql_text;
pub mod steps;
pub mod tables;
pub mod timing;

// What an environment says, and the SQL that catalogue and files fill in.
pub mod settings;
pub mod sql;

// The only places that touch the world.
pub mod effects;

// A run and its files.
pub mod run;

// The old side, the new side, and the servers of a rehearsal.
pub mod changes;
pub mod servers;
pub mod source;
pub mod stores;

// What carries a run forward.
pub mod phases;

// What only looks.
pub mod checks;

// What comes after the cut-over; the guide's lists, which look at all of it.
pub mod guide;
pub mod operations;

// For ourselves: benchmarks and campaigns that break things on purpose.
pub mod lab;

// One call of the tool; one file per command; the line that is typed.
pub mod cli;
pub mod commands;
pub mod session;
