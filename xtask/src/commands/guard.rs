//! What an environment's policy asks for before a command may change anything.

use crate::ctx::Ctx;
use crate::manifest::ToolVersion;
use crate::refuse;
use crate::rehearsals::Rehearsal;
use crate::settings::{Settings, human};
use anyhow::Result;
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

/// Accepts that `migrate` has not been rehearsed.
pub const NO_REHEARSAL: &str = "no-rehearsal";

/// For every command that writes to a target or holds the source back: the person has named the source
/// database, where the policy asks for it. A wrong name is refused everywhere: who writes it thinks of
/// another environment.
pub fn confirmed(settings: &Settings, said: Option<&str>) -> Result<()> {
    let (environment, source) = (&settings.environment, &settings.source);
    match said {
        Some(name) if name == source.database => Ok(()),
        Some(name) => refuse!(
            "--confirm {name}: environment `{environment}` is not about that database; its source is {source}. \
             Is this the right environment?"
        ),
        None if settings.policy.confirm => refuse!(
            "environment `{environment}` asks for confirmation before anything is changed: the source is \
             {source}, the targets are {}, {} and {}. If that is meant, type the same command again with \
             --confirm {}",
            settings.product,
            settings.order,
            settings.gateway,
            source.database
        ),
        None => Ok(()),
    }
}

/// For `migrate`: the same version and SQL have been rehearsed lately, where the policy asks for it. The
/// newest such rehearsal counts. `noted_in`: where they were read from.
pub fn rehearsed(ctx: &Ctx, rehearsals: &[Rehearsal], noted_in: &Path, now: Timestamp) -> Result<()> {
    let policy = &ctx.settings.policy;
    let Some(max_age) = policy.rehearsal_max_age else { return Ok(()) };
    if policy.accepted.iter().any(|name| name == NO_REHEARSAL) {
        return Ok(());
    }
    if let Err(found) = judge(rehearsals, &ctx.tool_version(), max_age, now) {
        refuse!(
            "environment `{}` wants a green rehearsal of this tool and its SQL, not older than {}: {found} \
             ({}). Type `cargo xtask rehearse`, then the same command again, or go without by \
             --accept {NO_REHEARSAL}, which is recorded in the run",
            ctx.settings.environment,
            human(max_age),
            noted_in.display()
        );
    }
    Ok(())
}

/// `Err`: what was found instead.
fn judge(
    rehearsals: &[Rehearsal],
    tool: &ToolVersion,
    max_age: Duration,
    now: Timestamp,
) -> Result<(), String> {
    let Some(last) = rehearsals.iter().rev().find(|r| r.tool == *tool) else {
        return Err(match rehearsals.last() {
            None => "no rehearsal is noted".to_string(),
            Some(other) if other.tool.version != tool.version => format!(
                "the last one, at {}, was of version {}, this is {}",
                other.at, other.tool.version, tool.version
            ),
            Some(other) => format!("the last one, at {}, was of other SQL", other.at),
        });
    };
    // One from the future (a clock was set back) is not old.
    let age = Duration::try_from(now.duration_since(last.at)).unwrap_or_default();
    match (last.green, age <= max_age) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("the last one, at {}, was not green", last.at)),
        (true, false) => Err(format!("the last one, at {}, is {} old", last.at, human(age))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_green_one_of_the_same_tool_that_is_young_enough() {
        let tool = |version: &str, sql: &str| ToolVersion { version: version.into(), sql: sql.into() };
        let one = |at: &str, tool: &ToolVersion, green| Rehearsal {
            at: at.parse().unwrap(),
            tool: tool.clone(),
            scale: 1,
            green,
            time: None,
        };
        let (this, now) = (tool("1.0.0", "aa"), "2026-01-31T12:00:00Z".parse().unwrap());
        let week = Duration::from_secs(7 * 86_400);
        let judge = |rehearsals: &[Rehearsal]| judge(rehearsals, &this, week, now);
        let young = one("2026-01-24T12:00:00Z", &this, true);
        assert_eq!(judge(std::slice::from_ref(&young)), Ok(()), "just young enough");
        assert_eq!(judge(&[one("2026-02-01T00:00:00Z", &this, true)]), Ok(()), "a clock was set back");
        let error = |rehearsals: &[Rehearsal], words: &str| {
            let found = judge(rehearsals).unwrap_err();
            assert!(found.contains(words), "{words}: {found}");
        };
        error(&[], "no rehearsal is noted");
        error(&[one("2026-01-24T11:59:59Z", &this, true)], "is 7d old");
        error(
            &[one("2026-01-30T12:00:00Z", &tool("0.9.0", "aa"), true)],
            "was of version 0.9.0, this is 1.0.0",
        );
        error(&[one("2026-01-30T12:00:00Z", &tool("1.0.0", "bb"), true)], "was of other SQL");
        // The newest of this tool counts, whatever others were.
        let red = one("2026-01-30T12:00:00Z", &this, false);
        error(&[young.clone(), red.clone()], "2026-01-30T12:00:00Z, was not green");
        let other = one("2026-01-31T00:00:00Z", &tool("1.0.0", "bb"), false);
        assert_eq!(judge(&[red, young, other]), Ok(()));
    }
}
