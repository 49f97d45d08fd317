//! A container as the engine describes it.

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HealthStatusEnum, PortBinding,
};
use secrecy::SecretString;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The services of docker-compose.yml, by the names that servers have in settings.
pub const SERVICES: [(&str, &str); 5] = [
    ("source", MONOLITH),
    ("product", "postgres-product"),
    ("order", "postgres-order"),
    ("gateway", "postgres-gateway"),
    ("firestore", "firestore-emulator"),
];

pub const MONOLITH: &str = "postgres-monolith";

/// What the engine says of a container's health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has no health check, or the engine (podman) does not report it.
    Unknown,
    Starting,
    Healthy,
    /// With the last output of the check.
    Unhealthy(String),
}

/// One container of a compose project. Not `Debug`: its variables hold passwords.
#[derive(Clone)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: String,
    pub project: String,
    pub service: String,
    /// Where its compose file is.
    pub directory: String,
    /// Of the Compose that made it: `1.29.2`
    pub compose: String,
    pub labels: HashMap<String, String>,
    pub state: ContainerStateStatusEnum,
    pub running: bool,
    pub exit_code: i64,
    pub started_at: String,
    pub health: Health,
    /// Where its ports are published: port inside, address and port outside; also of a stopped one.
    pub ports: BTreeMap<u16, (String, u16)>,
    /// Those of them that are bound to more than this machine, as the engine writes it: `0.0.0.0:5433`.
    pub open_to_all: Vec<String>,
    pub volumes: Vec<String>,
    /// Network and its address there.
    pub networks: BTreeMap<String, String>,
    environment: BTreeMap<String, SecretString>,
}

impl Container {
    /// A variable of the container.
    pub fn variable(&self, name: &str) -> Option<&SecretString> {
        self.environment.get(name)
    }

    /// Where this port of it answers.
    pub fn published(&self, inside: u16) -> Option<(&str, u16)> {
        self.ports.get(&inside).map(|(host, port)| (host.as_str(), *port))
    }

    /// `running (healthy)`, `exited (1)`
    pub fn condition(&self) -> String {
        match (&self.health, self.running) {
            (_, false) if self.state == ContainerStateStatusEnum::EXITED => {
                format!("exited ({})", self.exit_code)
            }
            (_, false) => self.state.to_string(),
            (Health::Unknown, true) => self.state.to_string(),
            (Health::Starting, true) => format!("{} (starting)", self.state),
            (Health::Healthy, true) => format!("{} (healthy)", self.state),
            (Health::Unhealthy(_), true) => format!("{} (unhealthy)", self.state),
        }
    }
}

impl From<ContainerInspectResponse> for Container {
    fn from(inspected: ContainerInspectResponse) -> Container {
        let config = inspected.config.unwrap_or_default();
        let state = inspected.state.unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let bindings = inspected.host_config.and_then(|c| c.port_bindings).unwrap_or_default();
        let live = inspected.network_settings.as_ref().and_then(|s| s.ports.clone()).unwrap_or_default();
        let mut ports = BTreeMap::new();
        let every = live.values().flatten().flatten();
        let open = every.filter(|bound| !bound.host_ip.as_deref().is_some_and(is_of_this_machine));
        let place = |bound: &PortBinding| {
            let host = bound.host_ip.as_deref().filter(|host| !host.is_empty()).unwrap_or("0.0.0.0");
            format!("{host}:{}", bound.host_port.as_deref().unwrap_or_default())
        };
        let open_to_all = open.map(place).collect();
        // What the engine has bound stands over what was asked for.
        for (inside, bound) in bindings.into_iter().chain(live) {
            let inside = inside.split('/').next().and_then(|p| p.parse().ok());
            let first = bound.unwrap_or_default().into_iter().next();
            let outside = first.and_then(|b| Some((reachable(b.host_ip), b.host_port?.parse().ok()?)));
            if let (Some(inside), Some(outside)) = (inside, outside) {
                ports.insert(inside, outside);
            }
        }
        let networks = inspected.network_settings.and_then(|s| s.networks).unwrap_or_default();
        let named = |m: &bollard::models::MountPoint| m.typ.as_ref().is_some_and(|t| *t == "volume");
        let mounts = inspected.mounts.unwrap_or_default();
        let variable = |v: String| v.split_once('=').map(|(k, v)| (k.to_string(), SecretString::from(v)));
        Container {
            id: inspected.id.unwrap_or_default(),
            name: inspected.name.unwrap_or_default().trim_start_matches('/').to_string(),
            image: config.image.unwrap_or_default(),
            project: label("com.docker.compose.project"),
            service: label("com.docker.compose.service"),
            directory: label("com.docker.compose.project.working_dir"),
            compose: label("com.docker.compose.version"),
            state: state.status.unwrap_or(ContainerStateStatusEnum::EMPTY),
            running: state.running.unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            started_at: state.started_at.clone().unwrap_or_default(),
            health: health(&state),
            ports,
            open_to_all,
            volumes: mounts.into_iter().filter(named).filter_map(|m| m.name).collect(),
            networks: networks.into_iter().map(|(n, e)| (n, e.ip_address.unwrap_or_default())).collect(),
            environment: config.env.unwrap_or_default().into_iter().filter_map(variable).collect(),
            labels,
        }
    }
}

fn is_of_this_machine(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A port that is bound to every address is reached at loopback.
fn reachable(host: Option<String>) -> String {
    match host.as_deref() {
        None | Some("" | "0.0.0.0" | "::") => "127.0.0.1".to_string(),
        Some(host) => host.to_string(),
    }
}

fn health(state: &ContainerState) -> Health {
    let Some(health) = &state.health else { return Health::Unknown };
    match health.status {
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::UNHEALTHY) => {
            let last = health.log.as_ref().and_then(|log| log.last()).and_then(|l| l.output.as_ref());
            Health::Unhealthy(last.map(|o| o.trim().to_string()).unwrap_or_default())
        }
        _ => Health::Unknown,
    }
}
