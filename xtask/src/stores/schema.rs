//! What a target's tables look like, what `sql/schema` says of them, and how the two differ.

use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind, Words};
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
    /// The statement that makes the index beneath a key, or the index itself.
    beneath: Option<String>,
    is_primary: bool,
    /// An index of the kind that takes the longest to build.
    pub is_inverted: bool,
    /// Of a column.
    pub column: Option<ColumnParts>,
}

/// What a column's definition is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColumnParts {
    /// With its collation, where that is not the type's own.
    pub kind: String,
    pub not_null: bool,
    pub default: Option<String>,
    /// Whether it is an identity or generated; empty where it is neither.
    pub special: String,
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
    /// From a table, or by one: its name.
    Inheritance,
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
    const ALL: [PartKind; 10] = [
        PartKind::Column,
        PartKind::Constraint,
        PartKind::Index,
        PartKind::Sequence,
        PartKind::Trigger,
        PartKind::Rule,
        PartKind::Policy,
        PartKind::RowSecurity,
        PartKind::Inheritance,
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
            PartKind::Inheritance => "inheritance",
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
    pub fn removal(&self, schema: &str) -> Option<String> {
        Some(match self.rebuild? {
            Rebuild::Index => sql::drop_index(schema, &self.name),
            Rebuild::Key | Rebuild::Reference => sql::drop_constraint(schema, &self.table, &self.name),
        })
    }

    /// The index that it is or stands on: others may read the table while it is built.
    pub fn index(&self) -> Option<&String> {
        self.beneath.as_ref()
    }

    /// The statement that creates a constraint again, on its index where it has one.
    pub fn constraint(&self, schema: &str) -> String {
        match self.beneath {
            Some(_) => sql::add_key(schema, &self.table, &self.name, self.is_primary),
            None => sql::add_constraint(schema, &self.table, &self.name, &self.definition),
        }
    }

    /// The statement that makes a constraint or an index in `public`.
    pub fn creation(&self) -> Option<String> {
        match self.kind {
            PartKind::Constraint => {
                Some(sql::add_constraint("public", &self.table, &self.name, &self.definition))
            }
            // As the server writes it.
            PartKind::Index => Some(self.definition.clone()),
            _ => None,
        }
    }

    /// The statement that takes a constraint or an index away from `public`.
    pub fn drop_in_public(&self) -> Option<String> {
        match self.kind {
            PartKind::Constraint => Some(sql::drop_constraint("public", &self.table, &self.name)),
            PartKind::Index => Some(sql::drop_index("public", &self.name)),
            _ => None,
        }
    }

    /// Repaired with what it gives next.
    pub fn is_sequence_of_id(&self) -> bool {
        self.kind == PartKind::Sequence && self.name == "id"
    }

    /// Whether it is a reference to this table.
    pub fn refers_to(&self, table: &str) -> bool {
        self.is(Rebuild::Reference) && self.definition.contains(&format!("REFERENCES {table}("))
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
            column: match row.try_get::<Option<String>, _>("type")? {
                Some(kind) => Some(ColumnParts {
                    kind,
                    not_null: row.try_get("is_required")?,
                    default: row.try_get("standard")?,
                    special: row.try_get("special")?,
                }),
                None => None,
            },
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
    create_wide(connection, database, name, &[]).await
}

/// The same; `wide`: ids and references (`table.column`) that have to be bigint where the table is not there
/// yet. Where it is, they are as wide as there.
pub async fn create_wide(
    connection: &mut Connection,
    database: Database,
    name: &str,
    wide: &[String],
) -> Result<Vec<Part>> {
    let schema = tables::schema(database);
    connection.run(&sql::fresh_schema(name)).await?;
    connection.run(schema.text).await.with_context(|| format!("running sql/{}", schema.path))?;
    let wide = sql::array(wide.iter().map(String::as_str));
    let widths = sql::bind(sql_file!("phases/4-import/widths.sql"), &[("schema", name), ("wide", &wide)]);
    for row in connection.rows(&widths).await? {
        connection.run(&row.try_get::<String, _>(0)?).await?;
    }
    definition(connection, name).await
}

/// What `sql/schema` says that the tables look like; leaves nothing behind.
pub async fn expected_definition(connection: &mut Connection, database: Database) -> Result<Vec<Part>> {
    connection.run("BEGIN").await?;
    let parts = create_in(connection, database, LOOKED_AT).await;
    connection.run("ROLLBACK").await?;
    parts
}

/// A part that is not as `sql/schema` says: as it has to be, and as it is.
pub struct Difference<'a> {
    pub expected: Option<&'a Part>,
    pub found: Option<&'a Part>,
}

