//! The shop's services for a rehearsal: the small stand-ins of `fixtures/services`, real processes on the rehearsal's
//! stores, which end with it.

use super::itself;
use crate::checks::smoke::Side;
use crate::effects::postgres;
use crate::effects::process::{Program, Running};
use crate::effects::wait::{self, Patience, State};
use crate::model::Service;
use crate::settings::{Server, Services, Settings};
use crate::{refuse, sql_file};
use anyhow::{Context, Result, bail};
use secrecy::SecretString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Until one of them listens.
const STARTING: Patience =
    Patience { deadline: Duration::from_secs(30), interval: Duration::from_millis(10) };

const LISTENING: &str = "listening on ";

/// The services, running: where they answer, and where their logs are.
pub struct ShopServices {
    running: Vec<(Service, Running)>,
    pub services: Services,
    pub token: SecretString,
}

/// The program of the services, which is built beside this one.
///
/// # Errors
/// Refuses where it is not there.
pub fn program() -> Result<PathBuf> {
    let path = itself::own()?.with_file_name("shop-services");
    if !path.is_file() {
        refuse!(
            "the shop's services are not built ({} is not there): `cargo build --workspace`",
            path.display()
        );
    }
    Ok(path)
}

impl ShopServices {
    /// Started one after the other, who is asked before who asks. Their logs go into `home`.
    pub async fn start(program: &Path, settings: &Settings, side: Side, home: &Path) -> Result<ShopServices> {
        let logs = home.join("services");
        fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        let user = user(settings).await?;
        let token = SecretString::from(format!("{:032x}", fastrand::u128(..)));
        let mut all = ShopServices { running: Vec::new(), services: Services::default(), token };
        for service in Service::ALL {
            let path = logs.join(format!("{}-{}.log", side.name(), service.name()));
            let one = all.one(program, service, settings, side).arg("--user").arg(&user);
            let address = all.started(service, one, &path).await?;
            let path_of_it = match service {
                Service::Product => "/products",
                Service::Order => "/api/orders",
                Service::User | Service::Gateway => "/health",
            };
            all.services.endpoints.insert(service, format!("http://{address}{path_of_it}"));
            all.services.logs.insert(service, path);
        }
        Ok(all)
    }

    /// Its store, and where the others answer.
    fn one(&self, program: &Path, service: Service, settings: &Settings, side: Side) -> Program {
        let mut one = Program::new(program, [service.key(), "--listen", "127.0.0.1:0"]);
        for (option, asked) in
            [("--users", Service::User), ("--products", Service::Product), ("--orders", Service::Order)]
        {
            if let Some(endpoint) = self.services.endpoints.get(&asked) {
                one = one.arg(option).arg(endpoint);
            }
        }
        // What is named for other programs does not count.
        let one = one
            .env("SHOP_TOKEN_FILE", "")
            .env("DATABASE_PASSWORD_FILE", "")
            .secret("SHOP_TOKEN", &self.token);
        let server = match (side, service.database()) {
            (Side::Old, _) => Some(&settings.source),
            (Side::New, Some(database)) => Some(settings.target(database)),
            (Side::New, None) => None,
        };
        let one = match server {
            Some(server) => on(one, server),
            None => one
                .env("GOOGLE_CLOUD_PROJECT", &settings.firestore.project)
                .env("FIRESTORE_DATABASE", &settings.firestore.database)
                .env("FIRESTORE_EMULATOR_HOST", settings.firestore.emulator.as_deref().unwrap_or_default()),
        };
        if side == Side::Old { one.arg("--old") } else { one }
    }

    /// Returns where it listens.
    async fn started(&mut self, service: Service, program: Program, log: &Path) -> Result<String> {
        let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
        let running = program.own_group().output(file.try_clone()?, file).start()?;
        let what = format!("{service} to listen");
        let address = wait::for_state(what, STARTING, async || {
            let text = fs::read_to_string(log).with_context(|| format!("reading {}", log.display()))?;
            let address = text.lines().find_map(|line| line.strip_prefix(LISTENING));
            match (address, running.ended()?) {
                (Some(address), None) if text.ends_with('\n') => Ok(State::Ready(address.to_string())),
                (_, Some(status)) => bail!("{service} ended with {status}: {}", text.trim()),
                _ => Ok(State::NotYet(text.trim().to_string())),
            }
        });
        let address = address.await?;
        self.running.push((service, running));
        Ok(address)
    }

    /// Ends them, the last that was started first, and waits until they are gone.
    pub async fn stop(self) -> Result<()> {
        for (service, running) in self.running.into_iter().rev() {
            running.kill().with_context(|| format!("stopping {service}"))?;
            running.wait().await.with_context(|| format!("stopping {service}"))?;
        }
        Ok(())
    }
}

fn on(program: Program, server: &Server) -> Program {
    let Server { host, port, database, user, .. } = server;
    let url = format!("postgresql://{user}@{host}:{port}/{database}?sslmode={}", server.tls.mode());
    program.env("DATABASE_URL", url).secret("DATABASE_PASSWORD", &server.password)
}

/// Whose the token is: somebody whom both the old database and Firestore know.
async fn user(settings: &Settings) -> Result<String> {
    let mut connection = postgres::connect(&settings.source, "services").await?;
    let rows = connection.rows(sql_file!("phases/smoke/user.sql").text).await?;
    connection.close().await?;
    let row = rows.first().context("the old database has no user that a token could be for")?;
    Ok(sqlx::Row::try_get(row, 0)?)
}
