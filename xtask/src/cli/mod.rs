//! The command line: every command on a line (`commands.rs`), and the process around it.
//! May import: everything.

mod commands;
mod process;

pub use commands::command;
pub use process::main;
