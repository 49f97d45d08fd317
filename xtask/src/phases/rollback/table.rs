//! One table of the old database in the transaction of the way back.

use super::order::Reference;
use super::received::Delta;
use super::summary::{Left, TableBack};
use crate::effects::postgres::{self, Connection};
use crate::findings::document_key;
use crate::model::Column;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::sql::{self, Again, OldColumn, Rows, Side};
use crate::sql_file;
use crate::tables::{Table, USERS};
use anyhow::{Context, Result};
use datapath::csv_text::row_of;
use sqlx::Row;
use std::borrow::Cow;

/// A table's rows as they go back.
pub struct TablePut<'a> {
    pub delta: &'a Delta,
    put: sql::Put<'a>,
    /// The way to the old table's rows as the store holds them.
    pub rows: Rows,
}

/// The ids of rows that have none here.
#[derive(Clone, Copy, Debug)]
pub struct NewIds {
    /// The first of them.
    pub next: i64,
    /// Whether rows whose ids are taken get other ones, too.
    pub rekey: bool,
}

/// Which time rows are deleted: what nothing needs makes room for new rows, the rest waits until the rows that
/// need it have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    First,
    Last,
}

/// What the old database says about all of its tables.
pub struct OldDatabase<'a> {
    pub ctx: &'a Ctx,
    pub export: &'a Export,
    pub references: Vec<Reference>,
    /// Tables of which somebody has changed rows since the run read them.
    pub changed: Vec<String>,
}

impl<'a> TablePut<'a> {
    /// Brings the three sides beside each other and works out what has to be done.
    pub async fn begin(
        old: &OldDatabase<'a>,
        mut connection: Connection,
        delta: &'a Delta,
        NewIds { next, rekey }: NewIds,
    ) -> Result<(TablePut<'a>, Connection)> {
        let table = delta.table;
        for (side, rows) in [(Side::Base, &delta.base), (Side::Theirs, &delta.theirs)] {
            connection.run(&sql::create_side(table, side, &delta.columns)).await?;
            if !rows.is_empty() {
                let fill = sql::fill_side(table, side, &delta.columns);
                connection = connection.copy_in(&fill, &rows[..]).await?.1;
                connection.run(&sql::count_side(table, side)).await?;
            }
        }
        if let Some(collection) = table.collection() {
            connection.run(&sql::known_ids(table, collection.id)).await?;
            connection.run(&sql::new_ids(table, collection.id, next)).await?;
        }
        if rekey {
            connection.run(&sql::rekey(table, next)).await?;
        }
        let rows = rows(old, &mut connection, table).await?;
        if old.changed.iter().any(|name| name == table.source) {
            connection.run(&sql::create_side(table, Side::Mine, &delta.columns)).await?;
            connection.run(&sql::read_mine(table, &delta.columns, &rows.as_filed())).await?;
        } else {
            connection.run(&sql::mine_is_base(table)).await?;
        }
        let put = sql::Put { rekey, ..shape(old, &mut connection, table).await? };
        connection.run(&put.create()).await?;
        if rekey {
            connection.run(&put.note_rekeyed()).await?;
        }
        Ok((TablePut { delta, put, rows }, connection))
    }

    /// Asks for the ids that rows got here: of new documents, or instead of their own. `None`: there are none.
    pub fn given_ids(&self) -> Option<String> {
        match self.table().collection() {
            Some(collection) => Some(sql::given_ids(self.table(), collection.id)),
            None => self.put.rekey.then(|| sql::rekeyed(self.table())),
        }
    }

    /// The last id that a row got instead of its own.
    pub async fn last_rekeyed(&self, connection: &mut Connection) -> Result<Option<i64>> {
        let rows = connection.rows(&sql::rekeyed(self.table())).await?;
        Ok(rows.last().map(|row| row.try_get(0)).transpose()?)
    }

