//! Disposable local servers without Docker: four PostgreSQL servers and Google's Firestore emulator.
//!
//! They listen on free ports of 127.0.0.1, live in one private directory and go with the [`Stack`]
//! that started them: on success, failure, Ctrl-C (a dropped value). What a killed tool leaves behind
//! is removed by the next start. Linux only: /proc tells which processes are ours.
//!
//! ```text
//! <tmp>/xtask-stack-1a2b3c4d/
//!     lock          held while the tool runs; free = kept on purpose, or a leftover
//!     stack.json    Connections, 0600, written before the first process and after each
//!     source/  product/  order/  gateway/  emulator/      data, owned by the servers' account
//!     initdb.log  source.log  …  emulator.log
//! ```

mod connections;
mod emulator;
mod home;
mod leftovers;
mod machine;
mod options;
mod postgres;
pub(super) mod private;
mod processes;
mod record;
mod stack;

pub use connections::{Connections, EmulatorServer, PostgresServer, SERVERS};
pub use leftovers::{KeptStack, ServerState, kept, remove_leftovers, take_down};
pub use machine::{
    CLIENT_PROGRAMS, Missing, client_bindir, describe, emulator_jar, missing, postgres_bindir,
};
pub use options::{EmulatorChoice, Options};
pub use stack::Stack;
