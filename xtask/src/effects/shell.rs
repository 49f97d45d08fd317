//! A command of the operator's own, run by `sh -c`: it ends in time or is ended, and where it fails its last
//! words are told. What it leaves running is its own affair.

use crate::effects::process::{Program, last_lines};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// So much of what it said is looked at, in bytes.
const SAID: u64 = 16 << 10;

/// Runs it to its end, in this directory.
///
/// # Errors
/// Where it cannot be started, ends with another status than 0, or has not ended within `limit`: then it is killed,
/// with all that it has started.
pub async fn run(command: &str, directory: &Path, limit: Duration) -> Result<()> {
    // A file and no pipe: what it leaves running may hold it open.
    let said = tempfile::tempfile().context("making a file for what a command says")?;
    let program = Program::new(Path::new("sh"), ["-c", command]).directory(directory).own_group();
    let running = program.output(said.try_clone()?, said.try_clone()?).start()?;
    match tokio::time::timeout(limit, running.wait()).await {
        Ok(ended) => {
            let ended = ended?;
            if !ended.success() {
                bail!("`{command}` ended with {ended}: {}", last_words(&said)?);
            }
            Ok(())
        }
        Err(_) => {
            running.kill()?;
            bail!(
                "`{command}` has not ended within {} s, and was killed; the last that it said: {}",
                limit.as_secs_f64(),
                last_words(&said)?
            );
        }
    }
}

fn last_words(said: &File) -> Result<String> {
    let length = said.metadata()?.len();
    let mut text = vec![0; usize::try_from(length.min(SAID))?];
    let from = length - text.len() as u64;
    said.read_exact_at(&mut text, from).context("reading what a command said")?;
    Ok(last_lines(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::wait::{self, Patience, State};

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_command_runs_in_its_directory_and_its_last_words_are_told() {
        let dir = tempfile::tempdir().unwrap();
        run("pwd >where; echo lost", dir.path(), LONG).await.unwrap();
        let place = std::fs::read_to_string(dir.path().join("where")).unwrap();
        assert_eq!(Path::new(place.trim()).canonicalize().unwrap(), dir.path().canonicalize().unwrap());
        let failing = "SECRET=hunter2; echo one; echo two >&2; test $SECRET = other";
        let error = run(failing, dir.path(), LONG).await.unwrap_err().to_string();
        assert!(error.ends_with("ended with exit status: 1: one\n  two"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_hangs_is_killed_with_its_children_and_what_it_leaves_running_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        // What runs on holds stdout.
        run("(while [ ! -e stop ]; do sleep 0.05; done; touch late) & echo started", dir.path(), LONG)
            .await
            .unwrap();
        std::fs::write(dir.path().join("stop"), "").unwrap();
        let hanging = "echo waiting; sleep 600 & echo $! >pid; wait";
        let error = run(hanging, dir.path(), Duration::from_millis(300)).await.unwrap_err().to_string();
        let words = "has not ended within 0.3 s, and was killed; the last that it said: waiting";
        assert!(error.contains(words), "{error}");
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        // Killed, it may wait for ever for somebody to take notice of it.
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        wait_for("its child to end", ended).await;
        wait_for("what runs on", || dir.path().join("late").exists()).await;
    }

    async fn wait_for(what: &str, come: impl Fn() -> bool) {
        let patience = Patience { deadline: LONG, interval: Duration::from_millis(20) };
        let look = async || Ok(if come() { State::Ready(()) } else { State::NotYet("not yet") });
        wait::for_state(what, patience, look).await.unwrap();
    }
}
