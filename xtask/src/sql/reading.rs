//! How the source's tables are read where they are not simply what the SQL files expect: text that has to
//! be decoded, values that the target's columns may not hold. Said by the catalogues at the start of a
//! run; for a source like our fixtures there is nothing to say, and the statements are those of `sql/`.
//!
//! The files name what is wrong with a row in two variables a table: `:undecodable_orders` and
//! `:unfit_orders`, ids of rows; NULL where there cannot be any, and then the planner drops the condition.

use super::blocks::{ids, spaced};
use super::files::{code, included};
use crate::sql_text::{SqlFile, ident, literal, qualified};
use crate::tables::Table;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Part of the manifest: with it the same rows are read again in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Where text is looked at byte by byte. `None`: the server vouches for it.
    pub decoding: Option<Decoding>,
    /// By table: columns of its SELECT whose type holds more than the target's.
    pub limits: BTreeMap<String, Vec<(String, Limit)>>,
    /// By table and column: the target's type, where it is not the one of the SELECT. What fits arrives
    /// as the same value, and is hashed as the target writes it.
    #[serde(default)]
    pub casts: BTreeMap<String, BTreeMap<String, TargetType>>,
    /// By table and column: the type that values are read as, where the source's is of another kind and the
    /// person has accepted that. A row with a value that is none of it stays behind.
    #[serde(default)]
    pub conversions: BTreeMap<String, BTreeMap<String, TargetType>>,
    /// By table and column: ids of these rows.
    #[serde(default)]
    pub unconvertible: BTreeMap<String, BTreeMap<String, Vec<i64>>>,
    /// By table: columns that the target declares NOT NULL.
    #[serde(default)]
    pub required: BTreeMap<String, Vec<String>>,
    /// Ids and references of the targets (`table.column`) that the source has as bigint.
    #[serde(default)]
    pub wide: Vec<String>,
    /// By table: names of the quarantine's own columns that a column of the source has, too.
    #[serde(default)]
    pub taken: BTreeMap<String, Vec<String>>,
}

/// A column's type in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetType {
    /// As `format_type` writes it: `numeric(10,2)`.
    pub sql: String,
    /// Its name: `numeric`.
    pub kind: String,
}

impl TargetType {
    /// A value of another kind, read as one of this: by its text.
    pub fn read(&self, value: &str) -> String {
        match self.kind.as_str() {
            // 5.00 is a whole number.
            "int2" | "int4" | "int8" => format!("{value}::text::numeric::{}", self.sql),
            _ => format!("{value}::text::{}", self.sql),
        }
    }
}

/// The file as a statement for the source: its `\ir` lines replaced by the files that they name, as psql
/// does, its variables set, and the tables decoded where they have to be.
pub fn expand(tables: &[Table], file: SqlFile, reading: &Reading) -> Result<String> {
    reading.statement(tables, file)
}

/// What a target's column holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    Characters(u32),
    Whole {
        least: i64,
        most: i64,
    },
    Decimal {
        precision: u32,
        scale: u32,
    },
    /// Of an array: bytes of an element, each an entry of an inverted index.
    Element {
        bytes: u32,
    },
}

/// Text of the source that is decoded by us, not by its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoding {
    /// What the server calls the database's encoding.
    pub server: String,
    /// What it is.
    pub encoding: String,
    /// Bytes that are no character. `None` for UTF8, where it is not a matter of single bytes.
    pub bad_bytes: Option<Vec<u8>>,
    /// By table of the source: all its columns.
    pub columns: BTreeMap<String, Vec<SourceColumn>>,
}

/// A column of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceColumn {
    pub name: String,
    /// As `format_type` writes it.
    pub kind: String,
    /// Whether its values hold text.
    pub textual: bool,
}

