//! What a crontab calls: what systemd's timers do by themselves, as a script. Chance, what was missed, a failure that
//! is seen, and how the last run ended.

use super::{DELAY_SECONDS, Job, MARK};
use std::path::{Path, PathBuf};

/// Where the script is, and what it leaves beside itself.
pub struct Place {
    pub script: PathBuf,
    /// Of the last run.
    pub log: PathBuf,
    /// When it ended, and its exit code.
    pub last: PathBuf,
}

impl Place {
    pub fn of(name: &str, folder: &Path) -> Place {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        Place { script: file("sh"), log: file("log"), last: file("last") }
    }
}

pub fn text(job: &Job, place: &Place) -> String {
    let path = |path: &Path| quoted(&path.display().to_string());
    let words = job.arguments.iter().map(|word| format!(" {}", quoted(word))).collect::<String>();
    format!(
        "#!/bin/sh\n# {MARK}\numask 077\nlast={last}\nlog={log}\ncase \"$1\" in\n\
         # After a start of the machine: only where the last run is older than a day.\n\
         missed) if [ -n \"$(find \"$last\" -mmin -1440 2>/dev/null)\" ]; then exit 0; fi ;;\n\
         # By chance later, so that many machines do not begin at once.\n\
         delayed) sleep \"$(awk 'BEGIN {{ srand(); print int(rand() * {DELAY_SECONDS}) }}')\" ;;\nesac\n\
         # The secrets that the environment names, NAME=value on each line, mode 0600.\n\
         if [ -r {variables} ]; then set -a; . {variables}; set +a; fi\n\
         cd {directory} || exit 1\n{program}{words} > \"$log\" 2>&1\ncode=$?\n\
         echo \"$(date -u +%Y-%m-%dT%H:%M:%SZ) $code\" > \"$last\"\n\
         # cron sends what is printed.\n\
         if [ \"$code\" -ne 0 ]; then echo {failed}\" $code:\"; tail -n 40 \"$log\"; fi\nexit \"$code\"\n",
        last = path(&place.last),
        log = path(&place.log),
        variables = path(&job.variables),
        directory = path(&job.directory),
        program = path(&job.program),
        failed = quoted(&format!("{} ended with", job.name())),
    )
}

/// A word, as sh reads it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
