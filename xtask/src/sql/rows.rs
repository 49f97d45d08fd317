//! The wrappers around a table's SELECT: the only way to its rows.

use super::blocks::{copy_csv, spaced};
use super::details::detail;
use super::files::bind;
use super::hash::HashFn;
use super::reading::{Reading, TargetType};
use crate::model::{Column, MIGRATED};
use crate::sql_text::{ident, literal, qualified};
use crate::tables::Table;
use anyhow::Result;
use datapath::document::NullPolicy;
use std::collections::{BTreeMap, BTreeSet};

/// A table's SELECT, expanded, with the columns that it has: the only way to its rows.
#[derive(Clone, Debug)]
pub struct Rows {
    select: String,
    /// The columns of a row as the file holds it: all but `outcome` and `note`.
    pub columns: Vec<Column>,
    /// Those of them that the target has no place for.
    file_only: &'static [&'static str],
    key_source: String,
    /// The zone of time stamps that have none (DESIGN fault 12).
    zone: String,
    /// Columns that have another type in the target.
    casts: BTreeMap<String, TargetType>,
    /// Columns whose values are read as another kind of value.
    conversions: BTreeMap<String, TargetType>,
    /// Of a collection: a row's id and document as PostgreSQL tells them.
    document: Option<String>,
}

/// How a row of the source becomes one of the target.
#[derive(Clone, Copy, Debug)]
pub struct Treatment<'a> {
    pub reading: &'a Reading,
    /// The zone of time stamps that have none.
    pub zone: &'a str,
    pub nulls: NullPolicy,
}

/// Single rows, by what they hold.
#[derive(Clone, Copy, Debug)]
pub enum Only<'a> {
    Ids(&'a [i64]),
    /// One of these values in a column of text.
    Column(&'a str, &'a [String]),
}

impl Rows {
    /// `columns`: what the server says that `select` returns, `outcome` and `note` included.
    pub fn new(table: &Table, select: String, columns: Vec<Column>, treatment: Treatment) -> Result<Rows> {
        for meta in ["outcome", "note", "id"] {
            anyhow::ensure!(
                columns.iter().any(|c| c.name == meta),
                "sql/{} has no column {meta}",
                table.export.path
            );
        }
        anyhow::ensure!(columns[0].name == "id", "sql/{}: the first column has to be id", table.export.path);
        let Treatment { reading, zone, nulls } = treatment;
        let defaults = if nulls == NullPolicy::Default { "true" } else { "false" };
        Ok(Rows {
            select,
            columns: columns.into_iter().filter(|c| c.name != "outcome" && c.name != "note").collect(),
            file_only: table.file_only,
            key_source: table.source.to_string(),
            zone: zone.to_string(),
            casts: reading.casts.get(table.name).cloned().unwrap_or_default(),
            conversions: reading.conversions.get(table.name).cloned().unwrap_or_default(),
            document: table.document.map(|file| bind(file, &[("defaults", defaults)])),
        })
    }

    /// The columns that the target holds, in the order of the SELECT, with the types that they have there.
    pub fn target_columns(&self) -> Vec<Column> {
        let column = |c: &Column| match self.casts.get(&c.name).or(self.conversions.get(&c.name)) {
            Some(into) => Column { name: c.name.clone(), kind: into.kind.clone() },
            None => c.clone(),
        };
        self.columns.iter().filter(|c| !self.file_only.contains(&c.name.as_str())).map(column).collect()
    }

    /// The hash of the migrated row `r` as its target must hold it: of the values as the target's columns
    /// hold them, or of the document.
    fn expected_hash(&self, hash: HashFn) -> String {
        self.hash_without(hash, &[])
    }

    /// The same without columns whose value is assumed.
    fn hash_without(&self, hash: HashFn, assumed: &[(&str, &str)]) -> String {
        if let Some(document) = &self.document {
            return format!(
                "('x' || encode(substr(sha256(convert_to(({document})::text, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint"
            );
        }
        let mut columns = self.target_columns();
        columns.retain(|column| !assumed.iter().any(|(name, _)| *name == column.name));
        let value = |c: &Column| match self.casts.get(&c.name) {
            Some(into) => format!("r.{}::{}", ident(&c.name), into.sql),
            None => format!("r.{}", ident(&c.name)),
        };
        hash.of_values(columns.iter().map(|c| (value(c), c.kind.as_str())))
    }

    /// One column of `r`; a time stamp without zone gets the environment's.
    fn value(&self, column: &Column) -> String {
        let name = ident(&column.name);
        if let Some(into) = self.conversions.get(&column.name) {
            // Of a row that goes it has been judged.
            let migrated = literal(MIGRATED);
            let read = into.read(&format!("r.{name}"));
            return format!("CASE WHEN r.outcome = {migrated} THEN {read} END AS {name}");
        }
        match column.kind.as_str() {
            "timestamp" => format!("r.{name} AT TIME ZONE {} AS {name}", literal(&self.zone)),
            _ => format!("r.{name}"),
        }
    }

    fn values(&self, columns: &[Column]) -> String {
        columns.iter().map(|c| self.value(c)).collect::<Vec<_>>().join(", ")
    }

    /// `SELECT * FROM (…) LIMIT 0`: asks the server for the columns.
    pub fn shape(select: &str) -> String {
        format!("SELECT * FROM (\n{select}\n) r LIMIT 0")
    }

    /// Every row once, as CSV with a header: outcome, note, hash of the key, hash of the row as the
    /// target must hold it (of migrated rows), then the row as the file holds it, its id first.
    pub fn copy_sorted(&self, hash: HashFn) -> String {
        self.copy(hash, "")
    }