impl Limit {
    /// Whether a value is beyond it. Never NULL.
    pub(super) fn broken_by(self, value: &str) -> String {
        let broken = match self {
            // Bytes first: no text has more characters than bytes.
            Limit::Characters(most) => format!(
                "octet_length({value}::text) > {most} \
                 AND length(convert_to({value}::text, 'UTF8'), 'UTF8') > {most}"
            ),
            Limit::Whole { least, most } => format!("{value} NOT BETWEEN {least} AND {most}"),
            // As many digits as the target's column has, whatever zeros follow them. NaN fits, and is larger
            // than all numbers.
            Limit::Decimal { precision, scale } => format!(
                "{value} <> round({value}, {scale}) OR abs(nullif({value}, 'NaN')) >= 1e{}",
                precision - scale
            ),
            // The whole first: an element has no more bytes in UTF-8 than four times those of all.
            Limit::Element { bytes } => format!(
                "octet_length({value}::text) > {bytes} / 4 AND EXISTS (SELECT FROM unnest({value}) e (element) \
                 WHERE octet_length(convert_to(e.element::text, 'UTF8')) > {bytes})"
            ),
        };
        format!("({broken}) IS TRUE")
    }
}

/// Bytes that are a text in UTF-8, in hexadecimal (RFC 3629).
const UTF8: &str = "^(?:[0-7].|(?:c[2-9a-f]|d.)[89ab].|e0[ab].[89ab].|(?:e[1-9a-c]|e[ef])[89ab].[89ab].\
                    |ed[89].[89ab].|f0[9ab].[89ab].[89ab].|f[1-3][89ab].[89ab].[89ab].|f48.[89ab].[89ab].)*$";

impl Decoding {
    /// The bytes of a column as they are stored.
    fn bytes(&self, column: &str) -> String {
        match self.server.as_str() {
            // `convert_to` would check them first.
            "UTF8" => format!("textsend({column}::text)"),
            server => format!("convert_to({column}::text, {})", literal(server)),
        }
    }

    /// Whether a column holds bytes that are no text. Never NULL.
    fn is_bad(&self, column: &str) -> String {
        let hex = format!("encode({}, 'hex')", self.bytes(column));
        let bad = match &self.bad_bytes {
            None => format!("{hex} !~ {}", literal(UTF8)),
            Some(bytes) if bytes.is_empty() => return "false".into(),
            Some(bytes) => {
                let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
                format!("{hex} ~ {}", literal(&format!("^(?:..)*(?:{})", bytes.join("|"))))
            }
        };
        format!("({bad}) IS TRUE")
    }

    /// A column as text in UTF-8, in its type; only where it is not bad.
    fn decoded(&self, column: &str, kind: &str) -> String {
        if self.server == self.encoding || self.encoding == "UTF8" {
            return column.to_string();
        }
        let encoding = literal(&self.encoding);
        // No varchar(n): in a database without an encoding it counts bytes, and UTF-8 has more of them.
        let kind = match kind.starts_with("char") {
            true if kind.ends_with("[]") => "text[]",
            true => "text",
            false => kind,
        };
        format!("convert_from(convert({}, {encoding}, 'UTF8'), 'UTF8')::{kind}", self.bytes(column))
    }

    /// A column of `t` as the SELECTs see it: bad bytes are not seen.
    fn seen(&self, column: &SourceColumn) -> String {
        let (name, value) = (ident(&column.name), format!("t.{}", ident(&column.name)));
        if !column.textual {
            return value;
        }
        let decoded = self.decoded(&value, &column.kind);
        format!("CASE WHEN NOT {} THEN {decoded} END AS {name}", self.is_bad(&value))
    }

    fn textual(&self, table: &str) -> impl Iterator<Item = &SourceColumn> {
        self.columns.get(table).into_iter().flatten().filter(|c| c.textual)
    }

    /// `users AS (…), orders AS (…)`: in front of a statement they stand for the tables.
    fn tables(&self) -> String {
        let table = |(name, columns): (&String, &Vec<SourceColumn>)| {
            let seen: Vec<String> = columns.iter().map(|c| self.seen(c)).collect();
            format!(
                "{} AS NOT MATERIALIZED (SELECT {} FROM {} t)",
                ident(name),
                seen.join(", "),
                qualified("public", name)
            )
        };
        self.columns.iter().map(table).collect::<Vec<_>>().join(",\n")
    }

