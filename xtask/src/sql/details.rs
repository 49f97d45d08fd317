//! Why a row is in quarantine, in words: the column, and its value or length.

use super::blocks::ids;
use super::reading::{Limit, Reading};
use crate::sql_text::{ident, literal};
use crate::tables::Table;
use datapath::document::Kind;

/// The columns of the source that decide about a reason. A session's token is a secret: its length is said.
const COLUMNS: &[(&[&str], &str)] = &[
    (&["user_missing", "user_without_uid", "user_quarantined"], "user_id"),
    (&["parent_missing", "parent_quarantined"], "parent_id"),
    (&["category_missing", "category_quarantined"], "category_id"),
    (&["product_missing", "product_quarantined"], "product_id"),
    (&["order_missing", "order_quarantined"], "order_id"),
    (&["rating_out_of_range"], "rating"),
];

/// An expression over `q.reason`, the source's row `s`, and the SELECT's row `r`: text, NULL where the reason
/// says it all. `reasons`: those of the rows that are asked for.
pub(super) fn detail(table: &Table, reading: &Reading, reasons: &[&str]) -> String {
    let mut cases = Vec::new();
    for reason in reasons {
        let of_column = COLUMNS.iter().find(|(reasons, _)| reasons.contains(reason));
        let said = match (*reason, of_column) {
            (_, Some((_, column))) => vec![value(&format!("s.{}", ident(column)), column)],
            ("uid_missing" | "uid_not_an_id" | "uid_not_unique", None) => {
                vec![value("left(r.firebase_uid::text, 60)", "firebase_uid")]
            }
            ("token_not_an_id" | "token_not_unique", None) => {
                vec![
                    "CASE WHEN s.session_token IS NULL THEN 'session_token: NULL' \
                      ELSE format('session_token: %s bytes', octet_length(s.session_token::text)) END"
                        .into(),
                ]
            }
            ("document_too_large", None) => vec!["format('%s bytes', octet_length(s::text))".into()],
            ("time_out_of_range", None) => times(table),
            ("value_missing", None) => missing(table, reading),
            ("value_does_not_fit", None) => unfit(table, reading),
            _ => continue,
        };
        if !said.is_empty() {
            cases.push(format!("WHEN {} THEN concat_ws('; ', {})", literal(reason), said.join(", ")));
        }
    }
    if cases.is_empty() {
        return "NULL::text".into();
    }
    format!("CASE q.reason {} END", cases.join(" "))
}

fn value(expression: &str, name: &str) -> String {
    format!("format('%s: %s', {}, coalesce({expression}::text, 'NULL'))", literal(name))
}

fn times(table: &Table) -> Vec<String> {
    let fields = table.collection().map(|collection| collection.fields).unwrap_or_default();
    let fields = fields.iter().filter(|field| matches!(field.kind, Kind::Time)).map(|field| field.name);
    let outside = |name: &str| {
        let column = format!("r.{}", ident(name));
        format!(
            "CASE WHEN {column} < '0001-01-01 00:00+00' OR {column} >= '10000-01-01 00:00+00' THEN {} END",
            value(&column, name)
        )
    };
    fields.map(outside).collect()
}

fn missing(table: &Table, reading: &Reading) -> Vec<String> {
    let required = reading.required.get(table.name).into_iter().flatten();
    let missing = |name: &String| {
        format!("CASE WHEN r.{} IS NULL THEN {} END", ident(name), literal(&format!("{name}: NULL")))
    };
    required.map(missing).collect()
}

fn unfit(table: &Table, reading: &Reading) -> Vec<String> {
    let limits = reading.limits.get(table.name).into_iter().flatten();
    let beyond = |(name, limit): &(String, Limit)| {
        let column = format!("r.{}", ident(name));
        let said = match limit {
            Limit::Characters(most) => {
                format!(
                    "format('%s: %s characters, the target takes {most}', {}, length({column}::text))",
                    literal(name)
                )
            }
            Limit::Element { bytes } => format!(
                "format('%s: an element of %s bytes, the index takes {bytes}', {}, \
                 (SELECT max(octet_length(e::text)) FROM unnest({column}) e))",
                literal(name)
            ),
            Limit::Whole { least, most } => {
                format!("format('%s: %s, the target takes {least} to {most}', {}, {column})", literal(name))
            }
            Limit::Decimal { precision, scale } => {
                format!(
                    "format('%s: %s, the target takes numeric({precision},{scale})', {}, {column})",
                    literal(name)
                )
            }
        };
        format!("CASE WHEN {} THEN {said} END", limit.broken_by(&column))
    };
    let mut said: Vec<String> = limits.map(beyond).collect();
    for (name, rows) in reading.unconvertible.get(table.name).into_iter().flatten() {
        let into = reading.conversions.get(table.name).and_then(|columns| columns.get(name));
        let into = into.map(|into| into.sql.as_str()).unwrap_or_default();
        said.push(format!(
            "CASE WHEN r.id = ANY ({}::bigint[]) \
             THEN format('%s: %L is no {into}, or not exactly', {}, left(r.{}::text, 60)) END",
            ids(rows),
            literal(name),
            ident(name)
        ));
    }
    said
}
