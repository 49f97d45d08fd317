//! The old side: what is read of the monolith, and how it is held still.
//! May import: run and all below it.

pub mod assess;
pub mod backpressure;
pub mod digests;
pub mod drift;
pub mod freeze;
pub mod restore;
pub mod rows;
pub mod sequences;
pub mod services;
pub mod snapshot;
pub mod standby;

use crate::effects::cleanup::Cleanup;

/// What one command does to the source besides reading it.
#[derive(Clone)]
pub struct Handling {
    /// `--freeze`: the source is read-only until the command ends; where its undoing is noted.
    pub freeze: Option<Cleanup>,
    /// Whether every table is digested again at the end.
    pub look_again: bool,
}

impl Default for Handling {
    fn default() -> Handling {
        Handling { freeze: None, look_again: true }
    }
}
