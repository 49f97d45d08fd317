//! The engine: where it answers, and what is asked of it.

use crate::refuse;
use crate::servers::docker::container::Container;
use crate::servers::docker::failures;
use anyhow::{Context, Result, anyhow};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::Volume;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveVolumeOptions,
};
use futures_util::{StreamExt, TryStreamExt};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt};

/// For one request; stopping a container may take 10 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the first: an engine that answers does so at once.
const FIRST: Duration = Duration::from_secs(5);

/// An engine that answers.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    /// What `DOCKER_HOST` takes.
    pub host: String,
    /// `20.10.24`
    pub version: String,
}

/// What a command inside a container came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ran {
    /// What it said, as one line.
    pub fn said(&self) -> String {
        let text = [&self.stdout[..], b"\n", &self.stderr[..]].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

impl Engine {
    /// The engine of `DOCKER_HOST`, else the first that answers: Docker's socket, a rootless Docker's,
    /// Docker Desktop's, podman's.
    ///
    /// # Errors
    /// Refuses, and says which of these it is: no socket, no engine behind it, no permission, no answer.
    pub async fn connect() -> Result<Engine> {
        let named = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let hosts = match &named {
            Some(host) => vec![host.clone()],
            None => usual_sockets().into_iter().filter(|s| s.exists()).map(|s| unix(&s)).collect(),
        };
        let mut refusal = None;
        for host in &hosts {
            match Engine::at(host).await {
                Ok(engine) => return Ok(engine),
                // That of the first is what a person has to fix.
                Err(error) => drop(refusal.get_or_insert(error)),
            }
        }
        match refusal {
            Some(error) => Err(error),
            None => refuse!("{}", failures::no_socket(&usual_sockets())),
        }
    }

    async fn at(host: &str) -> Result<Engine> {
        let client = match Docker::connect_with_host(host) {
            Ok(client) => client.with_timeout(PATIENCE),
            Err(Error::SocketNotFoundError(path)) => {
                refuse!("{}", failures::no_socket(&[PathBuf::from(path)]))
            }
            Err(error) => refuse!("DOCKER_HOST={host} cannot be used: {error}"),
        };
        let asked = async {
            let docker = client.negotiate_version().await?;
            let version = docker.version().await?;
            Ok((docker, version.version.unwrap_or_default()))
        };
        match tokio::time::timeout(FIRST, asked).await {
            Ok(Ok((docker, version))) => Ok(Engine { docker, host: host.to_string(), version }),
            Ok(Err(error)) => refuse!("{}", failures::no_engine(host, &error)),
            Err(_) => refuse!(
                "the Docker engine at {host} has not answered within {} s: is it the right address? \
                 `docker version` asks the same; `systemctl restart docker` starts it again",
                FIRST.as_secs()
            ),
        }
    }

    /// The containers that carry all these labels, running or not, by service.
    pub async fn containers(&self, labels: &[(&str, &str)]) -> Result<Vec<Container>> {
        let labels: Vec<String> = labels.iter().map(|(key, value)| of_label(key, value)).collect();
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.said("listing containers", self.docker.list_containers(Some(options)).await)?;
        let mut found = Vec::new();
        for id in listed.into_iter().filter_map(|c| c.id) {
            // `None`: it was removed between the list and this look.
            found.extend(self.container(&id).await?);
        }
        found.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(found)
    }

    /// The container of that name or id; `None` where there is none.
    pub async fn container(&self, name: &str) -> Result<Option<Container>> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(inspected) => Ok(Some(Container::from(inspected))),
            Err(error) if failures::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failure(&format!("inspecting the container {name}"), error)),
        }
    }

    /// The last lines of a container's log, with their time.
    pub async fn log(&self, container: &str, lines: usize) -> Result<Vec<String>> {
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
        let logged: Result<Vec<LogOutput>, Error> =
            self.docker.logs(container, Some(options)).try_collect().await;
        let logged = self.said(&format!("reading the log of {container}"), logged)?;
        let text: String = logged.iter().map(LogOutput::to_string).collect();
        let lines = text.lines().map(|l| l.trim_end().to_string()).filter(|l| !l.is_empty());
        Ok(lines.collect())
    }

    /// Runs a command inside a container, without a terminal: bytes go in and out as they are.
    /// `secrets` become variables of the command, which no list of processes shows.
    pub async fn run(
        &self,
        container: &str,
        command: &[&str],
        secrets: &[(&str, &SecretString)],
        stdin: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Ran> {
        let what = format!("running {} in {container}", command.first().copied().unwrap_or_default());
        let env = secrets.iter().map(|(name, secret)| format!("{name}={}", secret.expose_secret()));
        let exec = CreateExecOptions {
            cmd: Some(command.iter().map(ToString::to_string).collect()),
            env: Some(env.collect()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.said(&what, self.docker.create_exec(container, exec).await)?;
        let options = StartExecOptions { detach: false, tty: false, output_capacity: Some(1 << 20) };
        let started = self.said(&what, self.docker.start_exec(&exec.id, Some(options)).await)?;
        let StartExecResults::Attached { mut output, mut input } = started else {
            return Err(anyhow!("{what}: the engine did not attach to it"));
        };
        let feeder = tokio::spawn(async move {
            let mut stdin = stdin;
            let fed = tokio::io::copy(&mut stdin, &mut input).await;
            fed.and(input.shutdown().await)
        });
        let mut ran = Ran { code: 0, stdout: Vec::new(), stderr: Vec::new() };
        while let Some(part) = output.next().await {
            match self.said(&what, part)? {
                LogOutput::StdErr { message } => ran.stderr.extend_from_slice(&message),
                other => ran.stdout.extend_from_slice(other.as_ref()),
            }
        }
        // A command that ends without having read all leaves its feeder waiting.
        feeder.abort();
        let inspected = self.said(&what, self.docker.inspect_exec(&exec.id).await)?;
        ran.code = inspected.exit_code.with_context(|| format!("{what}: it ended without an exit code"))?;
        Ok(ran)
    }

    /// Where it keeps images, containers and volumes.
    pub async fn root(&self) -> Result<PathBuf> {
        let info = self.said("asking the engine about itself", self.docker.info().await)?;
        Ok(info.docker_root_dir.context("the engine does not say where it keeps its things")?.into())
    }

    pub async fn has_image(&self, image: &str) -> Result<bool> {
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(error) if failures::status(&error) == Some(404) => Ok(false),
            Err(error) => Err(self.failure(&format!("looking for the image {image}"), error)),
        }
    }

    /// Has the engine fetch an image; the error is the engine's own.
    pub async fn pull(&self, image: &str) -> Result<(), String> {
        let (name, tag) = match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        };
        let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
        let mut pulling = self.docker.create_image(Some(options), None, None);
        while let Some(step) = pulling.next().await {
            step.map_err(|error| failures::message(&error))?;
        }
        Ok(())
    }

    /// The volume of that name; `None` where there is none.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.docker.inspect_volume(name).await {
            Ok(volume) => Ok(Some(volume)),
            Err(error) if failures::status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failure(&format!("inspecting the volume {name}"), error)),
        }
    }

    /// The names of the volumes that carry this label.
    pub async fn volumes(&self, label: (&str, &str)) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![of_label(label.0, label.1)])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let listed = self.said("listing volumes", self.docker.list_volumes(Some(options)).await)?;
        let mut names: Vec<String> = listed.volumes.unwrap_or_default().into_iter().map(|v| v.name).collect();
        names.sort();
        Ok(names)
    }

    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        match self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Err(error) if failures::status(&error) == Some(409) => {
                refuse!("{}", failures::volume_in_use(name, &self.users_of_volume(name).await?))
            }
            Err(error) if failures::status(&error) == Some(404) => Ok(()),
            done => self.said(&format!("removing the volume {name}"), done),
        }
    }

    /// The names of the containers that mount it, running or not.
    pub async fn users_of_volume(&self, name: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("volume", vec![name.to_string()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.said("listing containers", self.docker.list_containers(Some(options)).await)?;
        let name_of = |c: bollard::models::ContainerSummary| {
            c.names?.first().map(|n| n.trim_start_matches('/').to_string())
        };
        Ok(listed.into_iter().filter_map(name_of).collect())
    }

    /// The networks that carry this label: id and labels.
    pub async fn networks(&self, label: (&str, &str)) -> Result<Vec<(String, HashMap<String, String>)>> {
        let filters = HashMap::from([("label", vec![of_label(label.0, label.1)])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let listed = self.said("listing networks", self.docker.list_networks(Some(options)).await)?;
        Ok(listed.into_iter().filter_map(|n| Some((n.id?, n.labels.unwrap_or_default()))).collect())
    }

    pub async fn remove_network(&self, id: &str) -> Result<()> {
        match self.docker.remove_network(id).await {
            Err(error) if failures::status(&error) == Some(404) => Ok(()),
            done => self.said("removing a network", done),
        }
    }

    /// Stops it at once and removes it, with the volumes that have no name.
    pub async fn remove_container(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            // Gone, or being removed by another.
            Err(error) if matches!(failures::status(&error), Some(404 | 409)) => Ok(()),
            done => self.said("removing a container", done),
        }
    }

    /// Where a container publishes this port of 127.0.0.1; `None`: no container does.
    pub async fn publisher(&self, port: u16) -> Result<Option<String>> {
        let filters = HashMap::from([("publish", vec![port.to_string()])]);
        let options = ListContainersOptionsBuilder::default().filters(&filters).build();
        let listed = self.said("listing containers", self.docker.list_containers(Some(options)).await)?;
        let first = listed.into_iter().find_map(|c| c.names?.into_iter().next());
        Ok(first.map(|name| name.trim_start_matches('/').to_string()))
    }

    fn said<T>(&self, what: &str, answer: Result<T, Error>) -> Result<T> {
        answer.map_err(|error| self.failure(what, error))
    }

    fn failure(&self, what: &str, error: Error) -> anyhow::Error {
        failures::explained(&self.host, what, error)
    }
}

fn of_label(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_string() } else { format!("{key}={value}") }
}

fn unix(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

fn usual_sockets() -> Vec<PathBuf> {
    let of = |variable: &str, rest: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(rest));
    let sockets = [
        Some(PathBuf::from("/var/run/docker.sock")),
        of("XDG_RUNTIME_DIR", "docker.sock"),
        of("HOME", ".docker/run/docker.sock"),
        of("XDG_RUNTIME_DIR", "podman/podman.sock"),
        Some(PathBuf::from("/run/podman/podman.sock")),
    ];
    sockets.into_iter().flatten().collect()
}
