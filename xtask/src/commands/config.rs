//! The effective settings of an environment, each with its origin. Works without any server or secret.

use crate::servers::local;
use crate::servers::native::Connections;
use crate::settings::{Environment, Shown, Surroundings};
use anyhow::Result;

/// `stack`: local servers that take the place of the file's.
pub fn show(
    environment: &Environment,
    stack: Option<&Connections>,
    outside: &impl Surroundings,
) -> Result<Shown> {
    match stack {
        Some(stack) => Ok(environment.shown_on(&local::settings(environment, stack)?, &stack.dir)),
        None => Ok(environment.shown(outside)),
    }
}
