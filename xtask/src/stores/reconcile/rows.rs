//! Rows: a database changes in one transaction.

use super::change::{Action, Change, OnChange, PIECE};
use super::unique;
use crate::effects::postgres::Connection;
use crate::findings::{Values, Words, escaped, masked, row_key};
use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::manifest::TableExport;
use crate::sql::{self, FoundColumns, HashFn, Held, Kind, Owner, Scope};
use crate::stores::rows;
use crate::stores::schema::{self, Part, STAGING};
use crate::tables::Table;
use crate::{refuse, sql_file};
use anyhow::{Context, Result};
use datapath::digest::{Content, Digest};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, BTreeSet};
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
    /// What `sql/schema` says that the tables look like.
    pub expected: Vec<Part>,
    /// Table, column, parent, its column.
    pub references: Vec<[String; 4]>,
    writing: bool,
}

/// # Errors
/// Refuses where this role may not read a table.
async fn readable(ctx: &Ctx, connection: &mut Connection, database: Database, names: &[&str]) -> Result<()> {
    let server = ctx.settings.target(database);
    for name in names {
        if !connection.row(&sql::may_be_read("public", name)).await?.try_get::<bool, _>(0)? {
            let statement = sql::let_read("public", name, &server.user);
            refuse!(
                "{server}: {} may not read {name}, so nothing has been looked at: {statement}",
                server.user
            );
        }
    }
    Ok(())
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
        let names = schema::there(ctx, &mut connection, database).await?;
        readable(ctx, &mut connection, database, &names).await?;
        if writing && !names.is_empty() {
            connection
                .run(&sql::lock_against_writing(&names))
                .await
                .with_context(|| format!("another client has been writing to {database} for too long"))?;
        }
        // Wanted rows have the types of sql/schema: the table's own may have become too narrow.
        let expected = schema::create(&mut connection, database).await?;
        let query = sql::bind(sql_file!("phases/5-verify/foreign_keys.sql"), &[("schema", STAGING)]);
        let mut references = Vec::new();
        for row in connection.rows(&query).await? {
            references.push([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]);
        }
        connection.run(&sql::search_path("public")).await?;
        Ok(Reconciliation { database, connection, compared: Vec::new(), expected, references, writing })
    }

    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether the changes are made, and not only told.
    pub fn writes(&self) -> bool {
        self.writing
    }

    /// Compares rows of a table with what is wanted, and finds what has to be done. `wanted` and `last`:
    /// CSV as in the run's files, with a header. `last` only for single rows: in whole buckets what was
    /// last written is what is wanted. `found`: columns that are compared in another way than as they are.
    #[allow(clippy::too_many_arguments, reason = "a table with all that concerns it")]
    pub async fn compare(
        mut self,
        table: &'static Table,
        record: &TableExport,
        mut wanted: impl Read + Send,
        last: &[u8],
        found: &FoundColumns,
        scope: Scope<'_>,
        owner: Owner,
    ) -> Result<Reconciliation> {
        let columns = &record.target_columns;
        self.connection.run(&sql::hold_rows(STAGING, table.name, columns)).await?;
        let buckets = match scope {
            Scope::Buckets(buckets) => Some(buckets),
            Scope::All | Scope::Wanted | Scope::WantedOrLast => None,
        };
        let fill = sql::fill_wanted(table.name, columns, buckets);
        (_, self.connection) = rows::feed(self.connection, &fill, &mut wanted, table, record).await?;
        if !last.is_empty() {
            let fill = sql::fill_last(table.name, columns);
            (_, self.connection) = rows::feed(self.connection, &fill, &mut &last[..], table, record).await?;
        }
        self.connection.run(&sql::find_changes(table.name, columns, found, scope, owner)).await?;
        let own_parent =
            self.references.iter().any(|[child, _, parent, _]| child == table.name && parent == child);
        self.compared.push(ComparedTable { table, record: record.clone(), own_parent });
        Ok(self)
    }

    /// How many rows of a table there are of each kind.
    pub async fn counts(&mut self) -> Result<BTreeMap<&'static str, BTreeMap<String, u64>>> {
        let mut counts = BTreeMap::new();
        for ComparedTable { table, .. } in &self.compared {
            let mut kinds = BTreeMap::new();
            for row in self.connection.rows(&sql::count_kinds(table.name)).await? {
                kinds.insert(row.try_get(0)?, u64::try_from(row.try_get::<i64, _>(1)?)?);
            }
            counts.insert(table.name, kinds);
        }
        Ok(counts)
    }

    /// All ids of one kind, with what was found out about each.
    pub async fn found(&mut self, table: &'static Table, kind: Kind) -> Result<BTreeMap<i64, Words>> {
        let rows = self.connection.rows(&sql::changes_after(table.name, kind, i64::MIN, None)).await?;
        let said = |row: &PgRow| {
            let change: Option<String> = row.try_get(1)?;
            Ok((row.try_get(0)?, left_because(table, kind, &change.unwrap_or_default())?))
        };
        rows.iter().map(said).collect()
    }

    /// Takes rows out of what is wanted: nothing is done to them.
    pub async fn hold_back(&mut self, table: &str, ids: &[i64]) -> Result<()> {
        self.connection.run(&sql::hold_back(table, ids)).await
    }

    /// Tells of everything that has to be done with rows, and does it where this transaction writes.
    /// Returns how many rows are concerned.
    pub async fn make(&mut self, tell: &mut OnChange<'_>) -> Result<u64> {
        let surplus = self.remove_surplus(tell).await?;
        let rows = self.write_rows(tell).await?;
        self.prove().await?;
        Ok(surplus + rows)
    }

    /// Rows beside others with their ids, and without an id: by their places, so before any of them moves.
    pub async fn remove_surplus(&mut self, tell: &mut OnChange<'_>) -> Result<u64> {
        let mut count = 0;
        for at in 0..self.compared.len() {
            let table = self.compared[at].table;
            let mut after: Option<String> = None;
            loop {
                let page = sql::surplus_after(table.name, after.as_deref(), PIECE);
                let rows = self.connection.rows(&page).await?;
                let (mut ids, mut places) = (Vec::new(), Vec::new());
                for row in &rows {
                    let id = row.try_get::<Option<i64>, _>(0)?;
                    ids.push(id.map_or_else(|| "NULL".to_string(), |id| id.to_string()));
                    places.push(row.try_get::<String, _>(1)?);
                }
                let Some(last) = places.last().cloned() else { break };
                let statement = Words::plain(sql::delete_places(table.name, &places));
                let because = Words::plain("next to another row with this id, or without one");
                self.do_it(table, ids, Action::Delete, statement, Some(because), tell).await?;
                (after, count) = (Some(last), count + rows.len() as u64);
            }
        }
        Ok(count)
    }

    /// Parents before children, deletions last and the other way round; first those of rows that nobody refers to: a
    /// new row may take a value of theirs that a unique index has.
    pub async fn write_rows(&mut self, tell: &mut OnChange<'_>) -> Result<u64> {
        if self.writing {
            let tables: Vec<&str> = self.compared.iter().map(|compared| compared.table.name).collect();
            unique::put_aside(&mut self.connection, &tables).await?;
        }
        let parents: BTreeSet<&str> =
            self.references.iter().map(|[_, _, parent, _]| parent.as_str()).collect();
        let is_parent: Vec<bool> = self.compared.iter().map(|c| parents.contains(c.table.name)).collect();
        let mut rows = 0;
        for at in (0..self.compared.len()).filter(|at| !is_parent[*at]) {
            rows += self.each(at, Kind::Delete, tell).await?;
        }
        for at in 0..self.compared.len() {
            rows += self.each(at, Kind::Insert, tell).await?;
            rows += self.each(at, Kind::Update, tell).await?;
        }
        for at in (0..self.compared.len()).rev().filter(|at| is_parent[*at]) {
            rows += self.each(at, Kind::Delete, tell).await?;
        }
        Ok(rows)
    }

    async fn each(&mut self, at: usize, kind: Kind, tell: &mut OnChange<'_>) -> Result<u64> {
        let (table, own_parent) = (self.compared[at].table, self.compared[at].own_parent);
        // Rows that refer to each other come and go together: keys are checked at a statement's end.
        let limit = if own_parent { None } else { Some(PIECE) };
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
            for (action, ids, statement) in statements(table, &self.compared[at].record, kind, changes)? {
                let ids = ids.iter().map(i64::to_string).collect();
                self.do_it(table, ids, action, statement, None, tell).await?;
            }
            if limit.is_none() {
                return Ok(count);
            }
        }
    }

    /// Tells of a statement, and makes it where this transaction writes.
    async fn do_it(
        &mut self,
        table: &Table,
        ids: Vec<String>,
        action: Action,
        statement: Words,
        because: Option<Words>,
        tell: &mut OnChange<'_>,
    ) -> Result<()> {
        let ids = ids.into_iter().map(Words::plain).collect();
        let (store, table) = (self.database.to_string(), table.name.to_string());
        let change = Change { store, table, ids, action, writes: Some(statement), because };
        tell(&change)?;
        self.write(&change).await
    }

    /// Makes a change that has been told, where this transaction writes.
    pub async fn write(&mut self, change: &Change) -> Result<()> {
        let (true, Some(statement)) = (self.writing, &change.writes) else { return Ok(()) };
        let [shown, masked] = [Values::Shown, Values::Masked].map(|values| statement.said(values));
        let nothing = format!("{}: nothing in this database has been changed", self.database);
        self.connection.run_masked(masked, shown).await.context(nothing)
    }

    /// What was changed is what was wanted, read back.
    pub async fn prove(&mut self) -> Result<()> {
        if !self.writing {
            return Ok(());
        }
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

    /// Rows that are left as they are, in the terms of a change.
    pub async fn left_alone(&mut self, tell: &mut OnChange<'_>) -> Result<()> {
        for at in 0..self.compared.len() {
            let table = self.compared[at].table;
            for kind in [Kind::Conflict, Kind::DuplicateKey] {
                let mut after = i64::MIN;
                loop {
                    let page = sql::changes_after(table.name, kind, after, Some(PIECE));
                    let rows = self.connection.rows(&page).await?;
                    for row in &rows {
                        let (id, found): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
                        after = id;
                        tell(&Change {
                            store: self.database.to_string(),
                            table: table.name.to_string(),
                            ids: vec![row_key(&id.to_string())],
                            action: match kind {
                                Kind::DuplicateKey => Action::NotByThisCommand,
                                _ => Action::Conflict,
                            },
                            writes: None,
                            because: Some(left_because(table, kind, &found.unwrap_or_default())?),
                        })?;
                    }
                    if rows.len() < PIECE {
                        break;
                    }
                }
            }
        }
        Ok(())
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

/// A column that differs: its name, what it has to be, what was found.
type Difference = (String, Option<String>, Option<String>);

fn read<T: serde::de::DeserializeOwned>(table: &Table, change: &str) -> Result<T> {
    // What it holds is customers': it does not stand in the error.
    serde_json::from_str(change).ok().with_context(|| format!("reading a change to {}", table.name))
}

/// Why a row is left alone.
fn left_because(table: &Table, kind: Kind, change: &str) -> Result<Words> {
    match (kind, change) {
        (Kind::DuplicateKey, times) => {
            Ok(Words::plain(format!("is there {times} times, and which of them is whose cannot be told")))
        }
        (_, "gone") => Ok(Words::plain("it is not there any more")),
        (_, "foreign") => Ok(Words::plain("a row with this id is there that we did not write")),
        (_, differences) => {
            let differences: Vec<Difference> = read(table, differences)?;
            Ok(Words::both(|values| {
                let column = |(name, wrote, found): &Difference| {
                    let [wrote, found] = [wrote, found].map(|v| value(table, name, v.as_deref(), values));
                    format!("{} is {found}, we wrote {wrote}", escaped(name))
                };
                differences.iter().map(column).collect::<Vec<_>>().join("; ")
            }))
        }
    }
}

/// A value as it stands in a statement; masked it is no SQL, so that nobody writes the mask.
fn value(table: &Table, column: &str, value: Option<&str>, values: Values) -> String {
    match value.filter(|_| values == Values::Masked && table.hides(column)) {
        Some(text) => masked(text),
        None => sql::constant(column, value),
    }
}

fn statements(
    table: &Table,
    record: &TableExport,
    kind: Kind,
    changes: Vec<(i64, Option<String>)>,
) -> Result<Vec<(Action, Vec<i64>, Words)>> {
    let ids: Vec<i64> = changes.iter().map(|(id, _)| *id).collect();
    let texts = changes.iter().map(|(_, text)| text.as_deref().unwrap_or_default());
    match kind {
        Kind::Insert => {
            let rows: Result<Vec<Vec<Option<String>>>> = texts.map(|text| read(table, text)).collect();
            let rows = rows?;
            let statement = Words::both(|values| {
                let write = |column: &str, text: Option<&str>| value(table, column, text, values);
                sql::insert(table.name, &record.target_columns, &rows, &write)
            });
            Ok(vec![(Action::Insert, ids, statement)])
        }
        Kind::Update => {
            let update = |(id, text): (&i64, &str)| {
                let differences: Vec<Difference> = read(table, text)?;
                let set: Vec<_> = differences.iter().map(|(name, to, _)| (&**name, to.as_deref())).collect();
                let statement = Words::both(|values| {
                    let write = |column: &str, text: Option<&str>| value(table, column, text, values);
                    sql::update(table.name, &set, *id, &write)
                });
                Ok((Action::Update, vec![*id], statement))
            };
            ids.iter().zip(texts).map(update).collect()
        }
        _ => Ok(vec![(Action::Delete, ids.clone(), Words::plain(sql::delete(table.name, &ids)))]),
    }
}