impl Difference<'_> {
    pub fn finding(&self, database: Database) -> Option<Finding> {
        let part = self.expected.or(self.found)?;
        let what = match (self.expected, self.found) {
            (Some(expected), None) => format!("is missing (expected: {})", expected.definition),
            (Some(expected), Some(found)) => {
                format!("is {:?}, expected {:?}", found.definition, expected.definition)
            }
            (None, _) => format!("is not in sql/schema ({})", part.definition),
        };
        let finding = Finding::new(FindingKind::Structure, database.into(), &part.table)
            .column(&part.name)
            .detail(format!("{} {} {what}", part.kind, part.name));
        let side = |part: Option<&Part>| part.map(|part| Words::plain(&part.definition));
        Some(Finding { expected: side(self.expected), found: side(self.found), ..finding })
    }
}

/// How the tables of `public` differ from what `sql/schema` says. Tables that are not there are not
/// differences: the import creates them. Other tables are none of ours.
pub fn compared<'a>(expected: &'a [Part], found: &'a [Part]) -> Vec<Difference<'a>> {
    let ours: BTreeSet<&str> = expected.iter().map(|p| p.table.as_str()).collect();
    let there: BTreeSet<&str> = found.iter().map(|p| p.table.as_str()).collect();
    let mut differences = Vec::new();
    for part in expected.iter().filter(|p| there.contains(p.table.as_str())) {
        let same = found.iter().find(|f| f.same_object(part));
        if same.is_none_or(|f| f.definition != part.definition) {
            differences.push(Difference { expected: Some(part), found: same });
        }
    }
    let extra = found.iter().filter(|p| ours.contains(p.table.as_str()));
    let extra = extra.filter(|part| !expected.iter().any(|e| e.same_object(part)));
    differences.extend(extra.map(|part| Difference { expected: None, found: Some(part) }));
    differences
}

/// The same as findings.
pub fn differences(database: Database, expected: &[Part], found: &[Part]) -> Vec<Finding> {
    compared(expected, found).iter().filter_map(|difference| difference.finding(database)).collect()
}

/// Tables of ours that are there, with their rows.
pub async fn existing(
    ctx: &Ctx,
    connection: &mut Connection,
    database: Database,
) -> Result<Vec<(&'static str, u64)>> {
    let mut found = Vec::new();
    for name in there(ctx, connection, database).await? {
        let rows = connection.row(&sql::count("public", name)).await?.try_get::<i64, _>(0)?;
        found.push((name, u64::try_from(rows)?));
    }
    Ok(found)
}

/// Tables of ours that are there.
pub async fn there(ctx: &Ctx, connection: &mut Connection, database: Database) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for table in tables::of_database(ctx.tables, database) {
        if connection.row(&sql::exists("public", table.name)).await?.try_get::<bool, _>(0)? {
            found.push(table.name);
        }
    }
    Ok(found)
}

/// Those of them whose rows row security keeps from this session.
pub async fn hidden(
    ctx: &Ctx,
    connection: &mut Connection,
    database: Database,
) -> Result<BTreeSet<&'static str>> {
    let mut hidden = BTreeSet::new();
    for name in there(ctx, connection, database).await? {
        if connection.row(&sql::hides_rows("public", name)).await?.try_get::<bool, _>(0)? {
            hidden.insert(name);
        }
    }
    Ok(hidden)
}

/// Which columns a table of a schema has.
pub async fn columns(connection: &mut Connection, schema: &str, table: &str) -> Result<Vec<Column>> {
    connection.describe(&sql::all(schema, table)).await
}
