//! As units of systemd: a service that runs once, and the timer that starts it, also after the machine was off at the
//! time.

use super::{DELAY_SECONDS, Installed, Job, MARK, What, is_ours, name, remove, write};
use crate::effects::process::Program;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whose units: the machine's, or one person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    System,
    User,
}

/// Whether systemd is told; not where units are written into some directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Systemd(Manager),
    Nobody,
}

/// Whether systemd runs this machine.
pub fn is_here() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The service and the timer, by the names of their files.
pub fn units(job: &Job) -> [(String, String); 2] {
    let (name, what, environment) = (job.name(), job.what, one_line(&job.environment));
    let on_failure = match &job.on_failure {
        Some(unit) => format!("OnFailure={}\n", one_line(unit)),
        None => {
            "# Who is to hear of a failure: OnFailure=some-mail@%n.service (schedule install --on-failure)\n"
                .to_string()
        }
    };
    let description = match what {
        What::Backup => "Backup of the new stores",
        What::Drill => "Restore drill of the stores' backups",
    };
    let command = std::iter::once(job.program.display().to_string()).chain(job.arguments.iter().cloned());
    let command = command.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ");
    let service = format!(
        "# {MARK}\n[Unit]\nDescription={description}, environment {environment}\n{on_failure}\n[Service]\nType=oneshot\n\
         WorkingDirectory={}\n# The secrets that the environment names, NAME=value on each line, mode 0600.\n\
         EnvironmentFile=-{}\nExecStart={command}\nUMask=0077\nNice=10\nTimeoutStartSec=infinity\n",
        specifiers(&job.directory.display().to_string()),
        specifiers(&job.variables.display().to_string()),
    );
    let timer = format!(
        "# {MARK}\n[Unit]\nDescription={description} every day, environment {environment}\n\n[Timer]\n\
         OnCalendar=*-*-* {}:00\nRandomizedDelaySec={DELAY_SECONDS}\n# What was missed while the machine was off is \
         done when it is on again.\nPersistent=true\nUnit={name}.service\n\n[Install]\nWantedBy=timers.target\n",
        job.at
    );
    [(format!("{name}.service"), service), (format!("{name}.timer"), timer)]
}

/// # Errors
/// Refuses to replace units that are not ours; fails where systemd does not take them, which are written then.
pub async fn install(job: &Job, directory: &Path, telling: Telling) -> Result<Vec<PathBuf>> {
    let units = units(job);
    let paths: Vec<PathBuf> = units.iter().map(|(name, _)| directory.join(name)).collect();
    for (path, (_, text)) in paths.iter().zip(&units) {
        write(path, text, 0o644)?;
    }
    if let Telling::Systemd(manager) = telling {
        systemctl(manager, &["daemon-reload"]).await?;
        systemctl(manager, &["enable", "--now", &format!("{}.timer", job.name())]).await?;
    }
    Ok(paths)
}

/// Returns the files that were removed.
pub async fn take_away(
    what: What,
    environment: &str,
    directory: &Path,
    telling: Telling,
) -> Result<Vec<PathBuf>> {
    let name = name(what, environment);
    let (timer, service) =
        (directory.join(format!("{name}.timer")), directory.join(format!("{name}.service")));
    if let (Telling::Systemd(manager), Some(true)) = (telling, is_ours(&timer)?) {
        systemctl(manager, &["disable", "--now", &format!("{name}.timer")]).await?;
    }
    let mut removed = Vec::new();
    for path in [timer, service] {
        if remove(&path)? {
            removed.push(path);
        }
    }
    if let (Telling::Systemd(manager), false) = (telling, removed.is_empty()) {
        systemctl(manager, &["daemon-reload"]).await?;
    }
    Ok(removed)
}

/// `None`: it is not installed there.
pub async fn look(
    what: What,
    environment: &str,
    directory: &Path,
    telling: Telling,
) -> Result<Option<Installed>> {
    let name = name(what, environment);
    let file = directory.join(format!("{name}.timer"));
    if is_ours(&file)? != Some(true) {
        return Ok(None);
    }
    let mut installed = Installed {
        name: name.clone(),
        what,
        file: file.clone(),
        next: String::new(),
        last: None,
        exit_code: None,
    };
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let calendar = text.lines().find_map(|line| line.strip_prefix("OnCalendar="));
    installed.next = calendar.unwrap_or("unknown").to_string();
    if let Telling::Systemd(manager) = telling {
        let timer = shown(manager, &format!("{name}.timer"), "NextElapseUSecRealtime").await?;
        if let Some(next) = timer.get("NextElapseUSecRealtime").filter(|next| !next.is_empty()) {
            installed.next.clone_from(next);
        }
        let wanted = "ExecMainExitTimestamp,ExecMainStatus";
        let service = shown(manager, &format!("{name}.service"), wanted).await?;
        installed.last = service.get("ExecMainExitTimestamp").filter(|at| !at.is_empty()).cloned();
        let code = service.get("ExecMainStatus").and_then(|code| code.parse().ok());
        installed.exit_code = installed.last.as_ref().and(code);
    }
    Ok(Some(installed))
}

async fn shown(manager: Manager, unit: &str, properties: &str) -> Result<BTreeMap<String, String>> {
    let text = systemctl(manager, &["show", unit, &format!("--property={properties}")]).await?;
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_string(), value.to_string()));
    Ok(text.lines().filter_map(pair).collect())
}

async fn systemctl(manager: Manager, arguments: &[&str]) -> Result<String> {
    let user = match manager {
        Manager::System => None,
        Manager::User => Some("--user"),
    };
    let arguments: Vec<&str> = user.into_iter().chain(arguments.iter().copied()).collect();
    let said = Program::new(Path::new("systemctl"), arguments.iter().copied()).read().await;
    said.with_context(|| format!("`systemctl {}`", arguments.join(" ")))
}

/// A word of a command line, as systemd reads it.
fn quoted(word: &str) -> String {
    let escaped = specifiers(word).replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | ':' | '=' | ',');
    if !word.is_empty() && word.chars().all(plain) { escaped } else { format!("\"{escaped}\"") }
}

/// In a line of its own, its percent signs none of systemd's.
fn specifiers(text: &str) -> String {
    one_line(text).replace('%', "%%")
}

fn one_line(text: &str) -> String {
    crate::shown::escaped(text)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_what_they_were() {
        assert_eq!(quoted("--env"), "--env");
        assert_eq!(quoted("/a b/100%"), "\"/a b/100%%\"");
        assert_eq!(quoted("a\"b\\c$d"), "\"a\\\"b\\\\c$$d\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
