//! What a restore would come to, and everything that stands in its way, before anything is made.

use super::place;
use super::prove::SCHEMA;
use super::replace::{self, Consent, InPlace};
use crate::effects::disk;
use crate::effects::postgres::Connection;
use crate::identity::ServerName;
use crate::model::{AGAIN, grouped};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Backup, Manifest, left_out_lines};
use crate::run::privileges;
use crate::run::properties::Properties;
use crate::shown::{escaped, utc};
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use datapath::files::FileInfo;
use serde::Serialize;
use sqlx::Row;
use std::collections::BTreeMap;
use std::path::Path;

/// The file of the run that is restored; of a store's backup a directory.
pub const ARCHIVE: &str = "full_backup.dump";

/// Where the backup goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Into a new database of this name.
    Beside(String),
    /// Into the place of the source's own database.
    InPlace(Consent),
}

/// Where the new database's owner, privileges, settings and locale come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Recorded,
    /// The backup is of a version that did not record them: those of the source's database as it is now.
    OfTheSourceNow,
    /// Nor is that database there any more.
    NotKnown,
}

#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub run: String,
    /// When the backup was taken.
    pub taken: String,
    /// `host:port`
    pub server: String,
    /// The new database.
    pub database: String,
    pub archive_bytes: u64,
    /// What the database took on the server then.
    pub database_bytes: u64,
    /// Rows by table.
    pub tables: BTreeMap<String, u64>,
    pub left_out: BTreeMap<String, String>,
    pub properties_from: Origin,
    pub in_place: Option<InPlace>,
    pub obstacles: Vec<String>,
    #[serde(skip)]
    pub(super) properties: Properties,
}

impl Plan {
    /// # Errors
    /// Where the server cannot be asked. What stands in the way is in the plan.
    pub async fn look(ctx: &Ctx, manifest: &Manifest, goal: &Goal) -> Result<Plan> {
        let backup = backup(ctx, manifest)?;
        let (mut connection, _) = place::maintenance(ctx).await?;
        let source = &ctx.settings.source;
        let (properties, properties_from) = properties(&mut connection, &source.database, backup).await?;
        let database = match goal {
            Goal::Beside(name) => name.clone(),
            Goal::InPlace(_) => place::name(&source.database, &format!("_restored_{}", ctx.run.id())),
        };
        let mut obstacles: Vec<String> = place::wrong_name(&database).into_iter().collect();
        obstacles.extend(server(ctx, manifest, backup, &mut connection).await?);
        obstacles.extend(taken(ctx, &mut connection, &database, goal).await?);
        obstacles.extend(rights(&mut connection, &properties, goal, &source.database).await?);
        obstacles.extend(files(ctx, backup));
        let in_place = match goal {
            Goal::Beside(_) => None,
            Goal::InPlace(consent) => {
                let looked = replace::look(ctx, manifest, &mut connection, &database, *consent).await?;
                obstacles.extend(looked.obstacles.clone());
                Some(looked)
            }
        };
        connection.close().await?;
        Ok(Plan {
            run: ctx.run.id().to_string(),
            taken: backup.snapshot.taken.clone(),
            server: format!("{}:{}", source.host, source.port),
            database,
            archive_bytes: archive(backup).map(|(_, file)| file.bytes).sum(),
            database_bytes: backup.snapshot.server.bytes,
            tables: backup.raw.iter().map(|(name, digest)| (name.clone(), digest.rows)).collect(),
            left_out: backup.left_out.clone(),
            properties_from,
            in_place,
            obstacles,
            properties,
        })
    }

    /// # Errors
    /// Refuses with everything at once that stands in the way.
    pub fn possible(&self) -> Result<()> {
        if !self.obstacles.is_empty() {
            refuse!("run {} cannot be restored:\n  {}\n{AGAIN}", self.run, self.obstacles.join("\n  "));
        }
        Ok(())
    }

