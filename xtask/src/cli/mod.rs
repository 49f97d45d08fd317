//! The command line: every command on a line (`commands.rs`), and the process around it.
//! May import: everything.

mod commands;
mod complete;
mod panics;
mod process;
mod shell;
mod usage;

pub use commands::{About, about, command};
pub use process::main;
