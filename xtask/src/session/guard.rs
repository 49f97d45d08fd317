//! What an environment's policy asks for before a command may change anything.

use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::rehearsal_log::{self, Rehearsal};
use crate::settings::{Settings, human};
use anyhow::Result;
use jiff::Timestamp;
use std::path::Path;

/// Accepts that `migrate` has not been rehearsed.
pub const NO_REHEARSAL: &str = "no-rehearsal";

/// For every command that writes to a target or freezes the source: the person has named the environment and its
/// source database, where the policy asks for it. A wrong name is refused everywhere: who writes it thinks of
/// another environment.
pub fn confirmed(settings: &Settings, said: Option<&str>) -> Result<()> {
    let (environment, source) = (&settings.environment, &settings.source);
    let wanted = name_to_confirm(environment, &source.database);
    match said {
        Some(name) if name == wanted => Ok(()),
        Some(name) if name == source.database => refuse!(
            "--confirm {name}: several environments have a database of this name. This is `{environment}`, its source is \
             {source}. If that is meant: --confirm {wanted}"
        ),
        Some(name) => refuse!(
            "--confirm {name}: that is not environment `{environment}`, whose source is {source}. Is this the right \
             environment? If so: --confirm {wanted}"
        ),
        None if settings.policy.confirm => refuse!(
            "environment `{environment}` asks for confirmation before anything is changed: the source is \
             {source}, the targets are {}, {} and {}. If that is meant, rerun the command with \
             --confirm {wanted}",
            settings.product,
            settings.order,
            settings.gateway,
        ),
        None => Ok(()),
    }
}

/// What tells environments apart: `staging/ecommerce_db`. One that is named by its file goes by the file's name.
pub fn name_to_confirm(environment: &str, database: &str) -> String {
    let name = Path::new(environment).file_stem().and_then(|stem| stem.to_str()).unwrap_or(environment);
    format!("{name}/{database}")
}

/// For what takes a migration up: why it is refused where the policy wants the same version and SQL
/// rehearsed lately, and they have not been. The newest such rehearsal counts. `noted_in`: where they were
/// read from.
pub fn unrehearsed(ctx: &Ctx, rehearsals: &[Rehearsal], noted_in: &Path, now: Timestamp) -> Option<String> {
    let policy = &ctx.settings.policy;
    let max_age = policy.rehearsal_max_age?;
    if policy.accepted.iter().any(|name| name == NO_REHEARSAL) {
        return None;
    }
    let found = rehearsal_log::fitting(rehearsals, &ctx.tool_version(), max_age, now).err()?;
    Some(format!(
        "environment `{}` wants a green rehearsal of this tool and its SQL, not older than {}: {found} \
         ({}). Type `cargo xtask rehearse`, then rerun the command, or go without by \
         --accept {NO_REHEARSAL}, which is recorded in the run",
        ctx.settings.environment,
        human(max_age),
        noted_in.display()
    ))
}
