//! The old side: what is read of the monolith, and how it is held still.
//! May import: run and all below it.

pub mod assess;
pub mod backpressure;
pub mod digests;
pub mod drift;
pub mod freeze;
pub mod snapshot;
