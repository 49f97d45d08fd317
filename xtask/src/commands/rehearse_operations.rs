//! What comes after the cut-over, in a rehearsal: the stores are hardened, backed up, and every backup is restored and
//! compared.

use crate::commands::restore_drill;
use crate::effects::cleanup::Cleanup;
use crate::effects::secret_file;
use crate::model::{Database, Stop};
use crate::operations::harden::{self, Hardened, Mode, NamedRoles, Wanted};
use crate::operations::store_backups::{self, Held, Target};
use crate::run::command::visibly;
use crate::run::ctx::{Ctx, Options};
use crate::run::dir::RunDir;
use crate::steps::CommandName;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;

/// How the stores are looked after.
#[derive(Clone, Copy)]
pub struct Operations<'a> {
    /// Who may change rights on these servers, where the tool's own role may not.
    pub superuser: Option<&'a str>,
    pub options: &'a Options,
}

/// The run, as the tool works on it from then on: as the admin that `harden` has made.
///
/// # Errors
/// `Stop::Differs` where a service may do what it must not, or a backup is not what was backed up.
pub async fn hardened(
    ctx: &Arc<Ctx>,
    Operations { superuser, options }: Operations<'_>,
    home: &Path,
) -> Result<Arc<Ctx>> {
    ctx.terminal.phase("Rehearsal: the new stores are hardened");
    let wanted = Wanted {
        mode: Mode::Apply,
        databases: Database::ALL.to_vec(),
        rules: Some(ctx.workspace.join("firestore/firestore.rules")),
        roles: NamedRoles::default(),
        executor: superuser.map(|role| (role.to_string(), None)),
        secrets: home.join("secrets"),
        published: Vec::new(),
    };
    let outcome = visibly(ctx, CommandName::Harden, Box::pin(harden::run(ctx, &wanted))).await?;
    let wrong: Vec<&str> = outcome.of_rights().map(|found| found.what.as_str()).collect();
    if !wrong.is_empty() {
        return Err(Stop::Differs(format!("after harden: {}", wrong.join("; "))).into());
    }
    let tried: usize = outcome.stores.iter().map(|store| store.refused).sum();
    ctx.terminal.always(&format!("✓ hardened: {tried} forbidden things were tried and refused"));
    let mut settings = ctx.settings.clone();
    for (database, store) in Database::ALL.into_iter().zip(&outcome.stores) {
        as_admin(settings.target_mut(database), store)?;
    }
    let run = RunDir::open(ctx.run.runs(), ctx.run.id())?;
    Ok(Arc::new(Ctx::new(settings, ctx.tables, run, options.clone())))
}

fn as_admin(server: &mut crate::settings::Server, store: &Hardened) -> Result<()> {
    for login in store.logins.iter().filter(|login| !login.of_service) {
        let password = secret_file::read(&login.file)?;
        server.password = password.with_context(|| format!("{} is not there", login.file.display()))?;
        server.user.clone_from(&login.role);
    }
    Ok(())
}

/// # Errors
/// `Stop::Differs` where a backup does not come back as it was taken.
pub async fn backed_up(ctx: &Arc<Ctx>, cleanup: &Cleanup) -> Result<()> {
    ctx.terminal.phase("Rehearsal: the new stores are backed up, and the backups drilled");
    let stores = store_backups::directory(ctx.run.runs());
    let held = Target::ALL.into_iter().map(|target| Held::take(&stores, target));
    let held = held.collect::<Result<Vec<Held>>>()?;
    for held in &held {
        store_backups::back_up(ctx, held).await?;
    }
    let drills = restore_drill::noted(ctx, &stores, &held, (None, cleanup)).await?;
    ctx.terminal.always(drills.text().trim_end());
    drills.judge()
}
