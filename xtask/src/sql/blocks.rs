//! What several statements are put together from: lists of columns, buckets of ids, the COPY around a SELECT.

use crate::model::Column;
use crate::sql_text::ident;
use datapath::digest::BUCKET;

pub(super) fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    names.into_iter().map(|n| ident(n.as_ref())).collect::<Vec<_>>().join(", ")
}

pub(super) fn qualified_list(alias: &str, columns: &[Column]) -> String {
    columns.iter().map(|c| format!("{alias}.{}", ident(&c.name))).collect::<Vec<_>>().join(", ")
}

/// These texts with a blank between, however many: a function takes a hundred arguments.
pub(super) fn spaced(texts: &[String]) -> String {
    const ARGUMENTS: usize = 90;
    if texts.len() <= ARGUMENTS {
        return format!("concat_ws(' ', {})", texts.join(", "));
    }
    let parts: Vec<String> = texts.chunks(ARGUMENTS).map(spaced).collect();
    spaced(&parts)
}

/// A row without an id, which no table of ours may hold, has a bucket of its own.
pub(super) fn bucket(id: &str) -> String {
    format!("coalesce(({id} / {BUCKET})::bigint, {})", i64::MIN)
}

/// Any SELECT as CSV with a header.
pub fn copy_csv(select: &str) -> String {
    format!("COPY (\n{select}\n) TO STDOUT WITH (FORMAT csv, HEADER)")
}

pub(super) fn ids(ids: &[i64]) -> String {
    format!("'{{{}}}'", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
}
