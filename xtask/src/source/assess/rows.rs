//! What is wrong with the source's rows: what the SELECTs say of them (they are not told a second time here),
//! and what queries find besides. All of one snapshot.

use super::looks::{Findings, findings};
use crate::hazards::{Found, HAZARDS, Look, SAMPLE};
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::SnapshotInfo;
use crate::source::snapshot::worker;
use crate::sql;
use crate::tables::Table;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of a table in quarantine.
pub struct Quarantined {
    pub table: &'static Table,
    /// By outcome: how many, and the ids of some.
    pub rows: BTreeMap<String, (u64, Vec<i64>)>,
}

impl Quarantined {
    /// `rows`: ids with their reasons, without the word for the kind of outcome.
    pub fn of(table: &'static Table, rows: &[(i64, String)]) -> Quarantined {
        let mut by_outcome: BTreeMap<String, (u64, Vec<i64>)> = BTreeMap::new();
        for (id, reason) in rows {
            let (count, some) = by_outcome.entry(format!("quarantined:{reason}")).or_default();
            *count += 1;
            some.push(*id);
        }
        for (_, some) in by_outcome.values_mut() {
            some.sort();
            some.truncate(SAMPLE);
        }
        Quarantined { table, rows: by_outcome }
    }
}

/// The hazards that cost rows.
pub fn of_outcomes(ctx: &Ctx, mut quarantined: Vec<Quarantined>) -> Vec<Found> {
    quarantined.sort_by_key(|one| ctx.tables.iter().position(|table| table.name == one.table.name));
    let mut hazards = Vec::new();
    for hazard in HAZARDS {
        let Look::Outcomes(outcomes) = hazard.look else { continue };
        let (mut count, mut keys, mut looks) = (0, Vec::new(), Vec::new());
        for of_table in &quarantined {
            let (mut place, rows) = (0, outcomes.iter().filter_map(|outcome| of_table.rows.get(*outcome)));
            let mut shown = Vec::new();
            for (rows, some) in rows {
                count += rows;
                for id in some {
                    keys.push((place, format!("{} {id}", of_table.table.source)));
                    place += 1;
                }
                shown.extend(some);
            }
            if !shown.is_empty() {
                looks.push(sql::look_at(of_table.table.source, &shown));
            }
        }
        // One of each table before there is a second.
        keys.sort_by_key(|(place, _)| *place);
        keys.truncate(SAMPLE);
        if count > 0 {
            let keys = keys.into_iter().map(|(_, key)| key).collect();
            let found = hazard.found(count, keys, &ctx.settings.policy.accepted);
            let remedy = format!(
                "change them in the source (they are: {}), or let all that is quarantined stay behind: \
                 --max-quarantine",
                looks.join(" ")
            );
            hazards.push(Found { remedy, ..found });
        }
    }
    hazards
}

/// The hazards that queries find in the rows.
pub async fn queried(ctx: &Arc<Ctx>, snapshot: &SnapshotInfo) -> Result<Vec<Found>> {
    let queries = HAZARDS.iter().filter_map(|hazard| match hazard.look {
        Look::Rows(file) => Some((hazard, snapshot.reading.query(file))),
        _ => None,
    });
    let looks = queries.map(|(hazard, query)| {
        let (ctx, snapshot) = (ctx.clone(), snapshot.clone());
        async move {
            let (count, keys) = in_turn(&ctx, &snapshot, &query)
                .await
                .with_context(|| format!("looking for {}", hazard.name))?;
            Ok((count > 0).then(|| hazard.found(count, keys, &ctx.settings.policy.accepted)))
        }
    });
    Ok(join::all(looks).await?.into_iter().flatten().collect())
}

async fn in_turn(ctx: &Ctx, snapshot: &SnapshotInfo, query: &str) -> Result<Findings> {
    let _turn = ctx.source_permit(0).await;
    let mut connection = worker(ctx, snapshot, "assess").await?;
    let found = findings(&mut connection, query).await?;
    connection.close().await?;
    Ok(found)
}
