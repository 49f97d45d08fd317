//! The new databases' containers of this checkout's stack, and their volumes: what goes once nobody needs them.

use crate::refuse;
use crate::servers::docker::{self, Container, Engine};
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Services of docker-compose.yml whose data a rollback may remove; the emulator keeps none.
const NEW_STORES: [&str; 3] = ["postgres-product", "postgres-order", "postgres-gateway"];

/// What is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewStores {
    pub containers: Vec<String>,
    pub volumes: Vec<String>,
}

impl NewStores {
    /// # Errors
    /// Refuses servers that are no containers of this checkout's stack, and a volume that others use.
    pub async fn of(engine: &Engine, stack: &[Container]) -> Result<NewStores> {
        let theirs = |service: &&str| stack.iter().find(|container| container.service == **service);
        let found: Vec<&Container> = NEW_STORES.iter().filter_map(theirs).collect();
        if found.len() != NEW_STORES.len() {
            refuse!(
                "--remove-volumes is for the containers of this checkout's stack, and these servers are none: remove \
                 their data yourself, or leave it out"
            );
        }
        let mut stores = NewStores::default();
        for container in found {
            stores.containers.push(container.name.clone());
            for volume in &container.volumes {
                let users = engine.users_of_volume(volume).await?;
                let foreign: Vec<String> = users.into_iter().filter(|user| *user != container.name).collect();
                if !foreign.is_empty() {
                    refuse!("{}", docker::volume_in_use(volume, &foreign));
                }
                stores.volumes.push(volume.clone());
            }
        }
        Ok(stores)
    }

    /// Removes what is left of them; each is gone, or as it was.
    pub async fn remove(&self, engine: &Engine) -> Result<()> {
        for name in &self.containers {
            if let Some(container) = engine.container(name).await? {
                engine.remove_container(&container.id).await?;
            }
        }
        for volume in &self.volumes {
            engine.remove_volume(volume).await?;
        }
        Ok(())
    }
}