    pub fn table(&self) -> &'static Table {
        self.delta.table
    }

    pub fn sql(&self) -> &sql::Put<'a> {
        &self.put
    }

    /// Changes rows and adds new ones; parents have been.
    pub async fn write(&self, connection: &mut Connection) -> Result<()> {
        for statement in self.put.lose_references() {
            connection.run(&statement).await?;
        }
        if !attempt(connection, &self.put.update("")).await? {
            let exchanged = match self.put.make_way() {
                Some(away) => attempt(connection, &format!("{away}; {}", self.put.update(""))).await?,
                None => false,
            };
            if !exchanged {
                connection.run(&self.put.one_by_one("update")).await?;
            }
        }
        if !attempt(connection, &self.put.insert("")).await? {
            connection.run(&self.put.one_by_one("insert")).await?;
        }
        Ok(())
    }

    /// Deletes what no row needs; children have been. Of users the documents are gone, and the rows are marked
    /// as deleted: orders and reviews keep them (DESIGN rule 3).
    pub async fn delete(
        &self,
        old: &OldDatabase<'_>,
        puts: &[TablePut<'_>],
        connection: &mut Connection,
        round: Round,
    ) -> Result<()> {
        if self.table().name == USERS {
            if let (Round::Last, Some(mark)) = (round, self.put.mark_deleted("delete")) {
                connection.run(&mark).await?;
            }
            return Ok(());
        }
        self.keep_what_is_needed(old, puts, connection).await?;
        if !attempt(connection, &self.put.delete("")).await? && round == Round::Last {
            connection.run(&self.put.one_by_one("delete")).await?;
        }
        let again = if round == Round::First { Again::Yes } else { Again::No };
        connection.run(&self.put.deleted(again)).await?;
        if let (Round::Last, Some(mark)) = (round, self.put.mark_deleted("keep")) {
            connection.run(&mark).await?;
        }
        Ok(())
    }

    async fn keep_what_is_needed(
        &self,
        old: &OldDatabase<'_>,
        puts: &[TablePut<'_>],
        connection: &mut Connection,
    ) -> Result<()> {
        let needing = old.references.iter().filter(|reference| reference.parent == self.table().source);
        let needing: Vec<&Reference> = needing.collect();
        loop {
            let mut found = 0;
            for reference in &needing {
                let itself = puts.iter().map(TablePut::table);
                let itself =
                    itself.clone().find(|table| Some(table.source) == reference.child_name.as_deref());
                let needed = self.put.needed_by(&reference.child, itself, &reference.condition);
                found += connection.row(&needed).await?.try_get::<i64, _>(0)?;
            }
            if found == 0 {
                return Ok(());
            }
        }
    }

    /// The outcome of every key.
    pub async fn outcome(&self, ctx: &Ctx, connection: &mut Connection) -> Result<TableBack> {
        let (_, mut back) = self.delta.outcome();
        for row in connection.rows(&self.put.outcome()).await? {
            let id: i64 = row.try_get("id")?;
            let text = |name: &str| row.try_get::<Option<String>, _>(name);
            let (op, problem): (String, Option<String>) = (row.try_get("op")?, text("problem")?);
            let left = |why: Option<String>| Left { key: id.to_string(), why: why.unwrap_or_default() };
            match (problem.as_deref(), op.as_str()) {
                (Some("conflict"), _) => back.conflicts.push(left(None)),
                (Some(problem), _) => {
                    let why = text("why")?.map_or(problem.to_string(), |why| format!("{problem}: {why}"));
                    back.quarantined.push(left(Some(why)));
                }
                (None, "insert") => back.inserted += 1,
                (None, "update") => back.updated += 1,
                (None, "delete") => back.marked += 1,
                (None, "deleted") => back.deleted += 1,
                (None, "keep") => back.kept.push(left(text("why")?)),
                (None, _) => back.untouched += 1,
            }
            if let (None, Some(note)) = (&problem, text("note")?) {
                back.noted.push(left(Some(note)));
            }
        }
        back.quarantined.extend(self.delta.refused.iter().map(|(id, why)| Left {
            key: document_key(self.table(), id).said(ctx.values).to_string(),
            why: why.clone(),
        }));
        Ok(back)
    }

    /// The rows that did not come back as they are, complete: for the files of the run, which are private.
    pub async fn left(&self, connection: &mut Connection) -> Result<Vec<u8>> {
        let header = ["id", "what", "why", "note", "run_wrote", "old_database", "store"];
        let header = header.map(|name| Some(Cow::Borrowed(name.as_bytes())));
        let mut csv = row_of(header);
        for row in connection.rows(&self.put.left()).await? {
            let id: i64 = row.try_get(0)?;
            let mut fields = vec![Some(Cow::Owned(id.to_string().into_bytes()))];
            for at in 1..7 {
                let text: Option<String> = row.try_get(at)?;
                fields.push(text.map(|text| Cow::Owned(text.into_bytes())));
            }
            csv.extend(row_of(fields));
        }
        for (id, why) in &self.delta.refused {
            let [id, what, why] =
                [id.as_str(), "document", why].map(|text| Some(Cow::Borrowed(text.as_bytes())));
            csv.extend(row_of([id, what, why, None, None, None, None]));
        }
        Ok(csv)
    }
}

/// Whether a statement's rows could be written; if not for what they hold, nothing of it has happened.
async fn attempt(connection: &mut Connection, statement: &str) -> Result<bool> {
    connection.run("SAVEPOINT attempt").await?;
    match connection.run(statement).await {
        Ok(()) => {
            connection.run("RELEASE SAVEPOINT attempt").await?;
            Ok(true)
        }
        Err(error) => {
            let code = postgres::code(&error).unwrap_or_default();
            // Class 22: values that do not fit; 23: constraints.
            if !(code.starts_with("22") || code.starts_with("23")) {
                return Err(error);
            }
            connection.run("ROLLBACK TO SAVEPOINT attempt").await?;
            Ok(false)
        }
    }
}

/// The table's SELECT, which must have the columns that it had when the run was made.
async fn rows(old: &OldDatabase<'_>, connection: &mut Connection, table: &Table) -> Result<Rows> {
    let reading = &old.export.snapshot.reading;
    let rows = crate::source::rows::of(old.ctx, connection, reading, (table, old.export)).await?;
    Ok(rows)
}

/// Which columns of the old table come back.
async fn shape<'a>(
    old: &OldDatabase<'a>,
    connection: &mut Connection,
    table: &'static Table,
) -> Result<sql::Put<'a>> {
    let query = sql::bind(sql_file!("phases/rollback/columns.sql"), &[("table", table.source)]);
    let mut columns = Vec::new();
    for row in connection.rows(&query).await? {
        columns.push(OldColumn {
            name: row.try_get("name")?,
            kind: row.try_get("kind")?,
            nullable: row.try_get("nullable")?,
            without_zone: row.try_get("without_zone")?,
            is_unique: row.try_get("is_unique")?,
        });
    }
    let mirror = connection.describe(&sql::mirror(table)).await;
    let mirror: Vec<Column> = mirror.with_context(|| format!("reading sql/{}", table.back.path))?;
    let in_old = |name: &str| columns.iter().any(|column| column.name == name);
    let compared = mirror.iter().map(|c| c.name.clone()).filter(|name| !in_old(name)).collect();
    columns.retain(|column| mirror.iter().any(|mirrored| mirrored.name == column.name));
    Ok(sql::Put { table, columns, compared, zone: &old.ctx.settings.policy.source_zone, rekey: false })
}
