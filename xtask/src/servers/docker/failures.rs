//! What goes wrong with engine and Compose, once, in a sentence that says what to do; their own words are kept for `-v`.

use crate::effects::raw_words;
use anyhow::anyhow;
use bollard::errors::Error;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const START: &str = "start it: `systemctl start docker`, or `dockerd` by itself";

/// The status that the engine answered with.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's own words.
pub(super) fn message(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_string(),
        Error::DockerStreamError { error } => error.trim().to_string(),
        other => other.to_string(),
    }
}

pub(super) fn no_socket(looked: &[PathBuf]) -> String {
    let looked: Vec<String> = looked.iter().map(|p| p.display().to_string()).collect();
    format!(
        "there is no Docker engine: no socket at {}. Install one with `apt-get install docker.io \
         docker-compose`, or {START}; or do without: --runtime native",
        looked.join(", ")
    )
}

/// Why an engine does not answer.
pub(super) fn no_engine(host: &str, error: &Error) -> String {
    match io_kind(error) {
        Some(ErrorKind::PermissionDenied) => {
            let socket = host.trim_start_matches("unix://");
            let mode = std::fs::metadata(socket).map(|m| m.permissions().mode() & 0o777);
            let mode = mode.map(|m| format!(" ({m:o})")).unwrap_or_default();
            format!(
                "the Docker engine's socket {socket}{mode} is not for this user: `sudo usermod -aG docker \
                 $USER`, then log in again"
            )
        }
        Some(ErrorKind::ConnectionRefused) => {
            format!("the Docker engine is not running: nobody answers at {host}; {START}")
        }
        Some(ErrorKind::NotFound) => no_socket(&[PathBuf::from(host.trim_start_matches("unix://"))]),
        _ => {
            raw_words::remember(&with_causes(error));
            format!("the Docker engine at {host} does not answer; {START}")
        }
    }
}

/// The kind of the I/O error at the bottom of an error.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    let mut cause = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        found = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind).or(found);
        cause = error.source();
    }
    found
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// An error in the middle of work.
pub(super) fn explained(host: &str, what: &str, error: Error) -> anyhow::Error {
    let gone = matches!(error, Error::HyperLegacyError { .. } | Error::SocketNotFoundError(_))
        || matches!(io_kind(&error), Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused));
    if gone {
        raw_words::remember(&with_causes(&error));
        return anyhow!(
            "{what}: the Docker engine at {host} has gone; once it runs again (`systemctl start docker`): `cargo xtask \
             stack status`"
        );
    }
    if matches!(error, Error::RequestTimeoutError) {
        return anyhow!(
            "{what}: the Docker engine at {host} is too slow to answer: `systemctl status docker`"
        );
    }
    let said = message(&error);
    raw_words::remember(&said);
    match disk_full(&said) {
        Some(advice) => anyhow!("{what}: {advice}"),
        None => anyhow!("{what}: {}", said.lines().next().unwrap_or_default()),
    }
}

pub(super) fn disk_full(text: &str) -> Option<&'static str> {
    text.contains("No space left on device").then_some(
        "no space is left where the container writes: `docker system df` shows what takes it, \
         `docker system prune` removes what nobody uses",
    )
}

/// A port that Compose was to publish is another's.
#[derive(Debug)]
struct PortTaken(&'static str);

impl std::fmt::Display for PortTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has the port: `cargo xtask doctor` names it", self.0)
    }
}

impl std::error::Error for PortTaken {}

/// Whether Compose failed because of a port.
pub(super) fn is_port_taken(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<PortTaken>())
}