    /// Rows of a table of the source that hold bytes which are no text: `id`, names of these columns.
    pub fn undecodable(&self, table: &str) -> String {
        let (any, names): (Vec<String>, Vec<String>) = self
            .textual(table)
            .map(|c| {
                let bad = self.is_bad(&format!("t.{}", ident(&c.name)));
                (bad.clone(), format!("CASE WHEN {bad} THEN {} END", literal(&c.name)))
            })
            .unzip();
        match &any[..] {
            [] => "SELECT NULL::bigint AS id, ''::text AS columns WHERE false".to_string(),
            any => format!(
                "SELECT t.id, {} AS columns FROM {} t WHERE {}",
                spaced(&names),
                qualified("public", table),
                any.join(" OR ")
            ),
        }
    }

    /// The columns of `s`, a row of the table as it is: text as text, what is none in PostgreSQL's
    /// notation for bytes, and at last, as `bytes`, the names of the columns that are written so.
    pub(super) fn evidence(&self, table: &str, bytes: &str) -> String {
        let mut values: Vec<String> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for column in self.columns.get(table).into_iter().flatten() {
            let (name, value) = (ident(&column.name), format!("s.{}", ident(&column.name)));
            if !column.textual {
                values.push(value);
                continue;
            }
            let (bad, bytes) = (self.is_bad(&value), self.bytes(&value));
            let decoded = self.decoded(&value, &column.kind);
            values.push(format!(
                "CASE WHEN {bad} THEN '\\x' || encode({bytes}, 'hex') ELSE ({decoded})::text END AS {name}"
            ));
            names.push(format!("CASE WHEN {bad} THEN {} END", literal(&column.name)));
        }
        values.push(format!("{} AS {bytes}", spaced(&names)));
        values.join(", ")
    }
}

/// Fails, in the server's words, where a value of the table does not convert to UTF-8. Cheap: it names no row.
pub fn all_convert(table: &str, columns: &[SourceColumn]) -> String {
    let texts: Vec<String> =
        columns.iter().filter(|c| c.textual).map(|c| format!("{}::text", ident(&c.name))).collect();
    match &texts[..] {
        [] => "SELECT 0".into(),
        // A blank in between: two halves must not make a whole.
        texts => format!(
            "SELECT count(*) FROM {} WHERE octet_length(convert_to({}, 'UTF8')) < 0",
            qualified("public", table),
            spaced(texts)
        ),
    }
}

/// Fails where a byte is no character of an encoding.
pub fn byte_converts(byte: u8, encoding: &str) -> String {
    format!("SELECT convert('\\x{byte:02x}'::bytea, {}, 'UTF8')", literal(encoding))
}

impl Reading {
    /// Columns (`table.column`) that a later reading reads otherwise, because of their types.
    pub fn columns_read_otherwise(&self, later: &Reading) -> BTreeSet<String> {
        let (then, now) = (self.by_types(), later.by_types());
        then.symmetric_difference(&now).map(|(column, _)| column.clone()).collect()
    }

    /// What the types of columns have to do with how they are read.
    fn by_types(&self) -> BTreeSet<(String, String)> {
        let mut said = BTreeSet::new();
        for (table, limits) in &self.limits {
            said.extend(
                limits.iter().map(|(column, limit)| (format!("{table}.{column}"), format!("{limit:?}"))),
            );
        }
        for (how, types) in [("cast", &self.casts), ("converted", &self.conversions)] {
            for (table, into) in types {
                let column = |(column, into)| (format!("{table}.{column}"), format!("{how}: {into:?}"));
                said.extend(into.iter().map(column));
            }
        }
        said.extend(self.wide.iter().map(|column| (column.clone(), String::new())));
        said
    }

    pub(super) fn statement(&self, tables: &[Table], file: SqlFile) -> Result<String> {
        let text = self.resolved(tables, &included(tables, file)?, &[])?;
        Ok(self.decoding_around(&text))
    }

    /// A file of preflight as a statement: it knows the tables by their bare names.
    pub fn query(&self, file: SqlFile) -> String {
        self.decoding_around(&code(file.text))
    }

    /// A statement that knows tables by their bare names, with those in front that it has to see.
    fn decoding_around(&self, text: &str) -> String {
        match &self.decoding {
            None => text.to_string(),
            Some(decoding) => format!("WITH {}\nSELECT * FROM (\n{text}\n) decoded", decoding.tables()),
        }
    }

