//! Columns: what the SELECTs read and write, compared with what source and targets have.
//!
//! What a SELECT reads is not written down a second time: tables like those of the source, empty, are made
//! on a target, each SELECT becomes a view on them, and PostgreSQL says which columns the view depends on
//! and what types come out. All in one transaction that is taken back.

use crate::effects::postgres::{self, Connection};
use crate::hazards::SAMPLE;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::source::assess::columns::Columns;
use crate::source::assess::looks::Findings;
use crate::sql::column_types::{self, Fit};
use crate::sql::{self, Limit, Reading, TargetType};
use crate::sql_file;
use crate::sql_text::SqlFile;
use crate::tables::{Home, Table, schema};
use anyhow::{Context, Result};
use datapath::document::Kind;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Schemas of the transaction; no other session ever sees them.
const SOURCE: &str = "xtask_source";
const EXPECTED: &str = "xtask_expected";
const ROWS: &str = "xtask_rows";

/// Columns that may be missing from one SELECT before we give up.
const MISSING: usize = 100;

#[derive(Default)]
pub(super) struct Shapes {
    pub findings: BTreeMap<&'static str, Findings>,
    pub limits: BTreeMap<String, Vec<(String, Limit)>>,
    pub casts: BTreeMap<String, BTreeMap<String, TargetType>>,
    pub conversions: BTreeMap<String, BTreeMap<String, TargetType>>,
    pub required: BTreeMap<String, Vec<String>>,
    pub wide: Vec<String>,
}

impl Shapes {
    fn add(&mut self, hazard: &'static str, key: String) {
        let (count, keys) = self.findings.entry(hazard).or_default();
        *count += 1;
        if keys.len() < SAMPLE {
            keys.push(key);
        }
    }
}

pub(super) async fn compare(ctx: &Arc<Ctx>, columns: &Columns) -> Result<Shapes> {
    if ctx.tables.iter().any(|t| !columns.contains_key(t.source)) {
        // A table is missing: that is said, and what hangs on it cannot be.
        return Ok(Shapes::default());
    }
    let mut connection = ctx.target(Database::Product, "assess").await?;
    connection.run("BEGIN").await?;
    let compared = compared(ctx, &mut connection, columns).await;
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    compared
}

async fn compared(ctx: &Ctx, connection: &mut Connection, columns: &Columns) -> Result<Shapes> {
    connection.run(&sql::fresh_schema(EXPECTED)).await?;
    for database in Database::ALL {
        connection.run(schema(database).text).await?;
    }
    connection.run(&sql::fresh_schema(ROWS)).await?;
    connection.run(&sql::fresh_schema(SOURCE)).await?;
    for (table, columns) in columns {
        let columns = columns.iter().map(|c| (c.column.name.as_str(), c.stand_in.as_str()));
        connection.run(&sql::stand_in(SOURCE, table, columns)).await?;
    }
    let mut shapes = Shapes::default();
    // A child's SELECT holds its parent's: what is missing is told once.
    let (mut told, mut guessed) = (BTreeSet::new(), BTreeSet::new());
    for table in ctx.tables {
        let select = sql::expand(ctx.tables, table.export, &Reading::default())?;
        for missing in view(connection, ctx.tables, table, &select).await? {
            guessed.insert(missing.column);
            if told.insert(missing.said.clone()) {
                shapes.add("column-missing", format!("{} (sql/{})", missing.said, table.export.path));
            }
        }
    }
    extra(ctx, connection, columns, &mut shapes).await?;
    types(ctx, connection, &guessed, &mut shapes).await?;
    Ok(shapes)
}

/// A column that is missing, and the server's words.
struct MissingColumn {
    column: String,
    said: String,
}

