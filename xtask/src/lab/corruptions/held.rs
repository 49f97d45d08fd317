//! What the stores hold, read without the tool's own verification: rows as text, documents as the protocol
//! has them. And how two of these differ.

use super::raw::{Fields, Raw};
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::stores::schema::{Part, PartKind};
use crate::tables::{self, TABLES, Table};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row as _;
use std::collections::{BTreeMap, BTreeSet};

/// A row's values as text; the first is its id.
pub type Row = Vec<Option<String>>;

/// What a column takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// With its most characters, if there are any.
    Text(Option<usize>),
    Whole(i64, i64),
    Number,
    Time,
    Boolean,
    Json,
    Array,
    Address,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// As PostgreSQL writes it.
    pub type_name: String,
    pub nullable: bool,
}

/// A table of a target as it is defined.
#[derive(Clone, Debug)]
pub struct Shape {
    pub table: &'static Table,
    pub database: Database,
    pub columns: Vec<Column>,
}

/// A foreign key inside a database: table, column, parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignKey {
    pub table: String,
    pub column: String,
    pub parent: String,
    /// Whether its rows go with their parents.
    pub cascades: bool,
}

impl Shape {
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|c| c.name.as_str()).collect()
    }

    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}

/// The tables of a database by their definition.
pub fn shapes(database: Database, parts: &[Part]) -> Result<Vec<Shape>> {
    let tables = tables::of_database(TABLES, database);
    // TABLES itself, for its lifetime.
    let tables = tables.filter_map(|t| TABLES.iter().find(|known| known.name == t.name));
    tables.map(|table| Ok(Shape { table, database, columns: columns(table.name, parts)? })).collect()
}

fn columns(table: &str, parts: &[Part]) -> Result<Vec<Column>> {
    let own = parts.iter().filter(|p| p.table == table && p.kind == PartKind::Column);
    own.map(|part| {
        let (type_name, nullable) = match part.definition.split_once(" NOT NULL") {
            Some((type_name, _)) => (type_name, false),
            None => (part.definition.as_str(), true),
        };
        let kind = kind(type_name).with_context(|| format!("{table}.{} is {type_name}", part.name))?;
        let kind = match kind {
            Kind::Whole(..) => within(table, &part.name, parts).unwrap_or(kind),
            kind => kind,
        };
        Ok(Column { name: part.name.clone(), kind, type_name: type_name.to_string(), nullable })
    })
    .collect()
}

fn kind(type_name: &str) -> Option<Kind> {
    let length = |rest: &str| rest.strip_prefix('(')?.strip_suffix(')')?.parse().ok();
    Some(match type_name {
        "text" => Kind::Text(None),
        "integer" => Kind::Whole(i32::MIN.into(), i32::MAX.into()),
        "timestamp with time zone" => Kind::Time,
        "boolean" => Kind::Boolean,
        "jsonb" => Kind::Json,
        "text[]" => Kind::Array,
        "inet" => Kind::Address,
        name if name.starts_with("numeric") => Kind::Number,
        name => Kind::Text(Some(length(name.strip_prefix("character varying")?)?)),
    })
}

/// What a check lets a number be: `CHECK (((rating >= 1) AND (rating <= 5)))`.
fn within(table: &str, column: &str, parts: &[Part]) -> Option<Kind> {
    let number = |text: &str, sign: &str| -> Option<i64> {
        let rest = text.split_once(&format!("({column} {sign} "))?.1;
        rest.split_once(')')?.0.parse().ok()
    };
    let checks = parts.iter().filter(|p| p.table == table && p.definition.starts_with("CHECK"));
    let bounds = checks.map(|p| (number(&p.definition, ">="), number(&p.definition, "<=")));
    bounds.into_iter().find_map(|(least, most)| Some(Kind::Whole(least?, most?)))
}

