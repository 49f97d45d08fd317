//! Which rows of a target differ from those of the run's file, in the buckets whose digests do.

use super::blocks::{bucket, ids, list, qualified_list};
use crate::model::Column;
use crate::sql_text::{ident, qualified};

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

/// The rows that are expected and those that are there, side by side: `e` and `f`, and with each how many
/// rows there have the id. Of several that do, the first is compared with the expected one.
fn side_by_side(table: &str, buckets: &[i64]) -> String {
    format!(
        "(SELECT *, 1::bigint AS xtask_place FROM pg_temp.expected) e FULL JOIN \
         (SELECT *, row_number() OVER (PARTITION BY id) AS xtask_place, count(*) OVER (PARTITION BY id) AS xtask_times \
          FROM {} WHERE {} = ANY ({})) f ON f.id = e.id AND f.xtask_place = e.xtask_place",
        qualified("public", table),
        bucket("id"),
        ids(buckets)
    )
}

/// Whether the two rows are the same, by the text of their values.
fn same(columns: &[Column]) -> String {
    let (e, f) = (qualified_list("e", columns), qualified_list("f", columns));
    format!("ROW({e})::text IS NOT DISTINCT FROM ROW({f})::text")
}

/// Rows that differ from `expected`: id, `expected` and `found` as JSON arrays of text, NULL where there
/// is none, and how many rows were found with this id. JSON, because sqlx takes the element "NULL" of
/// an array in text form for NULL.
pub fn row_differences(table: &str, columns: &[Column], buckets: &[i64], limit: usize) -> String {
    let array = |alias: &str| {
        let values = columns.iter().map(|c| format!("{alias}.{}::text COLLATE \"C\"", ident(&c.name)));
        format!(
            "CASE WHEN {alias}.xtask_place IS NOT NULL THEN to_json(ARRAY[{}])::text END",
            values.collect::<Vec<_>>().join(", ")
        )
    };
    format!(
        "SELECT coalesce(e.id, f.id)::text, {expected}, {found}, f.xtask_times FROM {both} \
         WHERE e.xtask_place IS NULL OR f.xtask_place IS NULL OR f.xtask_times > 1 OR NOT {same} \
         ORDER BY coalesce(e.id, f.id) LIMIT {limit}",
        expected = array("e"),
        found = array("f"),
        both = side_by_side(table, buckets),
        same = same(columns),
    )
}

/// Compared with `expected`: rows that are the same, that are not, that are missing, that are more.
pub fn row_difference_counts(table: &str, columns: &[Column], buckets: &[i64]) -> String {
    format!(
        "SELECT count(*) FILTER (WHERE e.xtask_place = f.xtask_place AND {same}), \
                count(*) FILTER (WHERE e.xtask_place = f.xtask_place AND NOT {same}), \
                count(*) FILTER (WHERE f.xtask_place IS NULL), count(*) FILTER (WHERE e.xtask_place IS NULL) \
         FROM {both}",
        same = same(columns),
        both = side_by_side(table, buckets),
    )
}

/// The ids of `expected` that are not there.
pub fn missing_rows(table: &str, buckets: &[i64], limit: usize) -> String {
    format!(
        "SELECT e.id::text FROM {} WHERE f.xtask_place IS NULL ORDER BY e.id LIMIT {limit}",
        side_by_side(table, buckets)
    )
}
