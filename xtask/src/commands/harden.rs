//! What nobody needs is taken away, and tried (`operations/harden`). What it comes to is noted in the journal of the
//! run that is cut over.

use crate::effects::secret_file;
use crate::identity::ServerName;
use crate::model::{Database, refused};
use crate::operations::harden::{self, Mode, NamedRoles, Outcome, Wanted, Weakness};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::{dir, servers};
use crate::servers::docker::Container;
use crate::session::{Command, Servers, Session};
use crate::steps::CommandName;
use anyhow::Result;
use clap::ValueEnum;
use std::path::PathBuf;

/// Least rights, no known passwords; what is forbidden is tried
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which stores [default: all]
    #[arg(value_name = "STORE")]
    stores: Vec<StoreName>,
    /// The role by which a service logs in, where it is not the guide's (`product_user`): product=NAME
    #[arg(long = "role", value_name = "STORE=ROLE", value_parser = named_role)]
    roles: Vec<(Database, String)>,
    /// Who changes rights, where the environment's role may not: a superuser
    #[arg(long = "as", value_name = "ROLE")]
    executor: Option<String>,
    /// The private file with that one's password [default: as the environment's role]
    #[arg(long, value_name = "FILE", requires = "executor")]
    as_password_file: Option<PathBuf>,
    /// Where passwords are written to, a file each [default: secrets/ENVIRONMENT in the checkout]
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Firestore's rules [default: firestore/firestore.rules in the checkout]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Only say what is weak, and what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// The run that it is noted in, or `latest`: the newest that is cut over
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreName {
    Product,
    Order,
    Gateway,
    Firestore,
}

impl StoreName {
    fn database(self) -> Option<Database> {
        match self {
            StoreName::Product => Some(Database::Product),
            StoreName::Order => Some(Database::Order),
            StoreName::Gateway => Some(Database::Gateway),
            StoreName::Firestore => None,
        }
    }
}

fn named_role(text: &str) -> Result<(Database, String), String> {
    let named = text.split_once('=').filter(|(_, role)| !role.is_empty());
    let database = named.and_then(|(name, _)| Database::ALL.into_iter().find(|d| d.name() == name));
    match (database, named) {
        (Some(database), Some((_, role))) => Ok((database, role.to_string())),
        _ => Err(format!("expected product=ROLE, order=ROLE or gateway=ROLE, found {text:?}")),
    }
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let (ctx, manifest) = session.run_in_service(&self.run)?;
        let wanted = self.wanted(session)?;
        if wanted.mode == Mode::Apply {
            session.permitted(&ctx.settings)?;
        }
        if let Some(manifest) = &manifest {
            servers::belongs(&ctx, manifest, &ServerName::TARGETS, &[]).await.map_err(refused)?;
        }
        let outcome = run(&ctx, &wanted).await?;
        session.done(&outcome, outcome.text(), self.next(session, &outcome))?;
        outcome.judge()
    }
}

impl Args {
    fn wanted(&self, session: &Session<'_>) -> Result<Wanted> {
        let all = self.stores.is_empty();
        let mut databases: Vec<Database> = self.stores.iter().filter_map(|name| name.database()).collect();
        databases.sort();
        databases.dedup();
        if all {
            databases = Database::ALL.to_vec();
        }
        let rules = self.rules.clone().unwrap_or_else(|| session.workspace.join("firestore/firestore.rules"));
        let password = match &self.as_password_file {
            None => None,
            Some(file) => match secret_file::read(file).map_err(refused)? {
                Some(password) => Some(password),
                None => refuse!("--as-password-file: there is no file {}", file.display()),
            },
        };
        let (_, file) = session.environment_file()?;
        let name = file.file_stem().unwrap_or_default();
        Ok(Wanted {
            mode: if self.dry_run { Mode::Look } else { Mode::Apply },
            databases,
            rules: (all || self.stores.contains(&StoreName::Firestore)).then_some(rules),
            roles: self.roles.iter().cloned().collect::<NamedRoles>(),
            executor: self.executor.clone().map(|role| (role, password)),
            secrets: match &self.secrets {
                Some(directory) => std::path::absolute(directory)?,
                None => session.workspace.join("secrets").join(name),
            },
            published: published(&session.containers),
        })
    }
}

impl Args {
    fn next(&self, session: &Session<'_>, outcome: &Outcome) -> String {
        let says_more = outcome.stores.iter().any(|store| store.environment.is_some());
        match (outcome.mode, outcome.findings()) {
            (Mode::Look, 0) => "look after the services".to_string(),
            (Mode::Look, _) => session.then(&self.without_look()),
            (Mode::Apply, _) if says_more => {
                format!(
                    "change the environment's file as said above, then {}",
                    session.then("verify --run latest")
                )
            }
            (Mode::Apply, _) => session.then("verify --run latest"),
        }
    }

    /// The same command, to be done.
    fn without_look(&self) -> String {
        let mut line = "harden".to_string();
        for store in self.stores.iter().filter_map(ValueEnum::to_possible_value) {
            line += &format!(" {}", store.get_name());
        }
        for (database, role) in &self.roles {
            line += &format!(" --role {database}={role}");
        }
        line += &self.executor.as_ref().map(|role| format!(" --as {role}")).unwrap_or_default();
        for (flag, path) in [
            ("--as-password-file", &self.as_password_file),
            ("--secrets", &self.secrets),
            ("--rules", &self.rules),
        ] {
            line += &path.as_ref().map(|path| format!(" {flag} {}", path.display())).unwrap_or_default();
        }
        line
    }
}

/// Noted in the run, where there is one.
async fn run(ctx: &Ctx, wanted: &Wanted) -> Result<Outcome> {
    let work = Box::pin(harden::run(ctx, wanted));
    match dir::has_begun(ctx.run.path()) && wanted.mode == Mode::Apply {
        true => visibly(ctx, CommandName::Harden, work).await,
        false => work.await,
    }
}

/// Ports that the engine has bound to more than this machine.
fn published(containers: &[Container]) -> Vec<Weakness> {
    let of = |container: &Container| {
        let store = container.service.trim_start_matches("postgres-").to_string();
        let name = container.name.clone();
        container.open_to_all.clone().into_iter().map(move |address| Weakness {
            store: store.clone(),
            cis: None,
            what: format!("the container {name} publishes {address}, not on 127.0.0.1 alone"),
            todo: Some("write \"127.0.0.1:PORT:5432\" under ports: in the compose file, or no port".into()),
            weighs: true,
        })
    };
    containers.iter().flat_map(of).collect()
}
