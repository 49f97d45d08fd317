//! What a smoke test is about, and what each part of it works with.

use super::scenario::{Scenario, Side};
use crate::effects::cleanup::Cleanup;
use crate::effects::http::Http;
use crate::model::Service;
use crate::run::ctx::Ctx;
use crate::settings::Services;
use anyhow::Result;
use reqwest::Url;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What is looked at, and how.
pub struct Plan {
    pub side: Side,
    pub scenarios: Vec<Scenario>,
    pub services: Services,
    pub token: Option<SecretString>,
    /// How long the services may take until they answer.
    pub wait: Duration,
    /// What is made stays.
    pub keep: bool,
}

/// What every part works with.
pub(super) struct World<'a> {
    pub ctx: &'a Arc<Ctx>,
    pub plan: &'a Plan,
    pub cleanup: &'a Cleanup,
    pub http: Http,
    /// Distinguishes this call of the tool from all others.
    pub id: String,
    /// Services that have not answered, or have no address: why nothing is asked of them.
    pub silent: BTreeMap<Service, String>,
}

impl World<'_> {
    /// An address of a service, by its path.
    pub fn url(&self, service: Service, path: &str) -> Result<Url, String> {
        let endpoint = self.plan.services.endpoints.get(&service);
        let endpoint = endpoint.ok_or_else(|| format!("[services] does not say where {service} answers"))?;
        let url = Url::parse(endpoint).ok().filter(|url| url.has_host());
        let url = url.ok_or_else(|| format!("{endpoint} is not an address over HTTP"))?;
        url.join(path).map_err(|error| format!("{path}: {error}"))
    }
}
