//! SQL from `sql/`, and the few wrappers around a table's SELECT. All quoting stands here, and no
//! other module puts SQL together. Pure: nothing here talks to a server.
//!
//! What was learnt: subplans such as `NOT IN (SELECT …)` fall back to a quadratic plan when they do
//! not fit `work_mem`, joins do not; so the SELECTs join, and sessions on the source get memory.

mod definitions;
mod hash;
mod hazards;
mod keys;
mod reading;
mod rows;

use crate::sql_text::{SqlFile, ident, literal, qualified};
pub use definitions::*;
pub use hazards::*;
pub use keys::*;
pub use reading::{Decoding, Limit, Reading, SourceColumn, all_convert, byte_converts};
pub use rows::{Only, Rows};

use crate::model::Column;
use crate::tables::Table;
use anyhow::{Context, Result};
pub use datapath::digest::BUCKET;
pub use hash::HashFn;

/// Settings that every session of ours pins, so that a value has one text on every server and
/// nothing of the server's or role's defaults can change or hide a row (DESIGN rules 1 and 7). No
/// parallel workers: as many statements run at once as there are processors (`turns.rs`).
pub const SESSION: &str = "\
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; \
    SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; \
    SET client_encoding = 'UTF8'; SET client_min_messages = 'warning'; SET search_path = public; \
    SET row_security = off; SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; \
    SET jit = off; SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 0; \
    SET max_parallel_maintenance_workers = 0; SET client_connection_check_interval = '2s'";

fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    names.into_iter().map(|n| ident(n.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The file as a statement for the source: its `\ir` lines replaced by the files that they name, as psql
/// does, its variables set, and the tables decoded where they have to be.
pub fn expand(tables: &[Table], file: SqlFile, reading: &Reading) -> Result<String> {
    reading.statement(tables, file)
}

/// The file's text with its `\ir` lines replaced by the files that they name.
fn included(tables: &[Table], file: SqlFile) -> Result<String> {
    let mut text = String::with_capacity(file.text.len() * 2);
    for line in code(file.text).lines() {
        match line.trim().strip_prefix("\\ir ") {
            Some(path) => {
                let wanted = relative(file.path, path.trim());
                let file = tables
                    .iter()
                    .flat_map(|t| [t.export, t.audit].into_iter().chain(t.fragments.iter().copied()))
                    .find(|f| f.path == wanted)
                    .with_context(|| {
                        format!("sql/{}: no table has a file {wanted} for {}", file.path, line.trim())
                    })?;
                text.push_str(&included(tables, file)?);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(text)
}

/// A file's text without its comments: they may hold signs that a source in another encoding than UTF-8
/// does not take. For our files: they have neither escapes in strings nor other quotes.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut rest) = (false, text);
    while let Some(at) = rest.find(['\'', '-']) {
        let comment = !quoted && rest[at..].starts_with("--");
        quoted ^= rest[at..].starts_with('\'');
        let (before, after) = rest.split_at(if comment { at } else { at + 1 });
        out.push_str(before);
        rest = if comment { after.find('\n').map_or("", |end| &after[end..]) } else { after };
    }
    out.push_str(rest);
    out
}

/// `tables/orders/2-export.sql` + `../users/2-export.sql` = `tables/users/2-export.sql`.
fn relative(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn bucket(id: &str) -> String {
    format!("({id} / {BUCKET})::bigint")
}

/// Any SELECT as CSV with a header.
pub fn copy_csv(select: &str) -> String {
    format!("COPY (\n{select}\n) TO STDOUT WITH (FORMAT csv, HEADER)")
}

/// The rules told a second time: `kind`, rows, sum of key hashes.
pub fn audit(select: &str, hash: HashFn) -> String {
    format!(
        "SELECT a.kind, count(*), sum({})::text FROM (\n{select}\n) a GROUP BY 1",
        hash.of_text("a.id::text")
    )
}

/// Rows on which the SELECT and the audit disagree: `id`, outcome or NULL, kind or NULL.
pub fn audit_differences(select: &str, audit: &str, limit: usize) -> String {
    format!(
        "SELECT coalesce(r.id, a.id)::text, r.outcome, a.kind FROM (\n{select}\n) r \
         FULL JOIN (\n{audit}\n) a ON a.id = r.id \
         WHERE split_part(r.outcome, ':', 1) IS DISTINCT FROM a.kind ORDER BY 1 LIMIT {limit}"
    )
}

/// Ids that the SELECT gives more or fewer times than the bare table: `id`, times in each.
pub fn classification_differences(table: &Table, select: &str, limit: usize) -> String {
    format!(
        "SELECT coalesce(s.id, r.id)::text, coalesce(s.n, 0), coalesce(r.n, 0) \
         FROM (SELECT id, count(*) AS n FROM {source} GROUP BY id) s \
         FULL JOIN (SELECT id, count(*) AS n FROM (\n{select}\n) c GROUP BY id) r ON r.id = s.id \
         WHERE s.n IS DISTINCT FROM r.n ORDER BY 1 LIMIT {limit}",
        source = qualified("public", table.source)
    )
}

/// A bare table of the source: rows, digest of whole rows.
pub fn digest_raw(schema: &str, table: &str, columns: &[Column], hash: HashFn) -> String {
    format!(
        "SELECT count(*), sum({row})::text FROM ONLY {table} t",
        row = hash.of_row("t", columns),
        table = qualified(schema, table)
    )
}

/// The same of some of its rows, each by itself: `id`, digest.
pub fn digest_raw_rows(schema: &str, table: &str, columns: &[Column], hash: HashFn, rows: &[i64]) -> String {
    format!(
        "SELECT t.id::bigint, ({row})::text FROM ONLY {table} t WHERE t.id = ANY ({ids})",
        row = hash.of_row("t", columns),
        table = qualified(schema, table),
        ids = keys::ids(rows)
    )
}

/// The keys of a bare table: rows, sum of hashes.
pub fn digest_keys(schema: &str, table: &str, hash: HashFn) -> String {
    format!(
        "SELECT count(t.id), sum({})::text FROM ONLY {} t",
        hash.of_text("t.id::text"),
        qualified(schema, table)
    )
}

/// What a target's table holds, by bucket of ids: rows, digest.
pub fn digest_target(schema: &str, table: &str, columns: &[Column], hash: HashFn) -> String {
    format!(
        "SELECT {bucket}, count(*), sum({row})::text FROM {table} t GROUP BY 1",
        bucket = bucket("t.id"),
        row = hash.of_row("t", columns),
        table = qualified(schema, table)
    )
}

fn qualified_list(alias: &str, columns: &[Column]) -> String {
    columns.iter().map(|c| format!("{alias}.{}", ident(&c.name))).collect::<Vec<_>>().join(", ")
}

/// Takes rows in CSV; `header`: after a line of names.
pub fn copy_in(schema: &str, table: &str, columns: &[Column], header: bool) -> String {
    format!(
        "COPY {} ({}) FROM STDIN WITH (FORMAT csv, HEADER {header})",
        qualified(schema, table),
        list(columns.iter().map(|c| c.name.as_str()))
    )
}

/// A temporary table like that of a schema, for rows of these buckets: filled by the second statement.
pub fn expected_rows(schema: &str, table: &str, columns: &[Column], buckets: &[i64]) -> (String, String) {
    let buckets = buckets.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let create = format!(
        "CREATE TEMP TABLE expected ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
        list(columns.iter().map(|c| c.name.as_str())),
        qualified(schema, table)
    );
    let fill = format!(
        "COPY pg_temp.expected ({}) FROM STDIN WITH (FORMAT csv, HEADER) WHERE {} = ANY ('{{{buckets}}}')",
        list(columns.iter().map(|c| c.name.as_str())),
        bucket("id")
    );
    (create, fill)
}

/// Rows that differ from `expected`: id, `expected` and `found` as JSON arrays of text, NULL where there
/// is none, and how many rows were found with this id. JSON, because sqlx takes the element "NULL" of
/// an array in text form for NULL.
pub fn row_differences(table: &str, columns: &[Column], buckets: &[i64], limit: usize) -> String {
    let array = |alias: &str| {
        let values = columns.iter().map(|c| format!("{alias}.{}::text", ident(&c.name)));
        format!(
            "CASE WHEN {alias}.id IS NOT NULL THEN to_json(ARRAY[{}])::text END",
            values.collect::<Vec<_>>().join(", ")
        )
    };
    let buckets = buckets.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    format!(
        "SELECT coalesce(e.id, f.id)::text, {expected}, {found}, f.xtask_times FROM pg_temp.expected e \
         FULL JOIN (SELECT *, count(*) OVER (PARTITION BY id) AS xtask_times FROM {table} \
                    WHERE {bucket} = ANY ('{{{buckets}}}')) f ON f.id = e.id \
         WHERE ROW({ec})::text IS DISTINCT FROM ROW({fc})::text OR e.id IS NULL OR f.id IS NULL \
            OR f.xtask_times > 1 \
         ORDER BY coalesce(e.id, f.id) LIMIT {limit}",
        expected = array("e"),
        found = array("f"),
        table = qualified("public", table),
        bucket = bucket("id"),
        ec = qualified_list("e", columns),
        fc = qualified_list("f", columns),
    )
}

/// Compared with `expected`: rows that are more, rows that are missing, rows that are not the same.
pub fn row_difference_counts(table: &str, columns: &[Column], buckets: &[i64]) -> String {
    format!(
        "SELECT count(*) FILTER (WHERE e.id IS NULL), count(*) FILTER (WHERE f.id IS NULL), \
                count(*) FILTER (WHERE e.id IS NOT NULL AND f.id IS NOT NULL \
                                   AND ROW({ec})::text IS DISTINCT FROM ROW({fc})::text) \
         FROM pg_temp.expected e FULL JOIN ({found}) f ON f.id = e.id",
        found = in_buckets(table, buckets),
        ec = qualified_list("e", columns),
        fc = qualified_list("f", columns),
    )
}

/// The ids of `expected` that are not there.
pub fn missing_rows(table: &str, buckets: &[i64], limit: usize) -> String {
    format!(
        "SELECT e.id::text FROM pg_temp.expected e LEFT JOIN ({found}) f ON f.id = e.id \
         WHERE f.id IS NULL ORDER BY e.id LIMIT {limit}",
        found = in_buckets(table, buckets)
    )
}

fn in_buckets(table: &str, buckets: &[i64]) -> String {
    let list = buckets.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    format!("SELECT * FROM {} WHERE {} = ANY ('{{{list}}}')", qualified("public", table), bucket("id"))
}

/// A file with psql's variables set: `:'name'` becomes a constant, `:"name"` an identifier, `:name` the
/// text as it is (numbers only).
pub fn bind(file: SqlFile, values: &[(&str, &str)]) -> String {
    values.iter().fold(code(file.text), |text, (name, value)| {
        text.replace(&format!(":'{name}'"), &literal(value))
            .replace(&format!(":\"{name}\""), &ident(value))
            .replace(&format!(":{name}"), value)
    })
}

/// The state of a sequence: `last_value`, `is_called`. The name comes from `pg_get_serial_sequence`
/// and is quoted already.
pub fn sequence_state(quoted: &str) -> String {
    format!("SELECT last_value, is_called FROM {quoted}")
}

pub fn exists(schema: &str, table: &str) -> String {
    format!("SELECT to_regclass({}) IS NOT NULL", literal(&qualified(schema, table)))
}

/// Every column of a table, to be described.
pub fn all(schema: &str, table: &str) -> String {
    format!("SELECT * FROM {}", qualified(schema, table))
}

pub fn count(schema: &str, table: &str) -> String {
    format!("SELECT count(*) FROM {}", qualified(schema, table))
}

/// The manifest's row in a target; `record`: JSON.
pub fn record_run(run: &str, record: &str) -> String {
    format!(
        "INSERT INTO xtask.runs (run, tables) VALUES ({}, {}) \
         ON CONFLICT (run) DO UPDATE SET published = now(), tables = excluded.tables",
        literal(run),
        literal(record)
    )
}

/// Every key that another store holds: `id`, `key`, `state`.
pub const KNOWN_KEYS: &str = "CREATE TEMP TABLE known (id text, key text, state text) ON COMMIT DROP";
pub const FILL_KNOWN_KEYS: &str = "COPY pg_temp.known (id, key, state) FROM STDIN WITH (FORMAT csv, HEADER)";

/// The ids of a table with one state, for `FILL_KNOWN_KEYS`.
pub fn keys_of(table: &str) -> String {
    copy_csv(&format!("SELECT id, id AS key, 'migrated' AS state FROM {}", qualified("public", table)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TABLES;

    #[test]
    fn quoting() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
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
    fn comments_go_and_strings_stay() {
        assert_eq!(code("a -- it's\nb '--' - c--\n'x''--y' -- z"), "a \nb '--' - c\n'x''--y' ");
    }

    #[test]
    fn a_missing_include_names_file_and_line() {
        let file = SqlFile { path: "tables/x/2-export.sql", text: "SELECT\n\\ir ../nowhere/2-export.sql\n" };
        let error = expand(TABLES, file, &Reading::default()).unwrap_err().to_string();
        assert!(error.contains("tables/nowhere/2-export.sql"), "{error}");
    }

    #[test]
    fn variables_are_quoted() {
        let file = SqlFile { path: "x", text: "SELECT :'t', :\"t\" LIMIT :n" };
        assert_eq!(bind(file, &[("t", "a'b"), ("n", "3")]), "SELECT 'a''b', \"a'b\" LIMIT 3");
    }
}
