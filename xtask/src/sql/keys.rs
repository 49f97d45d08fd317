//! Single rows of targets: what they must be, what this tool last wrote there, what is there, and the
//! statements that make them agree. Temporary tables of one transaction hold the first two.

use super::blocks::{bucket, copy_csv, ids, list};
use super::files::bind;
use super::hash::HashFn;
use crate::model::Column;
use crate::sql_file;
use crate::sql_text::{ident, literal, qualified};

/// Which rows of a table are looked at.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All that stand in these buckets of ids.
    Buckets(&'a [i64]),
    /// Those that are wanted.
    Wanted,
}

/// Who may have written to the table beside us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No other writer: what is not as wanted is damage.
    Us,
    /// Others: what is not as we last wrote it is theirs (DESIGN rule 13).
    Others,
}

/// What has to be done with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Insert,
    Update,
    Delete,
    /// Neither as wanted nor as we last wrote it.
    Conflict,
    /// Others have added it.
    AddedByOthers,
    /// Several rows bear the id.
    DuplicateKey,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Insert => "insert",
            Kind::Update => "update",
            Kind::Delete => "delete",
            Kind::Conflict => "conflict",
            Kind::AddedByOthers => "theirs",
            Kind::DuplicateKey => "twice",
        }
    }
}

fn temporary(kind: &str, table: &str) -> String {
    format!("pg_temp.{}", ident(&format!("{kind}_{table}")))
}

fn names(columns: &[Column]) -> impl Iterator<Item = &str> {
    columns.iter().map(|c| c.name.as_str())
}

/// Makes temporary tables for the rows as they are wanted and as they were last written, with the types
/// that the table has in `schema`.
pub fn hold_rows(schema: &str, table: &str, columns: &[Column]) -> String {
    let create = |kind: &str| {
        format!(
            "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
            ident(&format!("{kind}_{table}")),
            list(names(columns)),
            qualified(schema, table)
        )
    };
    format!("{}; {}", create("wanted"), create("last"))
}

/// Fills the wanted rows from CSV with a header; of these buckets only, where some are given.
pub fn fill_wanted(table: &str, columns: &[Column], buckets: Option<&[i64]>) -> String {
    let only = buckets.map(|b| format!(" WHERE {} = ANY ({})", bucket("id"), ids(b))).unwrap_or_default();
    fill("wanted", table, columns) + &only
}

/// Fills the rows as they were last written, from CSV with a header.
pub fn fill_last(table: &str, columns: &[Column]) -> String {
    fill("last", table, columns)
}

fn fill(kind: &str, table: &str, columns: &[Column]) -> String {
    let (table, columns) = (temporary(kind, table), list(names(columns)));
    format!("COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, HEADER)")
}

/// Works out what has to be done, into a temporary table: `id`, `kind`, `change`. Where `Us`, what was
/// last written is what is wanted.
pub fn find_changes(table: &str, columns: &[Column], scope: Scope, owner: Owner) -> String {
    let (last, join_last) = match scope {
        Scope::Buckets(_) => ("w", String::new()),
        Scope::Wanted => ("l", format!("LEFT JOIN {} l ON l.id = w.id", temporary("last", table))),
    };
    let scope = match scope {
        Scope::Buckets(buckets) => format!("{} = ANY ({})", bucket("id"), ids(buckets)),
        Scope::Wanted => format!("id IN (SELECT id FROM {})", temporary("wanted", table)),
    };
    let of_each = |text: &dyn Fn(&str) -> String| names(columns).map(text).collect::<Vec<_>>().join(", ");
    bind(
        sql_file!("phases/repair/changes.sql"),
        &[
            ("changes", &ident(&format!("changes_{table}"))),
            ("wanted", &temporary("wanted", table)),
            ("found", &qualified("public", table)),
            ("scope", &scope),
            ("others", if owner == Owner::Others { "true" } else { "false" }),
            ("last", last),
            ("join_last", &join_last),
            ("wanted_row", &row("w", columns)),
            ("found_row", &row("f", columns)),
            ("last_row", &row(last, columns)),
            ("constants", &of_each(&|name| format!("quote_nullable(w.{}::text)", ident(name)))),
            ("assignments", &of_each(&assignment)),
            ("conflicts", &of_each(&|name| conflict(name, last))),
        ],
    )
}

/// A whole row as text.
fn row(alias: &str, columns: &[Column]) -> String {
    let values = names(columns).map(|c| format!("{alias}.{}", ident(c)));
    format!("ROW({})::text", values.collect::<Vec<_>>().join(", "))
}

/// What an update sets of a column, where it differs.
fn assignment(name: &str) -> String {
    let column = ident(name);
    let set = literal(&format!("{column} = "));
    format!(
        "CASE WHEN w.{column}::text IS DISTINCT FROM f.{column}::text \
         THEN {set} || quote_nullable(w.{column}::text) END"
    )
}

