//! What a target's tables look like, what `sql/schema` says of them, and how the two differ.

use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind};
use crate::model::{Column, Database};
use crate::run::ctx::Ctx;
use crate::{sql, sql_file, tables};
use anyhow::{Context, Result, bail};
use sqlx::Row;
use std::collections::BTreeSet;
use std::fmt;

/// The schema in which one looks at what `sql/schema` makes, always rolled back. Not the staging schema:
/// who only looks must not stand in the way of an import that is under way.
pub const LOOKED_AT: &str = "xtask_expected";

/// The staging schema. Only this tool uses it; what a killed run left in it is dropped.
pub const STAGING: &str = "xtask_staging";

/// One line of `definition.sql`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub table: String,
    pub kind: PartKind,
    pub name: String,
    pub definition: String,
    /// As what it is taken away for the load and recreated after it; `None`: it stays.
    rebuild: Option<Rebuild>,
    /// The index beneath a key.
    beneath: Option<String>,
    is_primary: bool,
    /// An index of the kind that takes the longest to build.
    pub is_inverted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKind {
    Column,
    Constraint,
    Index,
    /// Owned by a column, whose name it has here.
    Sequence,
    Trigger,
    Rule,
    Policy,
    RowSecurity,
    /// Of a table that a crash empties.
    Persistence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rebuild {
    Key,
    Index,
    Reference,
}

impl PartKind {
    const ALL: [PartKind; 9] = [
        PartKind::Column,
        PartKind::Constraint,
        PartKind::Index,
        PartKind::Sequence,
        PartKind::Trigger,
        PartKind::Rule,
        PartKind::Policy,
        PartKind::RowSecurity,
        PartKind::Persistence,
    ];
}

/// As `definition.sql` says it, and people read it.
impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PartKind::Column => "column",
            PartKind::Constraint => "constraint",
            PartKind::Index => "index",
            PartKind::Sequence => "sequence",
            PartKind::Trigger => "trigger",
            PartKind::Rule => "rule",
            PartKind::Policy => "policy",
            PartKind::RowSecurity => "row security",
            PartKind::Persistence => "persistence",
        })
    }
}

impl Rebuild {
    /// # Errors
    /// Where it is no word of `definition.sql`.
    fn read(word: &str) -> Result<Rebuild> {
        match word {
            "key" => Ok(Rebuild::Key),
            "index" => Ok(Rebuild::Index),
            "reference" => Ok(Rebuild::Reference),
            _ => bail!("nobody knows how to rebuild a {word:?}"),
        }
    }
}

impl Part {
    /// Whether it is the same column, key, index …, however it is defined.
    pub fn same_object(&self, other: &Part) -> bool {
        (&self.table, &self.kind, &self.name) == (&other.table, &other.kind, &other.name)
    }

    /// The statement that takes it away for the load; `None` where it stays.
    pub fn removal(&self) -> Option<String> {
        Some(match self.rebuild? {
            Rebuild::Index => sql::drop_index(STAGING, &self.name),
            Rebuild::Key | Rebuild::Reference => sql::drop_constraint(STAGING, &self.table, &self.name),
        })
    }

    /// The index that it is or stands on: others may read the table while it is built.
    pub fn index(&self) -> Option<&String> {
        if self.is(Rebuild::Index) { Some(&self.definition) } else { self.beneath.as_ref() }
    }

    /// The statement that creates a constraint again, on its index where it has one.
    pub fn constraint(&self) -> String {
        match self.beneath {
            Some(_) => sql::add_key(STAGING, &self.table, &self.name, self.is_primary),
            None => sql::add_constraint(STAGING, &self.table, &self.name, &self.definition),
        }
    }

    /// The statement that makes it in `public`, where there is one.
    fn creation(&self) -> Option<String> {
        match self.kind {
            PartKind::Column => Some(sql::add_column("public", &self.table, &self.name, &self.definition)),
            PartKind::Constraint => {
                Some(sql::add_constraint("public", &self.table, &self.name, &self.definition))
            }
            // As the server writes it.
            PartKind::Index => Some(self.definition.clone()),
            _ => None,
        }
    }

    /// The statements that make it in `public` in place of another one of its name, where there are any.
    fn replacement(&self) -> Option<String> {
        let removal = match self.kind {
            PartKind::Constraint => sql::drop_constraint("public", &self.table, &self.name),
            PartKind::Index => sql::drop_index("public", &self.name),
            _ => return None,
        };
        Some(format!("{removal}; {}", self.creation()?))
    }

    pub fn is(&self, rebuild: Rebuild) -> bool {
        self.rebuild == Some(rebuild)
    }
}

