//! Rows: a database changes in one transaction.

use super::change::{Action, Change, OnChange, PIECE};
use crate::effects::postgres::Connection;
use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::manifest::TableExport;
use crate::sql::{self, HashFn, Held, Kind, Owner, Scope};
use crate::sql_file;
use crate::stores::rows;
use crate::stores::schema::{self, STAGING};
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::digest::{Content, Digest};
use sqlx::Row;
use std::collections::BTreeMap;
use std::io::Read;

/// A table of which rows have been compared.
struct ComparedTable {
    table: &'static Table,
    record: TableExport,
    /// Refers to itself: then a row may need any other one.
    own_parent: bool,
}

/// One database in one transaction, in which no other session writes.
pub struct Reconciliation {
    pub database: Database,
    connection: Connection,
    compared: Vec<ComparedTable>,
    /// Table, column, parent, its column.
    pub references: Vec<[String; 4]>,
    writing: bool,
}

impl Reconciliation {
    /// `writing`: others wait before they write, until the end.
    pub async fn begin(
        ctx: &Ctx,
        database: Database,
        purpose: &str,
        writing: bool,
    ) -> Result<Reconciliation> {
        let mut connection = ctx.target(database, purpose).await?;
        connection.run("BEGIN").await?;
        let there = schema::existing(ctx, &mut connection, database).await?;
        if writing && !there.is_empty() {
            let names: Vec<&str> = there.into_iter().map(|(name, _)| name).collect();
            connection
                .run(&sql::lock_against_writing(&names))
                .await
                .with_context(|| format!("somebody has been writing to {database} for too long"))?;
        }
        // Wanted rows have the types of sql/schema: the table's own may have become too narrow.
        schema::create(&mut connection, database).await?;
        let query = sql::bind(sql_file!("phases/5-verify/foreign_keys.sql"), &[("schema", STAGING)]);
        let mut references = Vec::new();
        for row in connection.rows(&query).await? {
            references.push([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]);
        }
        connection.run(&sql::search_path("public")).await?;
        Ok(Reconciliation { database, connection, compared: Vec::new(), references, writing })
    }

    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Compares rows of a table with what is wanted, and finds what has to be done. `wanted` and `last`:
    /// CSV as in the run's files, with a header. `last` only for single rows: in whole buckets what was
    /// last written is what is wanted.
    pub async fn compare(
        self,
        table: &'static Table,
        record: &TableExport,
        mut wanted: impl Read + Send,
        last: &[u8],
        scope: Scope<'_>,
        owner: Owner,
    ) -> Result<Reconciliation> {
        let Reconciliation { database, mut connection, mut compared, references, writing } = self;
        let columns = &record.target_columns;
        connection.run(&sql::hold_rows(STAGING, table.name, columns)).await?;
        let buckets = match scope {
            Scope::Buckets(buckets) => Some(buckets),
            Scope::Wanted => None,
        };
        let fill = sql::fill_wanted(table.name, columns, buckets);
        (_, connection) = rows::feed(connection, &fill, &mut wanted, table, record).await?;
        if !last.is_empty() {
            let fill = sql::fill_last(table.name, columns);
            (_, connection) = rows::feed(connection, &fill, &mut &last[..], table, record).await?;
        }
        connection.run(&sql::find_changes(table.name, columns, scope, owner)).await?;
        let own_parent =
            references.iter().any(|[child, _, parent, _]| child == table.name && parent == child);
        compared.push(ComparedTable { table, record: record.clone(), own_parent });
        Ok(Reconciliation { database, connection, compared, references, writing })
    }

