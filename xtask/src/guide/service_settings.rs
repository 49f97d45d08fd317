//! What each service is told instead of the old database: the variables of `docker-compose.services.yml` with the servers
//! of an environment, and where it answers. Of a secret only its name is there.

use crate::model::{Database, Service};
use crate::settings::Settings;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const FILE: &str = "docker-compose.services.yml";

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceSettings {
    pub service: &'static str,
    /// Where it answers; `None`: the environment does not say.
    pub endpoint: Option<String>,
    /// In the order of their names.
    pub variables: BTreeMap<String, String>,
}

pub fn compose_file(workspace: &Path) -> Result<String> {
    let path = workspace.join(FILE);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// `compose`: the text of the file.
///
/// # Errors
/// Where it does not have all services.
pub fn of(settings: &Settings, compose: &str) -> Result<Vec<ServiceSettings>> {
    let mut all = variables(compose);
    Service::ALL
        .into_iter()
        .map(|service| {
            let mut variables = all.remove(service.name()).unwrap_or_default();
            ensure!(!variables.is_empty(), "{FILE} does not say what {} is told", service.name());
            for value in variables.values_mut() {
                *value = in_environment(value, settings);
            }
            if service == Service::User {
                firestore(&mut variables, settings);
            }
            let endpoint = settings.services.endpoints.get(&service).cloned();
            Ok(ServiceSettings { service: service.name(), endpoint, variables })
        })
        .collect()
}

/// Of each service the lines below its `environment`.
fn variables(compose: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let (mut service, mut inside) = (String::new(), false);
    for line in compose.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        match (indent, line.trim().split_once(':')) {
            (2, Some((name, _))) => (service, inside) = (name.to_string(), false),
            (4, Some((name, _))) => inside = name == "environment",
            (6, Some((name, value))) if inside => {
                all.entry(service.clone()).or_default().insert(name.to_string(), value.trim().to_string());
            }
            _ => {}
        }
    }
    all
}

/// With the server's own address for the one inside the containers' network.
fn in_environment(value: &str, settings: &Settings) -> String {
    let mut value = value.to_string();
    for database in Database::ALL {
        let server = settings.target(database);
        let (name, inside) = (database.name(), format!("postgres-{}:5432", database.name()));
        value = value.replace(&format!("{inside}/{name}_database"), &format!("{inside}/{}", server.database));
        value = value.replace(&inside, &format!("{}:{}", server.host, server.port));
    }
    value
}

/// An emulator is told to nobody who works on a project of Google's.
fn firestore(variables: &mut BTreeMap<String, String>, settings: &Settings) {
    variables.insert("GOOGLE_CLOUD_PROJECT".to_string(), settings.firestore.project.clone());
    match &settings.firestore.emulator {
        Some(host) => variables.insert("FIRESTORE_EMULATOR_HOST".to_string(), host.clone()),
        None => {
            variables.remove("FIRESTORE_EMULATOR_HOST");
            let key = "the path of the service's own key, with roles/datastore.user".to_string();
            variables.insert("GOOGLE_APPLICATION_CREDENTIALS".to_string(), key)
        }
    };
}

pub fn text(services: &[ServiceSettings]) -> String {
    let mut out = "What each service is told now (passwords: where they come from)\n".to_string();
    for ServiceSettings { service, endpoint, variables } in services {
        let endpoint = endpoint.as_deref().unwrap_or("not in [services] of the environment");
        out += &format!("{service}\n  answers at: {endpoint}\n");
        variables.iter().for_each(|(name, value)| out += &format!("  {name}={value}\n"));
    }
    out
}
