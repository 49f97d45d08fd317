//! As lines of a crontab, between two that are marked: the lines of others stay as they are.

use super::script::{self, Place, quoted};
use super::{Installed, Job, MARK, What, is_ours, name, remove, write};
use crate::effects::process::Program;
use crate::refuse;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which crontab.
#[derive(Clone, Debug)]
pub enum Crontab {
    /// That of the person who calls.
    Own,
    File(PathBuf),
}

/// The lines of a job.
pub fn block(job: &Job, folder: &Path) -> String {
    let script = Place::of(&job.name(), folder).script;
    // What follows a percent sign is no command for cron.
    let script = quoted(&script.display().to_string()).replace('%', "\\%");
    let (begin, end) = marks(&job.name());
    format!(
        "{begin}\n{} {} * * * {script} delayed\n@reboot {script} missed\n{end}\n",
        job.at.minute, job.at.hour
    )
}

/// What the lines call.
pub fn script(job: &Job, folder: &Path) -> String {
    script::text(job, &Place::of(&job.name(), folder))
}

/// `folder`: where the script goes, and what it leaves. Returns the script's path.
///
/// # Errors
/// Refuses a crontab whose marked lines are not whole.
pub async fn install(job: &Job, crontab: &Crontab, folder: &Path) -> Result<PathBuf> {
    let before = read(crontab).await?;
    let after = without(&before, &job.name())? + &block(job, folder);
    let place = Place::of(&job.name(), folder);
    write(&place.script, &script::text(job, &place), 0o700)?;
    replace(crontab, &after).await?;
    Ok(place.script)
}

/// Returns the script that is gone, or that the lines are.
pub async fn take_away(
    what: What,
    environment: &str,
    crontab: &Crontab,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let name = name(what, environment);
    let before = read(crontab).await?;
    let after = without(&before, &name)?;
    if after != before {
        replace(crontab, &after).await?;
    }
    let place = Place::of(&name, folder);
    let mut removed = Vec::new();
    if remove(&place.script)? {
        removed.push(place.script);
        for left in [place.log, place.last] {
            super::remove_if_there(&left)?;
        }
    }
    Ok(removed)
}

/// `None`: it is not installed there.
pub async fn look(
    what: What,
    environment: &str,
    crontab: &Crontab,
    folder: &Path,
) -> Result<Option<Installed>> {
    let name = name(what, environment);
    let place = Place::of(&name, folder);
    let text = read(crontab).await?;
    let Some(line) = lines_of(&text, &name)?.into_iter().find(|line| line.ends_with(" delayed")) else {
        return Ok(None);
    };
    if is_ours(&place.script)? != Some(true) {
        bail!(
            "the crontab calls {}, which is not there: `cargo xtask schedule install` again",
            place.script.display()
        );
    }
    let mut fields = line.split(' ');
    let (minute, hour) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let last = match fs::read_to_string(&place.last) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading {}", place.last.display())),
    };
    let ended = last.as_deref().and_then(|text| text.trim().split_once(' '));
    Ok(Some(Installed {
        name,
        what,
        file: place.script,
        next: format!(
            "every day at {hour:0>2}:{minute:0>2}, up to {} minutes later",
            super::DELAY_SECONDS / 60
        ),
        last: ended.map(|(at, _)| at.to_string()),
        exit_code: ended.and_then(|(_, code)| code.parse().ok()),
    }))
}

fn marks(name: &str) -> (String, String) {
    (format!("# BEGIN {name}. {MARK}"), format!("# END {name}"))
}

/// The lines between the marks.
fn lines_of(text: &str, name: &str) -> Result<Vec<String>> {
    let (begin, end) = marks(name);
    let (begins, ends) = (positions(text, &begin), positions(text, &end));
    match (begins[..].first(), ends[..].first()) {
        (None, None) => Ok(Vec::new()),
        (Some(from), Some(to)) if from < to && begins.len() == 1 && ends.len() == 1 => {
            Ok(text.lines().take(*to).skip(from + 1).map(String::from).collect())
        }
        _ => refuse!(
            "the crontab has not one line `{begin}` and after it one `{end}`: fix it with `crontab -e`. Nothing has been \
             changed"
        ),
    }
}

fn positions(text: &str, wanted: &str) -> Vec<usize> {
    text.lines().enumerate().filter(|(_, line)| *line == wanted).map(|(at, _)| at).collect()
}

/// All lines but those of this job.
fn without(text: &str, name: &str) -> Result<String> {
    lines_of(text, name)?;
    let (begin, end) = marks(name);
    let (mut out, mut inside) = (String::new(), false);
    for line in text.lines() {
        inside |= line == begin;
        if !inside {
            out += line;
            out.push('\n');
        }
        inside &= line != end;
    }
    Ok(out)
}

async fn read(crontab: &Crontab) -> Result<String> {
    match crontab {
        Crontab::File(path) => match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            text => text.with_context(|| format!("reading {}", path.display())),
        },
        Crontab::Own => {
            let listed = Program::new(Path::new("crontab"), ["-l"]).observed(|_| Ok(())).await;
            let Ok((listed, ())) = listed else {
                refuse!(
                    "this machine has neither systemd nor crontab: --print shows what would be installed, for whatever \
                     starts things here (apt-get install cron)"
                );
            };
            let said = String::from_utf8_lossy(&listed.stderr).into_owned();
            match listed.status.success() {
                true => Ok(String::from_utf8_lossy(&listed.stdout).into_owned()),
                false if said.contains("no crontab for") => Ok(String::new()),
                false => refuse!("`crontab -l` fails: {}", said.trim()),
            }
        }
    }
}

async fn replace(crontab: &Crontab, text: &str) -> Result<()> {
    match crontab {
        Crontab::File(path) => {
            let new = path.with_extension("xtask-new");
            let written = fs::write(&new, text)
                .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(0o600)))
                .and_then(|()| fs::rename(&new, path));
            written.with_context(|| format!("writing {}", path.display()))
        }
        Crontab::Own => {
            let file = tempfile::NamedTempFile::new().context("making a file for crontab")?;
            fs::write(file.path(), text).context("writing a file for crontab")?;
            Program::new(Path::new("crontab"), [file.path()]).read().await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_others_stay_byte_by_byte() {
        let (begin, end) = marks("xtask-backup-x");
        let others = "MAILTO=ops\n\n# BEGIN other\n5 4 * * * echo 100\\% \n";
        let text = format!("{others}{begin}\n0 2 * * * x\n{end}\n7 7 * * * y\n");
        assert_eq!(without(&text, "xtask-backup-x").unwrap(), format!("{others}7 7 * * * y\n"));
        assert_eq!(without(others, "xtask-backup-x").unwrap(), others);
        assert_eq!(without(&text, "xtask-drill-x").unwrap(), text);
        assert_eq!(lines_of(&text, "xtask-backup-x").unwrap(), ["0 2 * * * x"]);
    }

    #[test]
    fn marks_that_are_not_whole_are_refused() {
        let (begin, end) = marks("xtask-backup-x");
        for text in [
            format!("{begin}\n"),
            format!("{end}\n"),
            format!("{end}\n{begin}\n"),
            format!("{begin}\n{begin}\n{end}\n"),
        ] {
            assert!(without(&text, "xtask-backup-x").is_err(), "{text}");
        }
    }
}
