//! What proves a table: the audit of its rules, and digests of rows and keys, of the source and of targets.

use super::blocks::{bucket, ids};
use super::hash::HashFn;
use crate::model::Column;
use crate::sql_text::qualified;
use crate::tables::Table;

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

/// Some rows of a bare table of the source, whole, each by itself: `id`, digest.
pub fn digest_raw_rows(schema: &str, table: &str, columns: &[Column], hash: HashFn, rows: &[i64]) -> String {
    format!(
        "SELECT t.id::bigint, ({row})::text FROM ONLY {table} t WHERE t.id = ANY ({ids})",
        row = hash.of_row("t", columns),
        table = qualified(schema, table),
        ids = ids(rows)
    )
}

/// The keys of a bare table: rows, rows with a key, sum of hashes.
pub fn digest_keys(schema: &str, table: &str, hash: HashFn) -> String {
    format!(
        "SELECT count(*), count(t.id), sum({})::text FROM ONLY {} t",
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
