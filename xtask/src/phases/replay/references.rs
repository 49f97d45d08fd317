//! What the rows of a replay refer to: all of it has to be there, or to come with them.

use super::reading::{Batch, Key, Mapping, Part, USER_UID};
use crate::findings::{Values, masked};
use crate::model::{Database, MIGRATED};
use crate::phases::p5_verify;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::sql;
use crate::tables::{To, USERS};
use anyhow::Result;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// What refers to rows that the run does not have, a line each.
pub(super) async fn unknown(
    ctx: &Ctx,
    export: &Export,
    batch: &Batch,
    mapping: &Mapping,
) -> Result<Vec<String>> {
    let mut unknown = Vec::new();
    for part in batch.tables.iter().filter(|part| !part.wanted.is_empty()) {
        unknown.extend(users(part, mapping, ctx.values));
        for reference in part.table.references {
            if let To::Row(database, parent) = reference.to {
                let known = quarantined(export, batch, parent);
                unknown.extend(
                    rows(ctx, batch, part, reference.column, database, [parent, "id"], &known).await?,
                );
            }
        }
        let Some(database) = part.table.database() else { continue };
        for [child, column, parent, parent_column] in p5_verify::references_of(ctx, database).await? {
            if child == part.table.name {
                let to = [parent.as_str(), parent_column.as_str()];
                unknown.extend(rows(ctx, batch, part, &column, database, to, &BTreeSet::new()).await?);
            }
        }
    }
    Ok(unknown)
}

/// Users that the run does not know; and for documents, users whose own document it does not have.
fn users(part: &Part, mapping: &Mapping, values: Values) -> Vec<String> {
    let line = |(id, row): (&i64, &super::reading::Row)| {
        let uid = part.value(&row.csv, USER_UID)?;
        let name = part.table.name;
        let users_with_it = mapping.outcomes(&uid);
        if users_with_it.is_empty() {
            let newer = mapping.newer(&uid).map(|id| format!("user {id} is newer than the run's snapshot"));
            let why = newer.unwrap_or_else(|| "no user of the run has it".into());
            let uid = match values == Values::Masked && part.table.hides(USER_UID) {
                true => masked(&uid),
                false => format!("{uid:?}"),
            };
            return Some(format!("{name} id {id}: {USER_UID} {uid}: {why}"));
        }
        let documents = part.table.collection().is_some();
        if documents && !users_with_it.iter().any(|(_, outcome)| outcome == MIGRATED) {
            let (user, outcome) = &users_with_it[0];
            return Some(format!("{name} id {id}: user {user} is not in Firestore: {outcome}"));
        }
        None
    };
    part.wanted.iter().filter_map(line).collect()
}

/// Keys that are expected to dangle: those in quarantine.
fn quarantined(export: &Export, batch: &Batch, table: &str) -> BTreeSet<String> {
    let moved = export.replays.iter().filter_map(|replay| replay.tables.get(table));
    let moved = moved.flat_map(|t| t.moved.iter().filter(|(_, m)| m.to != MIGRATED)).map(|(id, _)| *id);
    let open = batch.part(table).into_iter().flat_map(|part| part.quarantined.keys().copied());
    open.chain(moved).map(|id| id.to_string()).collect()
}

/// Rows whose parent is neither there, nor comes with them, nor is known to be missing.
async fn rows(
    ctx: &Ctx,
    batch: &Batch,
    part: &Part,
    column: &str,
    database: Database,
    [parent, parent_column]: [&str; 2],
    known: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let comes = |value: &String| {
        let id: Option<i64> = value.parse().ok();
        batch.part(parent).zip(id).is_some_and(|(parent, id)| parent.wanted.contains_key(&id))
    };
    let wanted = part.wanted.iter().filter_map(|(id, row)| Some((*id, part.value(&row.csv, column)?)));
    let wanted: Vec<(i64, String)> = wanted.filter(|(_, v)| !known.contains(v) && !comes(v)).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<&str> = wanted.iter().map(|(_, value)| value.as_str()).collect();
    let mut connection = ctx.target(database, "replay").await?;
    let mut there = BTreeSet::new();
    for row in connection.rows(&sql::present(parent, parent_column, &values)).await? {
        there.insert(row.try_get::<String, _>(0)?);
    }
    connection.close().await?;
    let missing = wanted.into_iter().filter(|(_, value)| !there.contains(value));
    let line = |(id, value)| {
        format!(
            "{} id {id}: {column} {value} is not in {parent}: it was excluded at the run's snapshot, or is newer",
            part.table.name
        )
    };
    Ok(missing.map(line).collect())
}

/// Rows that hang on others which are left alone, each with what it hangs on. `inside`: the references
/// that the databases declare.
pub(super) fn hanging_on(
    left_alone: &BTreeSet<Key>,
    batch: &Batch,
    inside: &[[String; 4]],
) -> BTreeMap<Key, String> {
    let mut hanging: BTreeMap<Key, String> = BTreeMap::new();
    if left_alone.is_empty() {
        return hanging;
    }
    let users = users_by_uid(batch);
    loop {
        let left = |key: &Key| left_alone.contains(key) || hanging.contains_key(key);
        let mut more = BTreeMap::new();
        for part in &batch.tables {
            for (id, row) in part.wanted.iter().filter(|(id, _)| !left(&(part.table.name, **id))) {
                let parents = parents(part, &row.csv, batch, inside, &users);
                if let Some((table, parent)) = parents.into_iter().find(left) {
                    more.insert((part.table.name, *id), format!("{table} id {parent} is left alone"));
                }
            }
        }
        if more.is_empty() {
            return hanging;
        }
        hanging.extend(more);
    }
}

/// The users of this replay by their uids.
fn users_by_uid(batch: &Batch) -> BTreeMap<String, i64> {
    let Some(users) = batch.part(USERS) else { return BTreeMap::new() };
    let uid_of =
        |(id, row): (&i64, &super::reading::Row)| Some((users.value(&row.csv, "firebase_uid")?, *id));
    users.wanted.iter().filter_map(uid_of).collect()
}

/// The rows of this replay that a row refers to.
fn parents(
    part: &Part,
    row: &[u8],
    batch: &Batch,
    inside: &[[String; 4]],
    users: &BTreeMap<String, i64>,
) -> Vec<Key> {
    let inside = inside.iter().filter(|[child, ..]| child == part.table.name);
    let inside = inside.map(|[_, column, parent, _]| (column.as_str(), parent.as_str()));
    let across = part.table.references.iter().filter_map(|r| match r.to {
        To::Row(_, parent) => Some((r.column, parent)),
        To::User => None,
    });
    let mut parents = Vec::new();
    for (column, parent) in inside.chain(across) {
        let id: Option<i64> = part.value(row, column).and_then(|value| value.parse().ok());
        parents.extend(batch.part(parent).zip(id).map(|(parent, id)| (parent.table.name, id)));
    }
    let user = part.value(row, USER_UID).and_then(|uid| users.get(&uid));
    parents.extend(user.map(|id| (USERS, *id)));
    parents
}
