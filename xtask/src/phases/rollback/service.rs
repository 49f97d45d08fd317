//! One service alone goes back: the others stay with the new stores, and the old database stays read-only for
//! everybody but that service.

use super::summary::{Back, Left};
use super::table::{OldDatabase, TablePut};
use crate::effects::postgres::Connection;
use crate::model::Service;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::source::freeze::Freezer;
use crate::sql;
use crate::tables::{Reference, Table, To, USERS};
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// Whether the service's role, and no other, can be let in again.
///
/// # Errors
/// Refuses where the environment does not name its role, where another service that stays logs in by the same, and
/// where this tool may not change it.
pub async fn may_be_let_in(ctx: &Ctx, service: Service, before: &[Service]) -> Result<()> {
    let roles = &ctx.settings.services.roles;
    let Some(role) = roles.get(&service) else {
        refuse!(
            "environment `{}` does not name the role by which {service} logs in to the old database, which stays \
             read-only for the others: put `{} = \"its role\"` under [services.roles]",
            ctx.settings.environment,
            service.key()
        );
    };
    let shares =
        |other: &Service| *other != service && roles.get(other) == Some(role) && !before.contains(other);
    if let Some(other) = Service::ALL.into_iter().find(shares) {
        refuse!(
            "{service} and {other} share the role {role}: it cannot be let in for one of them alone. Give {service} a \
             role of its own in the old database, or take everything back with `rollback after-start`"
        );
    }
    if *role == ctx.settings.source.user {
        refuse!("{service} logs in as {role}, as this tool itself does: give it a role of its own");
    }
    Freezer::of(ctx).may_let_in(role).await
}

/// The service can write to the old database again.
pub async fn let_in(ctx: &Ctx, service: Service) -> Result<()> {
    let Some(role) = ctx.settings.services.roles.get(&service) else { return Ok(()) };
    Freezer::of(ctx).let_in(role).await?;
    ctx.terminal.line(format!("{service} can write to the old database again, as {role}; the others cannot"));
    Ok(())
}

/// What did not come back and is needed in a store that stays: said where it is listed.
pub async fn needed_elsewhere(
    old: &OldDatabase<'_>,
    puts: &[TablePut<'_>],
    (connection, back): (&mut Connection, &mut Back),
) -> Result<()> {
    for put in puts {
        let table = put.table();
        let Some(told) = back.tables.get_mut(table.name).filter(|told| !told.quarantined.is_empty()) else {
            continue;
        };
        let mut keys: BTreeMap<String, String> = BTreeMap::new();
        for row in connection.rows(&put.sql().left_keys(key_of(table))).await? {
            keys.insert(row.try_get(0)?, row.try_get(1)?);
        }
        let stays = |other: &&Table| puts.iter().all(|put| put.table().name != other.name);
        for other in old.ctx.tables.iter().filter(stays) {
            let Some(database) = other.database() else { continue };
            for reference in other.references.iter().filter(|reference| refers(reference, table)) {
                let mut there = old.ctx.looking(database, "rollback").await?;
                let wanted: Vec<&str> = keys.values().map(String::as_str).collect();
                let query = sql::referring(other, reference.column, &wanted);
                let rows = there.rows(&query).await?;
                there.close().await?;
                for row in rows {
                    let (key, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
                    let of_it = |left: &&mut Left| keys.get(&left.key) == Some(&key);
                    for left in told.quarantined.iter_mut().filter(of_it) {
                        left.why += &format!("; {count} rows of {} need it", other.name);
                    }
                }
            }
        }
    }
    Ok(())
}

/// What other stores name a row by.
fn key_of(table: &Table) -> &'static str {
    if table.name == USERS { "firebase_uid" } else { "id" }
}

fn refers(reference: &Reference, table: &Table) -> bool {
    match reference.to {
        To::User => table.name == USERS,
        To::Row(_, parent) => parent == table.name,
    }
}