    pub fn text(&self) -> String {
        let rows = self.tables.values().sum();
        let mut out = format!(
            "Restore of run {}, the source as of {}: {} tables, {} rows\n  archive {} bytes; on the server it took \
             {} bytes, and takes about as many again\n  into the new database {} on {}\n",
            self.run,
            utc(&self.taken),
            self.tables.len(),
            grouped(rows),
            grouped(self.archive_bytes),
            grouped(self.database_bytes),
            escaped(&self.database),
            self.server
        );
        if let Some(line) = self.properties_from.line() {
            out += &format!("  {line}\n");
        }
        for line in left_out_lines(&self.left_out) {
            out += &format!("  not in the dump, and not proven: {line}\n");
        }
        out + &self.in_place.iter().map(InPlace::text).collect::<String>()
    }
}

impl Origin {
    /// What a person has to know of it.
    pub fn line(self) -> Option<&'static str> {
        match self {
            Origin::Recorded => None,
            Origin::OfTheSourceNow => Some(
                "owner, privileges, settings and locale were not recorded by this backup: the new database gets \
                 those that the source's has now",
            ),
            Origin::NotKnown => Some(
                "owner, privileges, settings and locale were not recorded by this backup, and the source's \
                 database is not there: the new database gets PostgreSQL's own, and the locale C",
            ),
        }
    }
}

/// # Errors
/// Refuses a run that has none.
pub(super) fn backup<'a>(ctx: &Ctx, manifest: &'a Manifest) -> Result<&'a Backup> {
    if manifest.environment != ctx.settings.environment {
        refuse!(
            "run {} is of environment `{}`, not of `{}`: say --env {}",
            ctx.run.id(),
            manifest.environment,
            ctx.settings.environment,
            manifest.environment
        );
    }
    match &manifest.backup {
        Some(backup) if !backup.snapshot.hash.is_exact() => refuse!(
            "run {} was made by a version whose digests prove nothing: its backup cannot be proven",
            ctx.run.id()
        ),
        Some(backup) => Ok(backup),
        None => {
            refuse!("run {} has no complete backup: `cargo xtask status` shows how far it came", ctx.run.id())
        }
    }
}

async fn properties(
    connection: &mut Connection,
    source: &str,
    backup: &Backup,
) -> Result<(Properties, Origin)> {
    if let Some(properties) = &backup.properties {
        return Ok((properties.clone(), Origin::Recorded));
    }
    if let Some(now) = place::properties(connection, source).await? {
        let properties = Properties { encoding: backup.snapshot.server.encoding.clone(), ..now };
        return Ok((properties, Origin::OfTheSourceNow));
    }
    let me: String = connection.row("SELECT current_user::text").await?.try_get(0)?;
    Ok((Properties::plain(&me, &backup.snapshot.server.encoding), Origin::NotKnown))
}

/// Whether it is the run's server, whether it takes the archive, and whether there is room.
async fn server(
    ctx: &Ctx,
    manifest: &Manifest,
    backup: &Backup,
    connection: &mut Connection,
) -> Result<Vec<String>> {
    let row = connection.row(sql_file!("phases/restore/server.sql").text).await?;
    let (system, major): (String, i32) = (row.try_get("system")?, row.try_get("major")?);
    let source = &ctx.settings.source;
    let mut wrong = Vec::new();
    if let Some(recorded) = manifest.servers.databases.get(&ServerName::Source)
        && recorded.system != system
    {
        wrong.push(format!(
            "{}:{} is another cluster than the one that was backed up (found then at {}:{}): name the right one \
             with --env or --stack",
            source.host, source.port, recorded.host, recorded.port
        ));
    }
    if row.try_get("standby")? {
        wrong.push(format!("{}:{} is a standby: nothing can be made there", source.host, source.port));
    }
    let (dump, restore) = (ctx.tools.version().await?, ctx.tools.version_of("pg_restore").await?);
    let needed = backup.pg_dump.max(u32::try_from(major)?);
    for (program, version) in [("pg_dump", dump), ("pg_restore", restore)] {
        if version < needed {
            wrong.push(format!(
                "{program} {version} in {} is too old for an archive of pg_dump {} and a server {major}: apt-get \
                 install postgresql-client-{needed}",
                ctx.tools.bindir.display(),
                backup.pg_dump
            ));
        }
    }
    if let Some(directory) = row.try_get::<Option<String>, _>("data_directory")? {
        let free = free_where_it_runs_here(Path::new(&directory), row.try_get("started")?)?;
        wrong.extend(free.and_then(|free| no_room(&directory, free, backup.snapshot.server.bytes)));
    }
    Ok(wrong)
}

