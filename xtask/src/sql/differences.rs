//! Which rows of a target differ from those of the run's file, in the buckets whose digests do.

use super::blocks::{bucket, list, qualified_list};
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