/// Reads what the tables of a schema look like.
pub async fn definition(connection: &mut Connection, schema: &str) -> Result<Vec<Part>> {
    connection.run(&sql::search_path(schema)).await?;
    let rows = connection.rows(sql_file!("phases/4-import/definition.sql").text).await?;
    let parts = rows.iter().map(|row| {
        let (kind, rebuild): (String, Option<String>) = (row.try_get("kind")?, row.try_get("rebuild")?);
        let of_that_word = PartKind::ALL.into_iter().find(|known| known.to_string() == kind);
        Ok(Part {
            table: row.try_get("table")?,
            kind: of_that_word.with_context(|| format!("nobody knows what a {kind:?} of a table is"))?,
            name: row.try_get("name")?,
            definition: row.try_get("definition")?,
            rebuild: rebuild.as_deref().map(Rebuild::read).transpose()?,
            beneath: row.try_get("beneath")?,
            is_primary: row.try_get("is_primary")?,
            is_inverted: row.try_get("is_inverted")?,
        })
    });
    let parts = parts.collect::<Result<Vec<Part>>>();
    connection.run(&sql::search_path("public")).await?;
    parts
}

/// Creates the tables of `sql/schema` in the staging schema, and says what they look like.
pub async fn create(connection: &mut Connection, database: Database) -> Result<Vec<Part>> {
    create_in(connection, database, STAGING).await
}

pub async fn create_in(connection: &mut Connection, database: Database, name: &str) -> Result<Vec<Part>> {
    let schema = tables::schema(database);
    connection.run(&sql::fresh_schema(name)).await?;
    connection.run(schema.text).await.with_context(|| format!("running sql/{}", schema.path))?;
    definition(connection, name).await
}

/// What `sql/schema` says that the tables look like; leaves nothing behind.
pub async fn expected_definition(connection: &mut Connection, database: Database) -> Result<Vec<Part>> {
    connection.run("BEGIN").await?;
    let parts = create_in(connection, database, LOOKED_AT).await;
    connection.run("ROLLBACK").await?;
    parts
}

/// How the tables of `public` differ from what `sql/schema` says. Tables that are not
/// there are not differences: the import creates them. Other tables are none of ours.
pub fn differences(database: Database, expected: &[Part], found: &[Part]) -> Vec<Finding> {
    repairs(database, expected, found).into_iter().map(|(finding, _)| finding).collect()
}

/// The same, each with the statement that makes it what `sql/schema` says, where there is one.
pub fn repairs(database: Database, expected: &[Part], found: &[Part]) -> Vec<(Finding, Option<String>)> {
    let ours: BTreeSet<&str> = expected.iter().map(|p| p.table.as_str()).collect();
    let there: BTreeSet<&str> = found.iter().map(|p| p.table.as_str()).collect();
    let key = |p: &Part| (p.table.clone(), p.kind, p.name.clone());
    let finding = |p: &Part, what: String| {
        Finding::new(FindingKind::Structure, database.into(), &p.table)
            .column(&p.name)
            .detail(format!("{} {} {what}", p.kind, p.name))
    };
    let mut findings = Vec::new();
    for part in expected.iter().filter(|p| there.contains(p.table.as_str())) {
        match found.iter().find(|f| key(f) == key(part)) {
            None => {
                let what = format!("is missing (expected: {})", part.definition);
                findings.push((finding(part, what).expected(&part.definition), part.creation()));
            }
            Some(f) if f.definition != part.definition => {
                let what = format!("is {:?}, expected {:?}", f.definition, part.definition);
                let finding = finding(part, what).expected(&part.definition).found(&f.definition);
                findings.push((finding, part.replacement()));
            }
            Some(_) => {}
        }
    }
    for part in found.iter().filter(|p| ours.contains(p.table.as_str())) {
        if !expected.iter().any(|e| key(e) == key(part)) {
            let what = format!("is not in sql/schema ({})", part.definition);
            findings.push((finding(part, what).found(&part.definition), None));
        }
    }
    findings
}

/// Tables of ours that are there, with their rows.
pub async fn existing(
    ctx: &Ctx,
    connection: &mut Connection,
    database: Database,
) -> Result<Vec<(&'static str, u64)>> {
    let mut found = Vec::new();
    for table in tables::of_database(ctx.tables, database) {
        let there = connection.row(&sql::exists("public", table.name)).await?.try_get::<bool, _>(0)?;
        if there {
            let rows = connection.row(&sql::count("public", table.name)).await?.try_get::<i64, _>(0)?;
            found.push((table.name, u64::try_from(rows)?));
        }
    }
    Ok(found)
}

/// Which columns a table of a schema has.
pub async fn columns(connection: &mut Connection, schema: &str, table: &str) -> Result<Vec<Column>> {
    connection.describe(&sql::all(schema, table)).await
}
