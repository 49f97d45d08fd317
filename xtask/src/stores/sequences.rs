//! Where the targets' sequences stand.

use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::Sequence;
use crate::sql;
use crate::tables;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Numbers that the source has given out are not given out again, those since the snapshot neither: where the
/// targets' sequences stand, after they have been raised to the source's.
pub async fn raise(
    ctx: &Ctx,
    source: &BTreeMap<&'static str, Sequence>,
) -> Result<BTreeMap<&'static str, Sequence>> {
    let mut raised = BTreeMap::new();
    for database in Database::ALL {
        let mut connection = ctx.looking(database, "sequences").await?;
        for table in tables::of_database(ctx.tables, database) {
            let stands = Sequence::of_target(&mut connection, table.name).await?;
            let (Some((name, mut stands)), Some(wanted)) = (stands, source.get(table.name)) else { continue };
            if stands.next() < wanted.next() {
                let set = sql::set_sequence("public", table.name, wanted.last, wanted.called);
                let raising = || format!("raising {name} from {} to {}", stands.next(), wanted.next());
                connection.run(&set).await.with_context(raising)?;
                ctx.terminal.detail(format!("{name} gives {} next, as the source would", wanted.next()));
                stands = *wanted;
            }
            raised.insert(table.name, stands);
        }
        connection.close().await?;
    }
    Ok(raised)
}
