//! Whether each server of an environment can be reached from here, container or not: its name, TCP, TLS, the login,
//! whether a pooler is in between, and whether it takes writes. One line per server, and a verdict in one sentence.

use super::server::{fix_connection, stays_one_session};
use crate::effects::postgres;
use crate::effects::tls;
use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::settings::Server;
use crate::shown::hanging;
use crate::sql_file;
use anyhow::Result;
use datapath::firestore::{Address, Firestore, HOST};
use futures_util::future::join_all;
use serde::Serialize;
use sqlx::Row;
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, lookup_host};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is tried, in this order: what fails is the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Name,
    Tcp,
    Tls,
    Login,
    /// One session stays one: no pooler gives each transaction another.
    Session,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Name => "name",
            Stage::Tcp => "TCP",
            Stage::Tls => "TLS",
            Stage::Login => "login",
            Stage::Session => "session",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Passed {
    pub stage: Stage,
    pub found: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    pub stage: Stage,
    pub why: String,
    /// What repairs it.
    pub fix: String,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct Reached {
    /// `source`, `product`, `order`, `gateway`, `firestore`.
    pub place: String,
    /// `host:port`, with the database.
    pub address: String,
    pub passed: Vec<Passed>,
    /// What it lets sessions do; `None`: it was not asked.
    pub state: Option<&'static str>,
    pub failed: Option<Failed>,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Connectivity {
    pub ready: bool,
    pub verdict: String,
    pub servers: Vec<Reached>,
}

/// Whether the old database is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldSide {
    Asked,
    /// It was decommissioned.
    Gone,
}

/// Looks at all servers at once. Changes nothing.
pub async fn look(ctx: &Ctx, old: OldSide) -> Connectivity {
    let s = &ctx.settings;
    let old = (old == OldSide::Asked).then_some(&s.source);
    let servers = old.into_iter().chain([&s.product, &s.order, &s.gateway]);
    let databases = join_all(servers.map(|server| database(ctx, server)));
    let (mut servers, firestore) = tokio::join!(databases, firestore(ctx));
    servers.push(firestore);
    Connectivity { ready: servers.iter().all(|s| s.failed.is_none()), verdict: verdict(&servers), servers }
}

async fn database(ctx: &Ctx, server: &Server) -> Reached {
    let Server { label, host, port, database, .. } = server;
    let mut reached = Reached::new(label, format!("{host}:{port}/{database}"));
    let outcome = match network(&mut reached, &format!("{host}:{port}")).await {
        Ok(()) => session(ctx, server, &mut reached).await,
        Err(failed) => Err(failed),
    };
    reached.failed = outcome.err();
    reached
}

/// The name and TCP. `at`: `host:port`.
async fn network(reached: &mut Reached, at: &str) -> Result<(), Failed> {
    let host = at.rsplit_once(':').map_or(at, |(host, _)| host);
    let names =
        format!("getent hosts {host}   # then correct the host in the environment file, or its name service");
    let failed = |stage: Stage, why: String, fix: String| Failed { stage, why, fix };
    let found = match tokio::time::timeout(PATIENCE, lookup_host(at)).await {
        Err(_) => return Err(failed(Stage::Name, format!("{host} is not looked up within 5 s"), names)),
        Ok(Err(error)) => {
            return Err(failed(Stage::Name, format!("the host {host} has no address ({error})"), names));
        }
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
    };
    let Some(first) = found.first() else {
        return Err(failed(Stage::Name, format!("the host {host} has no address"), names));
    };
    reached.pass(Stage::Name, first.ip().to_string());
    let begun = Instant::now();
    let route = format!("nc -zv {}   # then start the server, or correct the port", at.replacen(':', " ", 1));
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&found[..])).await {
        Err(_) => {
            let why = format!("{at} does not answer within 5 s: a firewall in between, or another address");
            Err(failed(Stage::Tcp, why, route))
        }
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(failed(Stage::Tcp, format!("nothing listens at {at}"), route))
        }
        Ok(Err(error)) => Err(failed(Stage::Tcp, format!("{at} cannot be reached ({error})"), route)),
        Ok(Ok(_)) => {
            reached.pass(Stage::Tcp, format!("{:.1} ms", begun.elapsed().as_secs_f64() * 1000.0));
            Ok(())
        }
    }
}