    /// All ids of one kind, with what was found out about each.
    pub async fn found(&mut self, table: &str, kind: Kind) -> Result<BTreeMap<i64, Option<String>>> {
        let rows = self.connection.rows(&sql::changes_after(table, kind, i64::MIN, None)).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Takes rows out of what is wanted: nothing is done to them.
    pub async fn hold_back(&mut self, table: &str, ids: &[i64]) -> Result<()> {
        self.connection.run(&sql::hold_back(table, ids)).await
    }

    /// Tells of everything that has to be done, and does it where this transaction writes: parents before
    /// children, deletions last and the other way round. Returns how many rows are concerned.
    pub async fn make(&mut self, tell: &mut OnChange<'_>) -> Result<u64> {
        let mut rows = 0;
        for at in 0..self.compared.len() {
            rows += self.each(at, Kind::Insert, tell).await?;
            rows += self.each(at, Kind::Update, tell).await?;
        }
        for at in (0..self.compared.len()).rev() {
            rows += self.each(at, Kind::Delete, tell).await?;
        }
        if self.writing {
            self.prove().await?;
        }
        Ok(rows)
    }

    async fn each(&mut self, at: usize, kind: Kind, tell: &mut OnChange<'_>) -> Result<u64> {
        let ComparedTable { table, record, own_parent } = &self.compared[at];
        // Rows that refer to each other come and go together: keys are checked at a statement's end.
        let limit = if *own_parent { None } else { Some(PIECE) };
        let (mut after, mut count) = (i64::MIN, 0);
        loop {
            let rows = self.connection.rows(&sql::changes_after(table.name, kind, after, limit)).await?;
            let mut changes = Vec::with_capacity(rows.len());
            for row in &rows {
                changes.push((row.try_get::<i64, _>(0)?, row.try_get::<Option<String>, _>(1)?));
            }
            let Some((last, _)) = changes.last() else { return Ok(count) };
            after = *last;
            count += changes.len() as u64;
            for (action, ids, statement) in statements(table, record, kind, changes) {
                tell(&Change {
                    store: self.database.to_string(),
                    table: table.name.to_string(),
                    ids: ids.iter().map(i64::to_string).collect(),
                    action,
                    writes: Some(statement.clone()),
                    because: None,
                })?;
                if self.writing {
                    self.connection.run(&statement).await.with_context(|| {
                        format!("{}: nothing in this database has been changed", self.database)
                    })?;
                }
            }
            if limit.is_none() {
                return Ok(count);
            }
        }
    }

    /// What was changed is what was wanted, read back.
    async fn prove(&mut self) -> Result<()> {
        for ComparedTable { table, record, .. } in &self.compared {
            let query = sql::unproven(table.name, &record.target_columns, 10);
            let ids: Result<Vec<String>> = self
                .connection
                .rows(&query)
                .await?
                .iter()
                .map(|row| Ok(row.try_get::<i64, _>(0)?.to_string()))
                .collect();
            let ids = ids?.join(", ");
            if !ids.is_empty() {
                let what = format!(
                    "{} id {ids}: what was written is not what is there now (a trigger?); nothing in {} has been changed",
                    table.name, self.database
                );
                return Err(Stop::Differs(what).into());
            }
        }
        Ok(())
    }

    /// The digest of exactly the wanted rows' keys, on one side.
    pub async fn digest(
        &mut self,
        table: &str,
        columns: &TableExport,
        hash: HashFn,
        held: Held,
    ) -> Result<Content> {
        let query = sql::digest_keys_of(table, &columns.target_columns, hash, held);
        let mut content = Content::default();
        for row in self.connection.rows(&query).await? {
            content.buckets.insert(row.try_get(0)?, Digest::new(row.try_get(1)?, row.try_get(2)?)?);
        }
        Ok(content)
    }

    /// Rows that rows cannot repair or that others have written, in the terms of a change.
    pub async fn left_alone(&mut self, tell: &mut OnChange<'_>) -> Result<LeftAlone> {
        let mut left = LeftAlone::default();
        for ComparedTable { table, .. } in &self.compared {
            for kind in [Kind::Conflict, Kind::DuplicateKey] {
                let mut after = i64::MIN;
                loop {
                    let page = sql::changes_after(table.name, kind, after, Some(PIECE));
                    let rows = self.connection.rows(&page).await?;
                    for row in &rows {
                        let (id, found): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
                        after = id;
                        let found = found.unwrap_or_default();
                        let (action, because) = match kind {
                            Kind::DuplicateKey => {
                                left.twice += 1;
                                (Action::NotByRows, format!("is there {found} times"))
                            }
                            _ => {
                                left.conflicts += 1;
                                (Action::Conflict, found)
                            }
                        };
                        tell(&Change {
                            store: self.database.to_string(),
                            table: table.name.to_string(),
                            ids: vec![id.to_string()],
                            action,
                            writes: None,
                            because: Some(because),
                        })?;
                    }
                    if rows.len() < PIECE {
                        break;
                    }
                }
            }
            let row = self.connection.row(&sql::count_changes(table.name, Kind::AddedByOthers)).await?;
            left.theirs += u64::try_from(row.try_get::<i64, _>(0)?)?;
        }
        Ok(left)
    }

    /// Ends the transaction: keeps what was written, if it is one that writes.
    pub async fn end(mut self) -> Result<()> {
        if self.writing {
            self.connection.run(&sql::discard_schema(STAGING)).await?;
            let committed = self.connection.run("COMMIT").await;
            committed.with_context(|| format!("committing to {}", self.database))?;
        } else {
            self.connection.run("ROLLBACK").await?;
        }
        self.connection.close().await
    }
}

/// What is not touched.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeftAlone {
    pub conflicts: u64,
    pub theirs: u64,
    pub twice: u64,
}

fn statements(
    table: &Table,
    record: &TableExport,
    kind: Kind,
    changes: Vec<(i64, Option<String>)>,
) -> Vec<(Action, Vec<i64>, String)> {
    let ids: Vec<i64> = changes.iter().map(|(id, _)| *id).collect();
    let texts = changes.into_iter().map(|(_, text)| text.unwrap_or_default());
    match kind {
        Kind::Insert => {
            let rows: Vec<String> = texts.collect();
            let statement = sql::insert(table.name, &record.target_columns, &rows);
            vec![(Action::Insert, ids, statement)]
        }
        Kind::Update => {
            let updates = ids.iter().zip(texts);
            updates.map(|(id, set)| (Action::Update, vec![*id], sql::update(table.name, &set, *id))).collect()
        }
        _ => vec![(Action::Delete, ids.clone(), sql::delete(table.name, &ids))],
    }
}
