//! The run that a command works on: a new one, or one that is there, which has to be of this environment.

use super::arguments::{RunArgs, SourceArgs};
use super::call::Session;
use crate::model::{Existing, refused};
use crate::refuse;
use crate::run::caught_up;
use crate::run::ctx::{Ctx, Options};
use crate::run::dir::{self, Latest, RunDir};
use crate::run::freeze_log::FreezeLog;
use crate::run::manifest::Manifest;
use crate::run::servers;
use crate::servers::native;
use crate::settings::Settings;
use crate::source::Handling;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;

impl Session<'_> {
    pub fn new_run(&self, args: &SourceArgs, existing: Existing) -> Result<Arc<Ctx>> {
        let ctx = self.of_source(args, existing, self.options()?, |runs| {
            let created = RunDir::create(runs).with_context(|| {
                format!("no run can be kept in {}: name a directory with --backup-dir DIR", runs.display())
            });
            created.map_err(refused)
        })?;
        if args.freeze {
            self.permitted(&ctx.settings)?;
        }
        Ok(ctx)
    }

    pub fn of_source(
        &self,
        args: &SourceArgs,
        existing: Existing,
        options: Options,
        run: impl FnOnce(&Path) -> Result<RunDir>,
    ) -> Result<Arc<Ctx>> {
        let mut settings = self.settings()?;
        settings.policy.max_quarantine = args.max_quarantine.or(settings.policy.max_quarantine);
        settings.policy.accepted.clone_from(&args.accept);
        settings.policy.source_rate = args.source_rate.or(settings.policy.source_rate);
        let mut ctx = Ctx::new(settings, TABLES, run(&self.runs())?, options);
        ctx.existing = existing;
        Ok(Arc::new(ctx))
    }

    pub fn handling(&self, args: &SourceArgs) -> Handling {
        Handling { freeze: args.freeze.then(|| self.cleanup.clone()), look_again: !args.no_source_check }
    }

    /// A context that leaves nothing on disk. Where the machine lacks PostgreSQL's programs, that is
    /// found by those who call them.
    pub fn looking(&self, args: &SourceArgs, existing: Existing) -> Result<Arc<Ctx>> {
        let options = self.options_with(native::client_bindir().unwrap_or_default());
        self.of_source(args, existing, options, |runs| Ok(RunDir::dry_run_dir(runs)))
    }

    pub fn existing_run(&self, args: &RunArgs) -> Result<Arc<Ctx>> {
        self.accepting_run(args, &[])
    }

    /// A run with a backup, whether it has been exported or not.
    pub fn backed_up_run(&self, args: &RunArgs) -> Result<Arc<Ctx>> {
        self.run_with(&args.run, Latest::WithBackup, &[])
    }

    /// `accept`: besides what was accepted for the run before.
    pub fn accepting_run(&self, args: &RunArgs, accept: &[String]) -> Result<Arc<Ctx>> {
        self.run_with(&args.run, Latest::WithExport, accept)
    }

    fn run_with(&self, run: &str, latest: Latest, accept: &[String]) -> Result<Arc<Ctx>> {
        let run = self.open(run, latest)?;
        let manifest = run.load_manifest()?;
        self.of_this_environment(&run, &manifest)?;
        let mut settings = self.settings_for(Some(&manifest.servers))?;
        decided(&mut settings, &manifest);
        settings.policy.accepted = manifest.accepted;
        settings.policy.accepted.extend_from_slice(accept);
        let mut ctx = Ctx::new(settings, TABLES, run, self.options()?);
        ctx.existing = existing(manifest.replace);
        Ok(Arc::new(ctx))
    }

    /// The run whose stores the services work on, to be noted there what is found of them: the one that is named, or
    /// with `latest` the newest of this environment that is cut over. Without one a context that leaves nothing
    /// on disk.
    pub fn run_in_service(&self, run: &str) -> Result<(Arc<Ctx>, Option<Manifest>)> {
        self.newest_run(run, |manifest| manifest.cutover.is_some())
    }

    /// The same, or the one that is being caught up with for that, whichever is newer.
    pub fn watched_run(&self, run: &str) -> Result<(Arc<Ctx>, Option<Manifest>)> {
        self.newest_run(run, |manifest| manifest.cutover.is_some() || caught_up::newest(manifest).is_some())
    }

    fn newest_run(
        &self,
        run: &str,
        wanted: impl Fn(&Manifest) -> bool,
    ) -> Result<(Arc<Ctx>, Option<Manifest>)> {
        let found = match run {
            "latest" => newest(&self.runs(), &self.environment_file()?.0, wanted)?,
            run => Some(run.to_string()),
        };
        let run = match &found {
            Some(id) => RunDir::open(&self.runs(), id)?,
            None => RunDir::dry_run_dir(&self.runs()),
        };
        let manifest = found.is_some().then(|| run.load_manifest()).transpose()?;
        let settings = self.settings_for(manifest.as_ref().map(|manifest| &manifest.servers))?;
        // No program of PostgreSQL's is needed.
        let options = self.options_with(native::client_bindir().unwrap_or_default());
        Ok((Arc::new(Ctx::new(settings, TABLES, run, options)), manifest))
    }

    /// A run that was begun before. Which one `latest` is, is said.
    pub fn open(&self, run: &str, latest: Latest) -> Result<RunDir> {
        let environment = self.environment_name()?;
        let id = dir::resolve(&self.runs(), run, latest, Some(&environment))?;
        if run == "latest" {
            self.terminal.line(format!("latest: run {id}"));
        }
        RunDir::open(&self.runs(), &id)
    }

    /// Before a command on it is begun, and noted in its journal.
    fn of_this_environment(&self, run: &RunDir, manifest: &Manifest) -> Result<()> {
        let (environment, _) = self.environment_file()?;
        match servers::of_another_environment(run.id(), manifest, &environment) {
            Some(why) => refuse!("{why}"),
            None => Ok(()),
        }
    }

    /// That the source is frozen is said where somebody is about to go on.
    pub fn tell_of_a_freeze(&self, settings: &Settings) {
        match FreezeLog::at(&self.runs()).open(&FreezeLog::name_of(&settings.source)) {
            Ok(Some(open)) => self.terminal.always(&self.whereabouts.complete(&open.sentence())),
            Ok(None) => {}
            Err(error) => self.terminal.warn(format!("whether the source is frozen is not known: {error:#}")),
        }
    }

    /// A run of which only files are read, whatever it has come to.
    pub fn read_run(&self, run: &str) -> Result<Arc<Ctx>> {
        let run = self.open(run, Latest::Any)?;
        let settings = self.settings_for(Some(&run.load_manifest()?.servers))?;
        let options = self.options_with(native::client_bindir().unwrap_or_default());
        Ok(Arc::new(Ctx::new(settings, TABLES, run, options)))
    }

    /// A run to go on with, under the policy that it was begun with.
    pub fn resumed_run(&self, run: &str, args: &SourceArgs) -> Result<Arc<Ctx>> {
        let run = self.open(run, Latest::Unfinished)?;
        let manifest = run.load_manifest()?;
        self.of_this_environment(&run, &manifest)?;
        let mut settings = self.settings_for(Some(&manifest.servers))?;
        let policy = &mut settings.policy;
        let begun_with = manifest.policy.map_or(policy.max_quarantine, |begun| begun.max_quarantine);
        policy.max_quarantine = args.max_quarantine.or(begun_with);
        let accepted = manifest.hazards.into_iter().filter(|h| h.accepted).map(|h| h.name);
        policy.accepted = args.accept.iter().cloned().chain(accepted).collect();
        let mut ctx = Ctx::new(settings, TABLES, run, self.options()?);
        ctx.existing = existing(manifest.replace);
        Ok(Arc::new(ctx))
    }
}

/// The newest run of this environment that is wanted.
///
/// # Errors
/// Where a newer one cannot be read: it might be the one.
fn newest(parent: &Path, environment: &str, wanted: impl Fn(&Manifest) -> bool) -> Result<Option<String>> {
    for id in dir::ids(parent)?.into_iter().rev() {
        let manifest = dir::load_manifest(&parent.join(&id))?;
        if manifest.environment == environment && wanted(&manifest) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What decided a row when the run began, decides what has to be there.
fn decided(settings: &mut Settings, manifest: &Manifest) {
    if let Some(begun) = &manifest.policy {
        settings.policy.null_policy = begun.null_policy;
        settings.policy.source_zone.clone_from(&begun.source_zone);
    }
}

pub fn existing(replace: bool) -> Existing {
    if replace { Existing::Replace } else { Existing::Refuse }
}
