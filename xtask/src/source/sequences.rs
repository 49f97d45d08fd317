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
        let row = connection.row(&query).await?;
        let (name, largest): (Option<String>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let (last, called) = match name {
            Some(name) => {
                let state = connection.row(&sql::sequence_state(&name)).await?;
                (state.try_get::<i64, _>(0)?, state.try_get::<bool, _>(1)?)
            }
            None => (1, false),
        };
        let sequence = match largest {
            None => Sequence { last, called },
            Some(largest) => {
                Sequence { last: largest.max(Sequence { last, called }.next() - 1), called: true }
            }
        };
        sequences.insert(table.name, sequence);
    }
    connection.close().await?;
    Ok(sequences)
}
