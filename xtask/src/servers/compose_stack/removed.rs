//! The container of an old database that was taken out of service, container and all: its stack is whole without it.

use crate::servers::docker::{Container, MONOLITH};
use crate::settings::Server;

/// What was removed.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The containers' names.
    pub containers: Vec<String>,
    /// What its server was; nobody can log in there any more.
    pub server: Server,
}

impl Removed {
    /// Whether it was one of this stack, whose containers are named alike, and is still gone.
    pub fn is_of(&self, stack: &[Container]) -> bool {
        let lacks = !stack.iter().any(|container| container.service == MONOLITH);
        let prefixes = stack.iter().filter_map(|container| container.name.strip_suffix(&container.service));
        let mut names = prefixes.map(|prefix| format!("{prefix}{MONOLITH}"));
        lacks && names.any(|name| self.containers.contains(&name))
    }
}
