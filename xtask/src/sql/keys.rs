//! Single rows of targets: what they must be, what this tool last wrote there, what is there, and the
//! statements that make them agree. Temporary tables of one transaction hold the first two.

use super::blocks::{bucket, copy_csv, ids, list};
use super::files::bind;
use super::hash::HashFn;
use super::hazards::array;
use crate::model::Column;
use crate::sql_file;
use crate::sql_text::{ident, literal, nullable, qualified};
use std::collections::BTreeMap;

/// Which rows of a table are looked at.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All of them.
    All,
    /// All that stand in these buckets of ids.
    Buckets(&'a [i64]),
    /// Those that are wanted.
    Wanted,
    /// Those that are wanted, and those that were last written and are not wanted any more.
    WantedOrLast,
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
    /// Several rows have the id, and others write there.
    DuplicateKey,
    /// Beside another row with its id, or without an id.
    Surplus,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Insert => "insert",
            Kind::Update => "update",
            Kind::Delete => "delete",
            Kind::Conflict => "conflict",
            Kind::AddedByOthers => "theirs",
            Kind::DuplicateKey => "twice",
            Kind::Surplus => "surplus",
        }
    }
}

/// What is compared of a column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundColumn {
    /// Its value.
    AsItIs,
    /// Its value as it will be when the column has got this type.
    As(String),
    /// Nothing: the column is not there yet.
    Missing,
}

/// The columns that are not compared as they are, by name.
pub type FoundColumns = BTreeMap<String, FoundColumn>;

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

/// The rows of a table, each with its place.
fn found_rows(table: &str, columns: &[Column], found: &FoundColumns) -> String {
    let column = |name: &str| match found.get(name) {
        None | Some(FoundColumn::AsItIs) => format!("t.{}", ident(name)),
        Some(FoundColumn::As(kind)) => format!("t.{0}::{kind} AS {0}", ident(name)),
        Some(FoundColumn::Missing) => format!("NULL::text AS {}", ident(name)),
    };
    let columns = names(columns).map(column).collect::<Vec<_>>().join(", ");
    format!("(SELECT t.ctid AS xtask_ctid, {columns} FROM {} t) xtask_found", qualified("public", table))
}

/// Reads every value of a column as one of another type: an error where one is none.
pub fn read_as(table: &str, column: &str, kind: &str) -> String {
    format!("SELECT count(({}::{kind})::text) FROM {}", ident(column), qualified("public", table))
}

/// Works out what has to be done, into a temporary table: `id`, `kind`, `change`. Where `Us`, what was
/// last written is what is wanted.
pub fn find_changes(
    table: &str,
    columns: &[Column],
    found: &FoundColumns,
    scope: Scope,
    owner: Owner,
) -> String {
    let (wanted_ids, last_rows) = (temporary("wanted", table), temporary("last", table));
    let of_wanted = ("w.id", "w.xtask_place");
    let (last, join_last, (id, place)) = match scope {
        Scope::All | Scope::Buckets(_) => ("w", String::new(), of_wanted),
        Scope::Wanted => ("l", format!("LEFT JOIN {last_rows} l ON l.id = w.id"), of_wanted),
        Scope::WantedOrLast => {
            let of_both = ("coalesce(w.id, l.id)", "coalesce(w.xtask_place, 1)");
            ("l", format!("FULL JOIN {last_rows} l ON l.id = w.id"), of_both)
        }
    };
    let scope = match scope {
        Scope::All => "true".to_string(),
        Scope::Buckets(buckets) => format!("{} = ANY ({})", bucket("id"), ids(buckets)),
        Scope::Wanted => format!("id IN (SELECT id FROM {wanted_ids})"),
        Scope::WantedOrLast => {
            format!("id IN (SELECT id FROM {wanted_ids} UNION ALL SELECT id FROM {last_rows})")
        }
    };
    let of_each = |text: &dyn Fn(&str) -> String| names(columns).map(text).collect::<Vec<_>>().join(", ");
    bind(
        sql_file!("phases/repair/changes.sql"),
        &[
            ("changes", &ident(&format!("changes_{table}"))),
            ("wanted", &wanted_ids),
            ("id", id),
            ("place", place),
            ("found", &found_rows(table, columns, found)),
            ("scope", &scope),
            ("others", if owner == Owner::Others { "true" } else { "false" }),
            ("last", last),
            ("join_last", &join_last),
            ("wanted_row", &row("w", columns)),
            ("found_row", &row("f", columns)),
            ("last_row", &row(last, columns)),
            ("values", &of_each(&|name| format!("w.{}::text", ident(name)))),
            ("assignments", &of_each(&|name| difference(name, "w"))),
            ("conflicts", &of_each(&|name| difference(name, last))),
        ],
    )
}

/// A whole row as text.
fn row(alias: &str, columns: &[Column]) -> String {
    let values = names(columns).map(|c| format!("{alias}.{}", ident(c)));
    format!("ROW({})::text COLLATE \"C\"", values.collect::<Vec<_>>().join(", "))
}

