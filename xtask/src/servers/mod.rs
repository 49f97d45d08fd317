//! Disposable and local servers: processes of this machine, or containers.
//! May import: run and all below it.

pub mod compose_stack;
pub mod docker;
pub mod local;
pub mod native;
pub mod runtime;
pub mod stacks;
