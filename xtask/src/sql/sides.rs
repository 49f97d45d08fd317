//! The three sides of the way back, in temporary tables of the old database: `base_t` as the run wrote the rows of a
//! table `t`, `theirs_t` as the store has them, `mine_t` as the old database has them.

use super::blocks::{bucket, ids, list};
use super::hash::HashFn;
use crate::model::Column;
use crate::sql_text::{ident, qualified};
use crate::tables::Table;

/// One of the three rows that are compared.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// As the run wrote it.
    Base,
    /// As the store has it now.
    Theirs,
    /// As the old database has it now, told by the table's SELECT.
    Mine,
}

impl Side {
    pub(super) fn of(self, table: &Table) -> String {
        let side = match self {
            Side::Base => "base",
            Side::Theirs => "theirs",
            Side::Mine => "mine",
        };
        format!("{side}_{}", table.source)
    }
}

pub(super) fn temporary(name: &str) -> String {
    format!("pg_temp.{}", ident(name))
}

pub(super) fn put_table(table: &Table) -> String {
    format!("put_{}", table.source)
}

pub(super) fn rekeyed_table(table: &Table) -> String {
    format!("rekeyed_{}", table.source)
}

/// An empty side with these columns.
pub fn create_side(table: &Table, side: Side, columns: &[Column]) -> String {
    let columns = columns.iter().map(|c| format!("{} {}", ident(&c.name), c.kind)).collect::<Vec<_>>();
    format!("CREATE TEMP TABLE {} ({}) ON COMMIT DROP", ident(&side.of(table)), columns.join(", "))
}

/// Takes rows in CSV, without a header.
pub fn fill_side(table: &Table, side: Side, columns: &[Column]) -> String {
    let names = list(columns.iter().map(|c| c.name.as_str()));
    format!("COPY {} ({names}) FROM STDIN WITH (FORMAT csv)", temporary(&side.of(table)))
}

/// So that a few changed rows are looked up in a large table, and it is not read for them.
pub fn count_side(table: &Table, side: Side) -> String {
    format!("ANALYZE {} (id)", temporary(&side.of(table)))
}

/// Nobody has written to the old table since: there it is what the run wrote.
pub fn mine_is_base(table: &Table) -> String {
    format!(
        "CREATE TEMP TABLE {} ON COMMIT DROP AS TABLE {}",
        ident(&Side::Mine.of(table)),
        temporary(&Side::Base.of(table))
    )
}

/// Into an empty side: `rows`, the table's SELECT with its values as the file holds them, of the keys of the others.
pub fn read_mine(table: &Table, columns: &[Column], rows: &str) -> String {
    let ids = [Side::Base, Side::Theirs].map(|side| format!("SELECT id FROM {}", temporary(&side.of(table))));
    let values = columns.iter().map(|c| format!("r.{}::{}", ident(&c.name), c.kind)).collect::<Vec<_>>();
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM (\n{rows}\n) r WHERE r.id IN ({})",
        temporary(&Side::Mine.of(table)),
        list(columns.iter().map(|c| c.name.as_str())),
        values.join(", "),
        ids.join(" UNION ALL ")
    )
}

/// Gives new documents the ids of the rows that have their keys already.
pub fn known_ids(table: &Table, key: &str) -> String {
    format!(
        "UPDATE {theirs} t SET id = o.id \
         FROM (SELECT {key}::text COLLATE \"C\" AS key, min(id) AS id FROM {old} GROUP BY 1 HAVING count(*) = 1) o \
         WHERE t.id IS NULL AND o.key = t.{key}::text COLLATE \"C\"",
        theirs = temporary(&Side::Theirs.of(table)),
        old = qualified("public", table.source),
        key = ident(key),
    )
}

/// Gives the others new ones, in the order of their keys; `next`: the first.
pub fn new_ids(table: &Table, key: &str, next: i64) -> String {
    format!(
        "UPDATE {theirs} t SET id = n.id \
         FROM (SELECT ctid, {before} + row_number() OVER (ORDER BY {key}::text COLLATE \"C\") AS id \
               FROM {theirs} WHERE id IS NULL) n \
         WHERE t.ctid = n.ctid",
        theirs = temporary(&Side::Theirs.of(table)),
        before = next - 1,
        key = ident(key),
    )
}

/// Gives new rows whose ids are taken in the old table other ones, in their order, and remembers both; `next`: the first.
pub fn rekey(table: &Table, next: i64) -> String {
    format!(
        "CREATE TEMP TABLE {rekeyed} ON COMMIT DROP AS \
         SELECT t.id AS was, {before} + row_number() OVER (ORDER BY t.id) AS id FROM {theirs} t JOIN {old} o ON o.id = t.id \
         WHERE NOT EXISTS (SELECT FROM {base} b WHERE b.id = t.id); \
         UPDATE {theirs} t SET id = k.id FROM {of} k WHERE k.was = t.id",
        rekeyed = ident(&rekeyed_table(table)),
        of = temporary(&rekeyed_table(table)),
        before = next - 1,
        theirs = temporary(&Side::Theirs.of(table)),
        base = temporary(&Side::Base.of(table)),
        old = qualified("public", table.source),
    )
}

/// The ids that rows got instead of theirs: `id`, theirs.
pub fn rekeyed(table: &Table) -> String {
    format!("SELECT k.id::bigint, k.was::text FROM {} k ORDER BY 1", temporary(&rekeyed_table(table)))
}

/// Rows of a target by their ids, as CSV without a header: the hash of the columns that are proven, then the row.
pub fn copy_theirs(table: &Table, columns: &[Column], proven: &[Column], hash: HashFn, ids: &str) -> String {
    format!(
        "COPY (SELECT {}, {} FROM {} t WHERE {ids} ORDER BY t.id) TO STDOUT WITH (FORMAT csv, HEADER)",
        hash.of_row("t", proven),
        columns.iter().map(|c| format!("t.{}", ident(&c.name))).collect::<Vec<_>>().join(", "),
        qualified("public", table.name)
    )
}

/// These ids, as a condition on `t`.
pub fn of_ids(wanted: &[i64]) -> String {
    format!("t.id = ANY ({})", ids(wanted))
}

/// All ids of these buckets, as a condition on `t`.
pub fn of_buckets(buckets: &[i64]) -> String {
    format!("{} = ANY ({})", bucket("t.id"), ids(buckets))
}

/// The new ids of documents: `id`, key.
pub fn given_ids(table: &Table, key: &str) -> String {
    format!(
        "SELECT t.id::bigint, t.{}::text FROM {} t JOIN {} p ON p.id = t.id WHERE p.op = 'insert' AND p.problem IS NULL ORDER BY 1",
        ident(key),
        temporary(&Side::Theirs.of(table)),
        temporary(&put_table(table))
    )
}

/// No other session writes to these tables until the transaction's end.
pub fn lock_old(tables: &[&Table]) -> String {
    let names: Vec<String> = tables.iter().map(|t| qualified("public", t.source)).collect();
    format!("SET LOCAL lock_timeout = '30s'; LOCK TABLE {} IN EXCLUSIVE MODE", names.join(", "))
}
