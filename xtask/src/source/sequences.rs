//! Where the ids of the source's tables stand.

use crate::run::ctx::Ctx;
use crate::run::manifest::Sequence;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// By table that is migrated. Sequences are not transactional: read as they are now, and never lower than
/// the largest id that is there (DESIGN rules 1 and 12).
pub async fn of_tables(ctx: &Ctx) -> Result<BTreeMap<&'static str, Sequence>> {
    let mut connection = ctx.looking_at_source("sequences").await?;
    let mut sequences = BTreeMap::new();
    for table in ctx.tables {
        let query = sql::bind(sql_file!("phases/1-backup/sequence.sql"), &[("table", table.source)]);
        let (mut last, mut largest) = (Sequence { last: 1, called: false }, None);
        for row in connection.rows(&query).await? {
            let (name, found): (Option<String>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            largest = found;
            let Some(name) = name else { continue };
            let state = Sequence::read(&mut connection, &name).await?;
            // Of several the one that is furthest: no id is given out twice.
            last = if state.next() > last.next() { state } else { last };
        }
        let sequence = match largest {
            None => last,
            Some(largest) => Sequence { last: largest.max(last.next() - 1), called: true },
        };
        sequences.insert(table.name, sequence);
    }
    connection.close().await?;
    Ok(sequences)
}