/// Makes a view of the SELECT, adding what is missing until it can be made, and returns what was.
async fn view(
    connection: &mut Connection,
    tables: &[Table],
    table: &Table,
    select: &str,
) -> Result<Vec<MissingColumn>> {
    let statement = sql::create_view(ROWS, table.name, select);
    let mut found: Vec<MissingColumn> = Vec::new();
    let mut attempted = attempt(connection, &[], &statement).await?;
    while let Err(error) = attempted {
        let Some(missing) = missing(&error).filter(|_| found.len() < MISSING) else {
            // A column of a type that the SELECT cannot use: said beside them, because it stops everything.
            let said = postgres::message(&error).unwrap_or_else(|| format!("{error:#}"));
            found.push(MissingColumn { column: String::new(), said });
            break;
        };
        let column = missing.column.clone();
        found.push(missing);
        attempted = with_column(connection, tables, &column, &statement).await?;
    }
    Ok(found)
}

/// The same after a column was added to every table that has none of this name: of a type with which the
/// statement gets further. The last error where there is none.
async fn with_column(
    connection: &mut Connection,
    tables: &[Table],
    column: &str,
    statement: &str,
) -> Result<Result<(), anyhow::Error>> {
    let mut last = None;
    for kind in guesses(column) {
        let add: Vec<String> =
            tables.iter().map(|t| sql::add_column(SOURCE, t.source, column, kind)).collect();
        match attempt(connection, &add, statement).await? {
            Ok(()) => return Ok(Ok(())),
            Err(error) if missing(&error).is_some_and(|m| m.column != column) => {
                connection.run(&add.join("; ")).await?;
                return Ok(Err(error));
            }
            Err(error) => last = Some(error),
        }
    }
    Ok(Err(last.context("there is no type to try")?))
}

/// What a missing column may have been, the likeliest first: it is read with others of its kind.
fn guesses(column: &str) -> impl Iterator<Item = &'static str> {
    let likely = match column {
        "id" => "integer",
        c if c.ends_with("_id") => "integer",
        c if c.ends_with("_at") => "timestamptz",
        _ => "text",
    };
    [likely]
        .into_iter()
        .chain(["text", "integer", "timestamptz", "numeric"].into_iter().filter(move |k| *k != likely))
}

/// Runs statements; where one fails, takes them back and returns why.
async fn attempt(
    connection: &mut Connection,
    first: &[String],
    statement: &str,
) -> Result<Result<(), anyhow::Error>> {
    connection.run("SAVEPOINT attempt").await?;
    let ran = async {
        for statement in first {
            connection.run(statement).await?;
        }
        connection.run(statement).await
    }
    .await;
    if ran.is_err() {
        connection.run("ROLLBACK TO SAVEPOINT attempt").await?;
    }
    Ok(ran)
}

/// `column u.first_name does not exist`
fn missing(error: &anyhow::Error) -> Option<MissingColumn> {
    if postgres::code(error).as_deref() != Some("42703") {
        return None;
    }
    let said = postgres::message(error)?;
    let name = said.strip_prefix("column ")?.strip_suffix(" does not exist")?;
    let column = name.rsplit('.').next().unwrap_or(name).trim_matches('"').to_string();
    Some(MissingColumn { column, said })
}

/// Columns of the source that their table's SELECT does not read.
async fn extra(ctx: &Ctx, connection: &mut Connection, columns: &Columns, shapes: &mut Shapes) -> Result<()> {
    let reads = sql::bind(sql_file!("phases/preflight/reads.sql"), &[("schema", ROWS)]);
    let mut read: BTreeSet<(String, String, String)> = BTreeSet::new();
    for row in connection.rows(&reads).await? {
        read.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    }
    for table in ctx.tables {
        if !read.iter().any(|(view, _, _)| view == table.name) {
            // No view could be made of it: that is said already.
            continue;
        }
        for seen in columns.get(table.source).into_iter().flatten() {
            let key = (table.name.to_string(), table.source.to_string(), seen.column.name.clone());
            if !read.contains(&key) {
                shapes.add("column-extra", format!("{}.{}", table.source, seen.column.name));
            }
        }
    }
    Ok(())
}

/// A column of a table or view.
struct Shape {
    kind: TargetType,
    /// The most bytes of an element, where an index takes each.
    element: Option<u32>,
    required: bool,
}

