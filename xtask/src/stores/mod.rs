//! The new side: what the targets hold, and how they are changed. Used by phases and checks alike.
//! May import: run and all below it.

pub mod ownership;
pub mod reconcile;
pub mod staging;