/// The room in the server's directory, where that is a directory of this machine.
fn free_where_it_runs_here(directory: &Path, started: i64) -> Result<Option<u64>> {
    match disk::is_of_a_server_here(directory, started) {
        true => Ok(Some(disk::free(directory)?.1)),
        false => Ok(None),
    }
}

/// Why there is not enough of it: rows and indexes take what they took then.
fn no_room(directory: &str, free: u64, needed: u64) -> Option<String> {
    let (free_text, needed_text) = (grouped(free), grouped(needed));
    (free < needed).then(|| {
        format!(
            "{directory} has {free_text} bytes left, and the database took {needed_text}: make room, or take a server \
             with more"
        )
    })
}

/// Whether the names are free.
async fn taken(ctx: &Ctx, connection: &mut Connection, database: &str, goal: &Goal) -> Result<Vec<String>> {
    let there = place::look(connection, database).await?.is_some();
    let mut wrong = Vec::new();
    if there && matches!(goal, Goal::Beside(_)) {
        wrong.push(format!(
            "the database {database} is there already, and a restore never writes into one: name another with --into"
        ));
    }
    wrong.extend(place::in_the_way(ctx, connection, &place::unproven(database)).await?);
    Ok(wrong)
}

/// What this role lacks, and what is gone that was recorded.
async fn rights(
    connection: &mut Connection,
    properties: &Properties,
    goal: &Goal,
    source: &str,
) -> Result<Vec<String>> {
    let aside = match goal {
        Goal::Beside(_) => "",
        Goal::InPlace(_) => source,
    };
    let values = [
        ("owner", properties.owner.as_str()),
        ("database", aside),
        ("tablespace", properties.tablespace.as_str()),
    ];
    let query = sql::bind(sql_file!("phases/restore/privileges.sql"), &values);
    let missing = privileges::look(connection, &query).await?.missing;
    let mut wrong: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let json = serde_json::to_string(properties)?;
    let query = sql::bind(sql_file!("phases/restore/gone.sql"), &[("properties", &json)]);
    for row in connection.rows(&query).await? {
        wrong.push(row.try_get("what").context("what is gone")?);
    }
    Ok(wrong)
}

/// The files of the backup that are not what was written.
fn files(ctx: &Ctx, backup: &Backup) -> Vec<String> {
    let mut wrong = Vec::new();
    if archive(backup).next().is_none() {
        wrong.push(format!("the run's manifest has no {ARCHIVE}"));
    }
    if !backup.files.contains_key(SCHEMA) {
        wrong.push(format!("the run's manifest has no {SCHEMA}"));
    }
    let read = archive(backup).chain(backup.files.get_key_value(SCHEMA));
    wrong.extend(
        read.filter_map(|(name, expected)| Some(format!("{name}{}", dir::damage(&ctx.run, name, expected)?))),
    );
    wrong
}

/// The archive: one file, or those of a directory.
fn archive(backup: &Backup) -> impl Iterator<Item = (&String, &FileInfo)> {
    let inside =
        |name: &str| name.strip_prefix(ARCHIVE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    backup.files.iter().filter(move |(name, _)| inside(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn room_is_asked_only_of_a_server_that_runs_here() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(free_where_it_runs_here(dir.path(), 7).unwrap(), None);
        fs::write(dir.path().join("postmaster.pid"), "1\n/data\n1000\n5432\n").unwrap();
        assert_eq!(free_where_it_runs_here(dir.path(), 1003).unwrap(), None);
        assert!(free_where_it_runs_here(dir.path(), 1001).unwrap().is_some());
    }

    #[test]
    fn as_much_as_it_took_is_enough() {
        assert_eq!(no_room("/data", 1000, 1000), None);
        let said = no_room("/data", 999, 1000).unwrap();
        assert!(said.starts_with("/data has 999 bytes left, and the database took 1,000"), "{said}");
    }
}