/// Every column of every table or view of a schema.
async fn shapes_of(
    connection: &mut Connection,
    schema: &str,
) -> Result<BTreeMap<String, BTreeMap<String, Shape>>> {
    const SHAPES: SqlFile = sql_file!("phases/preflight/shapes.sql");
    let mut shapes: BTreeMap<String, BTreeMap<String, Shape>> = BTreeMap::new();
    for row in connection.rows(&sql::bind(SHAPES, &[("schema", schema)])).await? {
        let kind = TargetType { sql: row.try_get(2)?, kind: row.try_get(3)? };
        let element = row.try_get::<Option<i32>, _>(4)?.map(u32::try_from).transpose()?;
        shapes
            .entry(row.try_get(0)?)
            .or_default()
            .insert(row.try_get(1)?, Shape { kind, element, required: row.try_get(5)? });
    }
    Ok(shapes)
}

/// What comes out of each SELECT, against what it goes into; `guessed`: columns that are not there.
async fn types(
    ctx: &Ctx,
    connection: &mut Connection,
    guessed: &BTreeSet<String>,
    shapes: &mut Shapes,
) -> Result<()> {
    let (rows, expected) = (shapes_of(connection, ROWS).await?, shapes_of(connection, EXPECTED).await?);
    for table in ctx.tables {
        let Some(columns) = rows.get(table.name) else { continue };
        if let Some(Shape { kind, .. }) = columns.get("id").filter(|id| !column_types::is_id(&id.kind.sql)) {
            shapes.add("column-type", format!("{}.id: {}, expected a whole number", table.name, kind.sql));
        }
        for (column, Shape { kind, .. }) in columns.iter().filter(|(c, _)| !guessed.contains(*c)) {
            match &table.home {
                Home::Postgres(_) => {
                    if let Some(into) = expected.get(table.name).and_then(|t| t.get(column)) {
                        shapes.column(table.name, column, kind, into);
                    }
                }
                Home::Firestore(collection) => {
                    if let Some(field) = collection.fields.iter().find(|f| f.name == column) {
                        shapes.field(table.name, column, kind, field.kind);
                    }
                }
            }
        }
    }
    Ok(())
}

impl Shapes {
    /// A column of the SELECT against the target's.
    fn column(&mut self, table: &str, column: &str, from: &TargetType, into: &Shape) {
        if into.required {
            self.required.entry(table.to_string()).or_default().push(column.to_string());
        }
        let mut limit = |limit| {
            self.limits.entry(table.to_string()).or_default().push((column.to_string(), limit));
        };
        if let Some(bytes) = into.element {
            limit(Limit::Element { bytes });
        }
        // Ids are as wide as in the source.
        if (column == "id" || column.ends_with("_id")) && from.sql == "bigint" && into.kind.sql == "integer" {
            return self.wide.push(format!("{table}.{column}"));
        }
        let fit = column_types::fit(&from.sql, &into.kind.sql);
        if let Fit::Within(within) = fit {
            limit(within);
        }
        if fit == Fit::Other {
            self.other_kind(table, column, &from.sql, &into.kind.sql, into.kind.clone());
        } else if from.sql != into.kind.sql {
            self.casts.entry(table.to_string()).or_default().insert(column.to_string(), into.kind.clone());
        }
    }

    /// A column of the SELECT against a document's field.
    fn field(&mut self, table: &str, column: &str, from: &TargetType, kind: Kind) {
        if column_types::fit_field(&from.sql, kind) == Fit::Other {
            let (sql, name) = column_types::of_field(kind);
            let into = TargetType { sql: sql.to_string(), kind: name.to_string() };
            self.other_kind(table, column, &from.sql, column_types::field_takes(kind), into);
        }
    }

    /// A column whose values are of another kind. Accepted, they are read as the target's.
    fn other_kind(&mut self, table: &str, column: &str, from: &str, expected: &str, into: TargetType) {
        // Ids are followed from table to table: nothing is read into them.
        if column != "id" {
            self.add("column-type", format!("{table}.{column}: {from}, expected {expected}"));
            self.conversions.entry(table.to_string()).or_default().insert(column.to_string(), into);
        }
    }
}