    /// The same of single rows.
    pub fn copy_only(&self, hash: HashFn, only: Only) -> String {
        let which = match only {
            Only::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                format!("WHERE r.id = ANY ('{{{}}}')", ids.join(","))
            }
            Only::Column(column, values) => {
                let values: Vec<String> = values.iter().map(|v| literal(v)).collect();
                format!("WHERE r.{} = ANY (ARRAY[{}]::text[])", ident(column), values.join(", "))
            }
        };
        self.copy(hash, &which)
    }

    fn copy(&self, hash: HashFn, which: &str) -> String {
        let mut values = self.columns.iter().map(|c| format!("r.{}", ident(&c.name))).collect::<Vec<_>>();
        // Rust's csv cannot tell NULL from ''.
        if self.document.is_some() {
            let names = self
                .columns
                .iter()
                .map(|c| format!("CASE WHEN r.{} IS NULL THEN {} END", ident(&c.name), literal(&c.name)));
            values.push(format!("{} AS null_fields", spaced(&names.collect::<Vec<_>>())));
        }
        copy_csv(&format!(
            "SELECT r.outcome, r.note, {key} AS key, CASE WHEN r.outcome = {migrated} THEN {row} END AS hash, \
             {out} FROM (SELECT {values}, r.outcome, r.note FROM (\n{select}\n) r {which}) r",
            key = hash.of_text("r.id::text"),
            migrated = literal(MIGRATED),
            row = self.expected_hash(hash),
            out = values.join(", "),
            values = self.values(&self.columns),
            select = self.select,
        ))
    }

    /// Rows by outcome, with some ids of those in quarantine.
    pub fn outcomes(select: &str, sample: usize) -> String {
        format!(
            "SELECT r.outcome, count(*) AS rows, (array_agg(r.id::bigint ORDER BY r.id) \
             FILTER (WHERE r.outcome LIKE 'quarantined:%'))[1:{sample}] AS some \
             FROM (\n{select}\n) r GROUP BY r.outcome"
        )
    }

    /// The migrated rows as the target holds them, for those who move them by other means.
    pub fn migrated(&self) -> String {
        format!(
            "SELECT {} FROM (\n{}\n) r WHERE r.outcome = {}",
            self.values(&self.target_columns()),
            self.select,
            literal(MIGRATED)
        )
    }

    /// Every row as the file holds it.
    pub fn as_filed(&self) -> String {
        format!("SELECT {} FROM (\n{}\n) r", self.values(&self.columns), self.select)
    }

    /// Every row with its values as the target holds them.
    pub fn as_held(&self) -> String {
        let held = self.columns.iter().map(|c| {
            let name = ident(&c.name);
            let cast = self.casts.get(&c.name).map(|into| format!("::{} AS {name}", into.sql));
            format!("r.{name}{}", cast.unwrap_or_default())
        });
        format!("SELECT {} FROM (\n{}\n) r", held.collect::<Vec<_>>().join(", "), self.as_filed())
    }

    /// Of rows by their ids: `id`, the key as text, and the hash of what the target must hold of
    /// it, whatever its outcome; columns with assumed values are left out.
    pub fn hashes_of(&self, table: &Table, hash: HashFn, ids: &[i64]) -> String {
        format!(
            "SELECT r.id::bigint, r.{key}::text, {hash} FROM (SELECT {values} FROM (\n{select}\n) r WHERE r.id = ANY ({ids})) r",
            ids = super::blocks::ids(ids),
            key = ident(table.collection().map_or("id", |collection| collection.id)),
            hash = self.hash_without(hash, table.assumed),
            values = self.values(&self.columns),
            select = self.select,
        )
    }

    /// These rows of the source as they are, each with its reason and what decided. Where text had to be
    /// decoded, what is no text is written in PostgreSQL's notation for bytes (`\x` and hexadecimal digits), and
    /// the column `quarantine_bytes` names the columns that are. Where the source has a column of such a name,
    /// ours is called `xtask_…`.
    pub fn copy_quarantine(&self, table: &Table, rows: &[(i64, String)], reading: &Reading) -> String {
        let taken = reading.taken.get(table.name);
        let own = |name: &str| match taken.is_some_and(|taken| taken.iter().any(|taken| taken == name)) {
            true => format!("xtask_{name}"),
            false => name.to_string(),
        };
        let all = "s.*".to_string();
        let bytes = own("quarantine_bytes");
        let values = reading.decoding.as_ref().map_or(all, |d| d.evidence(&self.key_source, &bytes));
        let ids: Vec<String> = rows.iter().map(|(id, _)| id.to_string()).collect();
        let reasons: Vec<String> = rows.iter().map(|(_, reason)| literal(reason)).collect();
        let distinct: BTreeSet<&str> = rows.iter().map(|(_, reason)| reason.as_str()).collect();
        copy_csv(&format!(
            "SELECT {values}, q.reason AS {reason}, {detail} AS {detail_name} \
             FROM unnest(ARRAY[{ids}]::bigint[], ARRAY[{reasons}]::text[]) q (id, reason) \
             JOIN {source} s ON s.id = q.id \
             LEFT JOIN (SELECT * FROM (\n{select}\n) r WHERE r.id = ANY (ARRAY[{ids}]::bigint[])) r ON r.id = s.id",
            reason = own("quarantine_reason"),
            detail = detail(table, reading, &distinct.into_iter().collect::<Vec<_>>()),
            detail_name = own("quarantine_detail"),
            ids = ids.join(", "),
            reasons = reasons.join(", "),
            source = qualified("public", &self.key_source),
            select = self.select,
        ))
    }
}

/// The columns of a quarantine's file beside those of the source.
pub const QUARANTINE_COLUMNS: [&str; 3] = ["quarantine_reason", "quarantine_detail", "quarantine_bytes"];