/// For a person: how a column differs from what was last written.
fn conflict(name: &str, last: &str) -> String {
    let (column, is) = (ident(name), literal(&format!("{name} is ")));
    format!(
        "CASE WHEN {last}.{column}::text IS DISTINCT FROM f.{column}::text \
         THEN {is} || quote_nullable(f.{column}::text) || ', we wrote ' || quote_nullable({last}.{column}::text) END"
    )
}

/// Some changes of a kind, in the order of ids, from the one that follows `after`: `id`, `change`.
pub fn changes_after(table: &str, kind: Kind, after: i64, limit: Option<usize>) -> String {
    format!(
        "SELECT id, change FROM {} WHERE kind = {} AND id > {after} ORDER BY id{}",
        temporary("changes", table),
        literal(kind.name()),
        limit.map(|n| format!(" LIMIT {n}")).unwrap_or_default()
    )
}

/// How many changes of a kind there are.
pub fn count_changes(table: &str, kind: Kind) -> String {
    format!("SELECT count(*) FROM {} WHERE kind = {}", temporary("changes", table), literal(kind.name()))
}

/// Forgets these rows: they are neither wanted nor changed.
pub fn hold_back(table: &str, rows: &[i64]) -> String {
    let delete =
        |kind: &str| format!("DELETE FROM {} WHERE id = ANY ({})", temporary(kind, table), ids(rows));
    format!("{}; {}; {}", delete("wanted"), delete("last"), delete("changes"))
}

/// `rows`: lists of constants, as `find_changes` puts them together.
pub fn insert(table: &str, columns: &[Column], rows: &[String]) -> String {
    let (table, columns) = (qualified("public", table), list(names(columns)));
    format!("INSERT INTO {table} ({columns}) VALUES\n  {}", rows.join(",\n  "))
}

/// `set`: as `find_changes` puts it together.
pub fn update(table: &str, set: &str, id: i64) -> String {
    format!("UPDATE {} SET {set} WHERE id = {id}", qualified("public", table))
}

pub fn delete(table: &str, ids: &[i64]) -> String {
    let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    format!("DELETE FROM {} WHERE id IN ({ids})", qualified("public", table))
}

/// The ids of rows that are not as they are wanted, among those that were changed.
pub fn unproven(table: &str, columns: &[Column], limit: usize) -> String {
    format!(
        "SELECT DISTINCT c.id FROM {changes} c LEFT JOIN {wanted} w ON w.id = c.id \
         LEFT JOIN {found} f ON f.id = c.id \
         WHERE c.kind IN ('insert', 'update', 'delete') AND {w} IS DISTINCT FROM {f} ORDER BY 1 LIMIT {limit}",
        changes = temporary("changes", table),
        wanted = temporary("wanted", table),
        found = qualified("public", table),
        w = row("w", columns),
        f = row("f", columns)
    )
}

/// Which of these relations a digest is taken of.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// The rows as they are wanted.
    Wanted,
    /// The rows with the same ids as they were last written.
    Last,
    /// The rows with the same ids that the table holds.
    Found,
}

/// Digest of exactly the wanted rows' keys, by bucket, on one of the three sides.
pub fn digest_keys_of(table: &str, columns: &[Column], hash: HashFn, held: Held) -> String {
    let from = match held {
        Held::Wanted => temporary("wanted", table),
        Held::Last => temporary("last", table),
        Held::Found => qualified("public", table),
    };
    format!(
        "SELECT {bucket}, count(*), sum({row})::text FROM {from} t \
         WHERE t.id IN (SELECT id FROM {wanted}) GROUP BY 1",
        bucket = bucket("t.id"),
        row = hash.of_row("t", columns),
        wanted = temporary("wanted", table),
    )
}

/// Which of these values a column of a target's table holds.
pub fn present(table: &str, column: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|v| literal(v)).collect();
    format!(
        "SELECT DISTINCT t.{column}::text FROM {} t JOIN unnest(ARRAY[{}]::text[]) v (value) \
         ON v.value = t.{column}::text",
        qualified("public", table),
        values.join(", "),
        column = ident(column),
    )
}

/// Others may read, none may write.
pub fn lock_against_writing(tables: &[&str]) -> String {
    let names: Vec<String> = tables.iter().map(|t| qualified("public", t)).collect();
    format!("SET LOCAL lock_timeout = '30s'; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", "))
}

/// What the rules say of these rows when told a second time: `id`, `kind`.
pub fn audit_of(audit: &str, rows: &[i64]) -> String {
    format!("SELECT a.id::bigint, a.kind FROM (\n{audit}\n) a WHERE a.id = ANY ({})", ids(rows))
}

/// The mapping of these users, and of those who bear one of these uids, as CSV.
pub fn copy_mapping(mapping: &str, users: &[i64], uids: &[String]) -> String {
    let uids: Vec<String> = uids.iter().map(|uid| literal(uid)).collect();
    copy_csv(&format!(
        "SELECT m.* FROM (\n{mapping}\n) m WHERE m.id = ANY ({}) OR m.firebase_uid = ANY (ARRAY[{}]::text[])",
        ids(users),
        uids.join(", ")
    ))
}