/// The foreign keys of a database, as the constraints say.
pub fn foreign_keys(parts: &[Part]) -> Vec<ForeignKey> {
    let key = |part: &Part| {
        let (column, rest) = part.definition.strip_prefix("FOREIGN KEY (")?.split_once(") REFERENCES ")?;
        Some(ForeignKey {
            table: part.table.clone(),
            column: column.to_string(),
            parent: rest.split_once('(')?.0.to_string(),
            cascades: rest.contains("ON DELETE CASCADE"),
        })
    };
    let mut keys: Vec<ForeignKey> = parts.iter().filter_map(key).collect();
    keys.sort();
    keys
}

/// What all stores hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// By table, in the order of ids.
    pub rows: BTreeMap<&'static str, Vec<Row>>,
    /// By table: the id that the next row gets.
    pub next: BTreeMap<&'static str, i64>,
    /// By collection and id.
    pub documents: BTreeMap<&'static str, BTreeMap<String, Fields>>,
}

impl Held {
    /// Reads the tables of a database.
    pub async fn read_database(&mut self, connection: &mut Connection, shapes: &[Shape]) -> Result<()> {
        for shape in shapes {
            let (name, names) = (shape.table.name, shape.names());
            let mut rows = Vec::new();
            for row in connection.rows(&sql::rows_as_text(name, &names)).await? {
                let values = (0..names.len()).map(|n| row.try_get(n));
                rows.push(values.collect::<Result<Row, _>>()?);
            }
            self.rows.insert(name, rows);
            let query = sql::bind(sql_file!("phases/5-verify/sequence.sql"), &[("table", name)]);
            let sequence: Option<String> = connection.row(&query).await?.try_get(0)?;
            let sequence = sequence.with_context(|| format!("{name}.id has no sequence"))?;
            let state = connection.row(&sql::sequence_state(&sequence)).await?;
            let (last, called): (i64, bool) = (state.try_get(0)?, state.try_get(1)?);
            self.next.insert(name, if called { last + 1 } else { last });
        }
        Ok(())
    }

    /// Reads documents of a collection, those that are not there included.
    pub async fn read_documents(
        &mut self,
        raw: &Raw,
        collection: &'static str,
        ids: &[String],
    ) -> Result<()> {
        let documents = self.documents.entry(collection).or_default();
        for (id, fields) in raw.read(collection, ids).await? {
            match fields {
                Some(fields) => documents.insert(id, fields),
                None => documents.remove(&id),
            };
        }
        Ok(())
    }

    pub fn rows_of(&self, table: &str) -> &[Row] {
        self.rows.get(table).map_or(&[], Vec::as_slice)
    }

    pub fn documents_of(&self, collection: &str) -> impl Iterator<Item = (&String, &Fields)> {
        self.documents.get(collection).into_iter().flatten()
    }
}

/// A row's id.
pub fn id_of(row: &Row) -> &str {
    row.first().and_then(Option::as_deref).unwrap_or("NULL")
}

/// The rows of some ids, by id: of before and of now.
pub type Pairs<'a> = BTreeMap<i64, (Vec<&'a Row>, Vec<&'a Row>)>;

/// Rows that are not what they were.
pub fn changed_rows<'a>(before: &'a [Row], after: &'a [Row]) -> Pairs<'a> {
    let mut pairs: Pairs<'a> = BTreeMap::new();
    let number = |row: &Row| id_of(row).parse::<i64>().unwrap_or_default();
    for row in before {
        pairs.entry(number(row)).or_default().0.push(row);
    }
    for row in after {
        pairs.entry(number(row)).or_default().1.push(row);
    }
    pairs.retain(|_, (before, after)| before != after);
    pairs
}

/// Ids of documents that are not what they were.
pub fn changed_documents(before: &Held, after: &Held, collection: &str) -> BTreeSet<String> {
    let (before, after) = (before.documents.get(collection), after.documents.get(collection));
    let all = before.into_iter().flatten().chain(after.into_iter().flatten()).map(|(id, _)| id);
    let same = |id: &String| before.and_then(|d| d.get(id)) == after.and_then(|d| d.get(id));
    all.filter(|id| !same(id)).cloned().collect()
}