/// TLS, the login, the session.
async fn session(ctx: &Ctx, server: &Server, reached: &mut Reached) -> Result<(), Failed> {
    let failed = |stage: Stage, error: &anyhow::Error| {
        let why = if stage == Stage::Session { format!("{error:#}") } else { error.to_string() };
        let why = why.strip_prefix(&format!("{server}: ")).unwrap_or(&why);
        let why = why.strip_prefix(&format!("{}: ", stage.name())).unwrap_or(why).to_string();
        Failed { stage, why, fix: fix_connection(server, error) }
    };
    let mut connection = match postgres::connect(server, &ctx.purpose("connectivity")).await {
        Ok(connection) => connection,
        Err(error) if tls::is_cause(server, &error) => return Err(failed(Stage::Tls, &error)),
        Err(error) => return Err(failed(Stage::Login, &error)),
    };
    let looked = async {
        let row = connection.row(sql_file!("phases/0-doctor/connection.sql").text).await?;
        let protection: String = row.try_get("protection")?;
        let tls = match row.try_get::<bool, _>("encrypted")? {
            true => format!("asked {}, got {protection}", server.tls.mode()),
            false => format!("asked {}, got none", server.tls.mode()),
        };
        let state = match (row.try_get::<bool, _>("standby")?, row.try_get::<bool, _>("read_only")?) {
            (true, _) => "read-only: a standby",
            (false, true) => "read-only for new sessions",
            (false, false) => "read-write",
        };
        anyhow::Ok((tls, state, stays_one_session(ctx, server, &mut connection).await?))
    };
    let (tls, state, direct) = looked.await.map_err(|error| failed(Stage::Session, &error))?;
    reached.pass(Stage::Tls, tls);
    reached.pass(Stage::Login, server.user.clone());
    reached.state = Some(state);
    if !direct {
        return Err(Failed {
            stage: Stage::Session,
            why: "a pooler in between gives each transaction another session".to_string(),
            fix: "put the server's own address into the environment file, not the pooler's".to_string(),
        });
    }
    reached.pass(Stage::Session, "its own".to_string());
    // It only looked: there is nothing to lose.
    let _ = connection.close().await;
    Ok(())
}

async fn firestore(ctx: &Ctx) -> Reached {
    let address = Address::from(&ctx.settings.firestore);
    let at = address.emulator.clone().unwrap_or_else(|| format!("{HOST}:443"));
    let mut reached = Reached::new("firestore", format!("{at}/{}", address.project));
    let outcome = match network(&mut reached, &at).await {
        Ok(()) => Firestore::connect(&address).await.map(drop).map_err(|error| Failed {
            stage: Stage::Login,
            why: format!("{error:#}"),
            fix: super::firestore::fix(&address, &error),
        }),
        // What starts it, rather than what looks for it.
        Err(failed) => Err(match &address.emulator {
            Some(host) => Failed { fix: super::firestore::start_emulator(host), ..failed },
            None => failed,
        }),
    };
    if outcome.is_ok() {
        let (tls, login) = match &address.emulator {
            Some(_) => ("none: an emulator", "an emulator asks for none"),
            None => ("TLS", "credentials taken"),
        };
        reached.pass(Stage::Tls, tls.to_string());
        reached.pass(Stage::Login, login.to_string());
    }
    reached.failed = outcome.err();
    reached
}

fn verdict(servers: &[Reached]) -> String {
    let failing: Vec<(&Reached, &Failed)> =
        servers.iter().filter_map(|server| Some((server, server.failed.as_ref()?))).collect();
    let more = match failing.len() {
        0 | 1 => String::new(),
        n => format!("; {} more cannot be used either", n - 1),
    };
    match failing.first() {
        None => format!(
            "✓ all {} servers can be reached from here, with the protection that was asked for",
            servers.len()
        ),
        Some((server, Failed { stage, why, .. })) => {
            format!("✗ {} fails at {}: {why}{more}", server.place, stage.name())
        }
    }
}

impl Reached {
    fn new(place: &str, address: String) -> Reached {
        Reached { place: place.to_string(), address, passed: Vec::new(), state: None, failed: None }
    }

    fn pass(&mut self, stage: Stage, found: String) {
        self.passed.push(Passed { stage, found });
    }

    /// In lines of so many columns, but for what repairs it, which is to be copied.
    fn line(&self, columns: usize) -> String {
        let mark = if self.failed.is_none() { "✓" } else { "✗" };
        let mut parts: Vec<String> =
            self.passed.iter().map(|Passed { stage, found }| format!("{} {found}", stage.name())).collect();
        parts.extend(self.state.map(str::to_string));
        let mut out = format!("  {mark} {:<9} {}: ", self.place, self.address);
        parts.extend(
            self.failed.as_ref().map(|Failed { stage, why, .. }| format!("{} ✗ {why}", stage.name())),
        );
        out = hanging(&(out + &parts.join(" · ")), columns, 6) + "\n";
        if let Some(Failed { fix, .. }) = &self.failed {
            out += &format!("      → {}\n", fix.replace('\n', "\n        "));
        }
        out
    }
}

impl Connectivity {
    pub fn text(&self, columns: usize) -> String {
        let lines = self.servers.iter().map(|server| server.line(columns)).collect::<String>();
        format!("{}\n{lines}", hanging(&self.verdict, columns, 2))
    }

    /// # Errors
    /// Exit code 4, as of `doctor`, where one cannot be used.
    pub fn judge(&self) -> Result<()> {
        match self.servers.iter().filter(|server| server.failed.is_some()).count() {
            0 => Ok(()),
            n => {
                Err(Stop::Refused(format!("{n} of {} servers cannot be used: see above", self.servers.len()))
                    .into())
            }
        }
    }
}