    /// Migrated rows of a table that the target cannot hold: `id`.
    pub fn unfit(&self, tables: &[Table], table: &Table) -> Result<Option<String>> {
        let text = self.unfit_within(tables, table, &[])?;
        Ok(text.map(|text| self.decoding_around(&text)))
    }

    /// The text with its variables set. `within`: tables whose unfit rows are being asked for.
    fn resolved(&self, tables: &[Table], text: &str, within: &[&str]) -> Result<String> {
        let mut text = text.to_string();
        for table in tables {
            let undecodable = format!("(:undecodable_{})", table.name);
            if text.contains(&undecodable) {
                let ids = self
                    .decoding
                    .as_ref()
                    .map(|d| format!("(SELECT bad.id FROM ({}) bad)", d.undecodable(table.source)));
                text = text.replace(&undecodable, ids.as_deref().unwrap_or("(NULL)"));
            }
            let unfit = format!("(:unfit_{})", table.name);
            if text.contains(&unfit) {
                let ids = self.unfit_within(tables, table, within)?;
                let ids = ids.map(|ids| format!("(\n{ids}\n)"));
                text = text.replace(&unfit, ids.as_deref().unwrap_or("(NULL)"));
            }
        }
        Ok(text)
    }

    fn unfit_within(&self, tables: &[Table], table: &Table, within: &[&str]) -> Result<Option<String>> {
        let limits = self.limits.get(table.name).into_iter().flatten();
        let mut unfit: Vec<String> =
            limits.map(|(column, limit)| limit.broken_by(&format!("r.{}", ident(column)))).collect();
        let unconvertible = self.unconvertible.get(table.name).into_iter().flatten();
        let unconvertible = unconvertible.filter(|(_, rows)| !rows.is_empty());
        unfit.extend(unconvertible.map(|(_, rows)| format!("r.id = ANY ({}::bigint[])", ids(rows))));
        if unfit.is_empty() || within.contains(&table.name) {
            return Ok(None);
        }
        let select = included(tables, table.export)?;
        let select = self.resolved(tables, &select, &[within, &[table.name]].concat())?;
        Ok(Some(format!(
            "SELECT r.id FROM (\n{select}\n) r WHERE r.outcome = 'migrated' AND ({})",
            unfit.join(" OR ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TABLES;

    fn select(name: &str, reading: &Reading) -> String {
        let table = TABLES.iter().find(|t| t.name == name).unwrap();
        reading.statement(TABLES, table.export).unwrap()
    }

    #[test]
    fn a_source_as_expected_costs_nothing() {
        assert!(select("orders", &Reading::default()).contains("o.id IN (NULL)"));
        assert!(!select("orders", &Reading::default()).contains("MATERIALIZED"));
    }

    #[test]
    fn limits_reach_the_children_and_end() {
        let limits = [("orders".to_string(), vec![("status".to_string(), Limit::Characters(30))])].into();
        let reading = Reading { limits, ..Reading::default() };
        for table in ["orders", "order_items", "payments"] {
            let text = select(table, &reading);
            assert!(text.contains("octet_length(r.\"status\"::text) > 30"), "{table}: {text}");
            assert!(!text.contains("(:"), "{table}: {text}");
        }
        assert!(!select("products", &reading).contains("octet_length(r."));
    }

    #[test]
    fn every_file_expands() {
        for table in TABLES {
            for file in [table.export, table.audit] {
                let text = expand(TABLES, file, &Reading::default()).unwrap();
                assert!(!text.contains("\\ir") && !text.contains("(:"), "{}", file.path);
                assert!(!text.contains(';'), "{}: a wrapper goes around it", file.path);
                assert!(text.is_ascii(), "{}: not every source takes these letters", file.path);
            }
        }
    }

    #[test]
    fn a_missing_include_names_file_and_line() {
        let file = SqlFile { path: "tables/x/2-export.sql", text: "SELECT\n\\ir ../nowhere/2-export.sql\n" };
        let error = expand(TABLES, file, &Reading::default()).unwrap_err().to_string();
        assert!(error.contains("tables/nowhere/2-export.sql"), "{error}");
    }
}