/// Where a column differs: its name, what it has to be, what was found. Under "C": under its own
/// collation two values may be alike that differ in case.
fn difference(name: &str, expected: &str) -> String {
    let column = ident(name);
    format!(
        "CASE WHEN {expected}.{column}::text COLLATE \"C\" IS DISTINCT FROM f.{column}::text COLLATE \"C\" \
         THEN json_build_array({name}, {expected}.{column}::text, f.{column}::text)::text END",
        name = literal(name)
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

/// How many changes of each kind there are: `kind`, rows.
pub fn count_kinds(table: &str) -> String {
    format!("SELECT kind, count(*) FROM {} GROUP BY kind", temporary("changes", table))
}

/// Forgets these rows: they are neither wanted nor changed.
pub fn hold_back(table: &str, rows: &[i64]) -> String {
    let delete =
        |kind: &str| format!("DELETE FROM {} WHERE id = ANY ({})", temporary(kind, table), ids(rows));
    format!("{}; {}; {}", delete("wanted"), delete("last"), delete("changes"))
}

/// Surplus rows, some at a time in the order of their places: `id`, `change`. None before the first.
pub fn surplus_after(table: &str, place: Option<&str>, limit: usize) -> String {
    let after = place.map(|place| format!(" AND change::tid > {}::tid", literal(place))).unwrap_or_default();
    format!(
        "SELECT id, change FROM {} WHERE kind = {}{after} ORDER BY change::tid LIMIT {limit}",
        temporary("changes", table),
        literal(Kind::Surplus.name())
    )
}

/// How a value of a column stands in a statement.
pub type Write<'a> = &'a dyn Fn(&str, Option<&str>) -> String;

/// As the constant that it is.
pub fn constant(_column: &str, value: Option<&str>) -> String {
    nullable(value)
}

/// `rows`: values in the order of the columns.
pub fn insert(table: &str, columns: &[Column], rows: &[Vec<Option<String>>], write: Write) -> String {
    let row = |row: &Vec<Option<String>>| {
        let values = names(columns).zip(row).map(|(name, value)| write(name, value.as_deref()));
        format!("({})", values.collect::<Vec<_>>().join(", "))
    };
    let rows = rows.iter().map(row).collect::<Vec<_>>().join(",\n  ");
    format!("INSERT INTO {} ({}) VALUES\n  {rows}", qualified("public", table), list(names(columns)))
}

/// `set`: columns and their new values.
pub fn update(table: &str, set: &[(&str, Option<&str>)], id: i64, write: Write) -> String {
    let set = set.iter().map(|(name, value)| format!("{} = {}", ident(name), write(name, *value)));
    let set = set.collect::<Vec<_>>().join(", ");
    format!("UPDATE {} SET {set} WHERE id = {id}", qualified("public", table))
}

/// Single rows, by their places in the table.
pub fn delete_places(table: &str, places: &[String]) -> String {
    let places = places.iter().map(|place| literal(place)).collect::<Vec<_>>().join(", ");
    format!("DELETE FROM {} WHERE ctid = ANY (ARRAY[{places}]::tid[])", qualified("public", table))
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

/// The unique indexes of these tables that are not of `sql/schema`, whose tables stand in `schema`: `table`,
/// `columns`, `column`, `by_null`.
pub fn unique_indexes(schema: &str, tables: &[&str]) -> String {
    let tables = array(tables.iter().copied());
    bind(sql_file!("phases/repair/unique.sql"), &[("schema", schema), ("tables", &tables)])
}

/// Keeps rows that change one of these columns, or go, out of an index, by what is put into `column`.
pub fn put_aside(table: &str, columns: &[String], column: &str, by_null: bool) -> String {
    bind(
        sql_file!("phases/repair/aside.sql"),
        &[
            ("table", table),
            ("changes", &format!("changes_{table}")),
            ("wanted", &format!("wanted_{table}")),
            ("columns", &array(columns.iter().map(String::as_str))),
            ("column", column),
            ("aside", if by_null { "NULL" } else { "'xtask ' || t.id" }),
        ],
    )
}

/// Which of these relations a digest is taken of.
#[derive(Clone, Copy, Debug)]
pub enum Held {
    /// The rows as they are wanted.
    Wanted,
    /// The rows as they were last written.
    Last,
    /// The rows with the same ids that the table holds.
    Found,
}

/// Digest by bucket of the wanted rows' keys, as they are wanted or found, or of the rows as last written.
pub fn digest_keys_of(table: &str, columns: &[Column], hash: HashFn, held: Held) -> String {
    let from = match held {
        Held::Wanted => temporary("wanted", table),
        Held::Last => temporary("last", table),
        Held::Found => qualified("public", table),
    };
    let which = match held {
        Held::Last => String::new(),
        Held::Wanted | Held::Found => {
            format!("WHERE t.id IN (SELECT id FROM {})", temporary("wanted", table))
        }
    };
    format!(
        "SELECT {bucket}, count(*), sum({row})::text FROM {from} t {which} GROUP BY 1",
        bucket = bucket("t.id"),
        row = hash.of_row("t", columns),
    )
}

/// Which of these values a column of a target's table holds.
pub fn present(table: &str, column: &str, values: &[&str]) -> String {
    let values: Vec<String> = values.iter().map(|v| literal(v)).collect();
    format!(
        "SELECT DISTINCT t.{column}::text COLLATE \"C\" FROM {} t JOIN unnest(ARRAY[{}]::text[]) v (value) \
         ON v.value COLLATE \"C\" = t.{column}::text COLLATE \"C\"",
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

/// The mapping of these users, and of those who have one of these uids, as CSV.
pub fn copy_mapping(mapping: &str, users: &[i64], uids: &[String]) -> String {
    let uids: Vec<String> = uids.iter().map(|uid| literal(uid)).collect();
    copy_csv(&format!(
        "SELECT m.* FROM (\n{mapping}\n) m WHERE m.id = ANY ({}) OR m.firebase_uid = ANY (ARRAY[{}]::text[])",
        ids(users),
        uids.join(", ")
    ))
}
