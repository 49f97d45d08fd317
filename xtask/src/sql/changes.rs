//! What the versions of a table's rows say: by whom they were written, and when.

use crate::remembered::{BUCKET_BITS, KeyKind};
use crate::sql_text::{literal, qualified};

/// Written by S or later. The base of `age()` is the transaction's own, so it is compared with `age(S)` and not
/// with a number of ours; what was frozen 2^31 transactions ago has a negative age. Only for a transaction
/// without a number of its own. `age(S)` is asked once, and not for each row.
fn candidate(oldest: u64) -> String {
    format!("age(t.xmin) BETWEEN 0 AND (SELECT age('{oldest}'::xid8::xid))")
}

/// Not cast for each row: what a table is counted by costs as much as reading it.
fn bucket_of(key: KeyKind) -> String {
    match key {
        KeyKind::Id => format!("t.id >> {BUCKET_BITS}"),
        KeyKind::None => "0::bigint".to_string(),
    }
}

/// A leaf by range of ids: rows, those of them that are no candidates; where a hash of a row is given, the sum
/// of the hashes. `leaf` is quoted.
pub fn versions(leaf: &str, key: KeyKind, oldest: u64, hash: Option<&str>) -> String {
    let sum = hash.map(|hash| format!(", sum({hash})::text")).unwrap_or_default();
    format!(
        "SELECT ({bucket})::bigint, count(*), count(*) FILTER (WHERE NOT ({candidate})){sum} \
         FROM ONLY {leaf} t GROUP BY {bucket}",
        bucket = bucket_of(key),
        candidate = candidate(oldest)
    )
}

/// Which pages of a heap are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    All,
    From(u64),
    /// From the first one until before the second.
    Between(u64, u64),
}

impl Pages {
    fn condition(self) -> String {
        match self {
            Pages::All => String::new(),
            Pages::From(first) => format!("WHERE t.ctid >= '({first},0)'"),
            Pages::Between(first, end) => format!("WHERE t.ctid >= '({first},0)' AND t.ctid < '({end},0)'"),
        }
    }
}

/// How many pages a heap has.
pub fn pages(oid: u32) -> String {
    format!("SELECT pg_relation_size({oid}::oid::regclass) / current_setting('block_size')::bigint")
}

/// A leaf whose key is `id`, by range of ids: rows, and the candidates among them as `id transaction`, separated by
/// commas; in one scan of these pages of the heap.
pub fn versions_and_candidates(leaf: &str, oldest: u64, pages: Pages) -> String {
    format!(
        "SELECT ({bucket})::bigint, count(*), \
         string_agg(t.id::text || ' ' || t.xmin::text, ',') FILTER (WHERE {candidate}) \
         FROM ONLY {leaf} t {pages} GROUP BY {bucket}",
        pages = pages.condition(),
        bucket = bucket_of(KeyKind::Id),
        candidate = candidate(oldest)
    )
}

/// Candidates: `id`, transaction; by id.
pub fn candidates(leaf: &str, oldest: u64) -> String {
    format!(
        "SELECT t.id::bigint, t.xmin::text FROM ONLY {leaf} t WHERE {candidate} ORDER BY 1",
        candidate = candidate(oldest)
    )
}

/// The ids of a range that are there.
pub fn ids_of_range(leaf: &str, range: i64) -> String {
    format!(
        "SELECT t.id::bigint FROM ONLY {leaf} t WHERE t.id BETWEEN ({range}::bigint << {BUCKET_BITS}) \
         AND (({range}::bigint << {BUCKET_BITS}) | {last}) ORDER BY 1",
        last = (1 << BUCKET_BITS) - 1
    )
}

/// A table, its children too: rows, and those of them that these transactions have written.
pub fn written_by(schema: &str, table: &str, transactions: &[u32]) -> String {
    let transactions = transactions.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    format!(
        "SELECT count(*), count(*) FILTER (WHERE t.xmin = ANY ('{{{transactions}}}'::xid[])) FROM {table} t",
        table = qualified(schema, table)
    )
}

/// A whole table: rows, sum of the hashes of a row `t`. `only`: `ONLY ` or nothing.
pub fn digest(schema: &str, table: &str, only: &str, hash: &str) -> String {
    format!("SELECT count(*), sum({hash})::text FROM {only}{table} t", table = qualified(schema, table))
}

/// A row that S has seen is on disk once [`EMIT`] has been committed. Any role may.
pub const BEGIN_TO_EMIT: &str = "BEGIN READ WRITE; SET LOCAL synchronous_commit = 'local'";

/// The number of its transaction.
pub const EMIT: &str = "SELECT pg_current_xact_id()::text, pg_logical_emit_message(true, 'xtask', '')::text";

/// `xmin:xmax:xip_list`.
pub const SNAPSHOT: &str = "SELECT pg_current_snapshot()::text";

pub fn has_nonce(nonce: &str) -> String {
    format!("SELECT EXISTS (SELECT FROM xtask.instants WHERE nonce = {})", literal(nonce))
}

pub fn lock_to_look(schema: &str, table: &str) -> String {
    format!("LOCK TABLE {} IN ACCESS SHARE MODE", qualified(schema, table))
}