/// What Compose said, in our words where they are known. `image`, `name` and `port` are looked at before
/// Compose is called; it is told of them where another call was quicker.
pub(super) fn compose(said: &str) -> anyhow::Error {
    raw_words::remember(said.trim());
    for (words, who) in
        [("port is already allocated", "another container"), ("address already in use", "another program")]
    {
        if said.contains(words) {
            return PortTaken(who).into();
        }
    }
    for (words, advice) in [
        ("No space left on device", "no space is left: `docker system df` shows what takes it"),
        (
            "is already in use by container",
            "another container has the name: remove or rename it, or set STACK_PREFIX in .env",
        ),
        ("No such image", "the image is not here: build or load it"),
        ("pull access denied", "the image is not here and cannot be pulled: build or load it"),
        (
            "permission denied while trying to connect",
            "the Docker engine's socket is not for this user: `sudo usermod -aG docker $USER`, then log in again",
        ),
        ("Cannot connect to the Docker daemon", "the Docker engine is not running: `systemctl start docker`"),
        ("Couldn't connect to Docker daemon", "the Docker engine is not running: `systemctl start docker`"),
    ] {
        if said.contains(words) {
            return anyhow!(advice);
        }
    }
    // Its last line is the reason, those before it are what it has done.
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    anyhow!("{}", last.unwrap_or("Compose failed without a word"))
}

/// An image that is neither here nor to be had.
pub fn no_image(image: &str, why: &str, emulator: Option<&Path>) -> String {
    let how = match emulator {
        Some(jar) => format!(
            "build it: `docker build --tag {image} --file docker/firestore/Dockerfile {}`",
            jar.parent().unwrap_or(Path::new(".")).display()
        ),
        None => format!(
            "load it from a machine that has it: `docker save {image} | ssh THIS docker load`, or name another \
             in .env"
        ),
    };
    raw_words::remember(why.trim());
    format!("the image {image} is not here and cannot be pulled; {how}")
}

/// A volume that others use.
pub fn volume_in_use(volume: &str, users: &[String]) -> String {
    let users = users.join(" ");
    format!(
        "the volume {volume} is in use by {users}, and stays: `docker rm -f {users}` removes what uses it, then \
         again `cargo xtask stack down --volumes`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compose_says_is_told_once_with_what_to_type() {
        let port = "Creating network\nError response from daemon: driver failed programming external connectivity on \
                    endpoint order-db: Bind for 0.0.0.0:5433 failed: port is already allocated";
        for (said, wanted) in [
            (port, "another container has the port: `cargo xtask doctor` names it"),
            (
                "permission denied while trying to connect to the Docker daemon socket",
                "`sudo usermod -aG docker $USER`",
            ),
            ("Error: No such image: postgres:15", "the image is not here: build or load it"),
            ("Cannot connect to the Docker daemon at unix:///x. Is it running?", "`systemctl start docker`"),
        ] {
            let error = compose(said).context("`docker-compose up` failed");
            assert_eq!(is_port_taken(&error), said == port);
            let told = error.root_cause().to_string();
            assert!(told.contains(wanted) && !told.contains('\n'), "{told}");
            assert!(!told.contains("daemon") && !told.contains("Error"), "{told}");
            assert!(raw_words::last().iter().any(|words| words == said), "for -v: {said}");
        }
        assert_eq!(compose("Pulling x\nwhat nobody knows\n\n").to_string(), "what nobody knows");
    }

    #[test]
    fn an_engine_that_fails_is_told_in_one_line() {
        let error =
            |message: &str| Error::DockerResponseServerError { status_code: 500, message: message.into() };
        let full = "write /var/lib/x: No space left on device";
        let told = explained("unix:///x", "making the container order-db", error(full)).to_string();
        assert!(told.starts_with("making the container order-db: no space is left"), "{told}");
        assert!(told.contains("`docker system prune`") && !told.contains("/var/lib/x"), "{told}");
        let gone = explained("unix:///x", "listing containers", Error::RequestTimeoutError).to_string();
        assert!(gone.contains("too slow to answer: `systemctl status docker`"), "{gone}");
        let other = explained("unix:///x", "listing containers", error("a word\nand its trace")).to_string();
        assert_eq!(other, "listing containers: a word");
    }
}
