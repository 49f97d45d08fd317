//! What the source's catalogue says that a run depends on: the columns, and the hazards that stand in it. Looked
//! at twice: before anything is begun, and by the session that holds the snapshot and its locks, after which
//! nobody can change it.

use super::columns::{columns, names};
use super::looks::{Findings, findings};
use crate::effects::postgres::Connection;
use crate::hazards::{HAZARDS, Look};
use crate::run::ctx::Ctx;
use crate::sql;
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};

pub struct Catalogue {
    /// `table.column type`
    columns: BTreeSet<String>,
    /// By hazard.
    pub(super) findings: BTreeMap<&'static str, Findings>,
}

pub async fn look(ctx: &Ctx, connection: &mut Connection) -> Result<Catalogue> {
    let of_tables = columns(ctx, connection).await?;
    let columns = of_tables.iter().flat_map(|(table, columns)| {
        columns.iter().map(move |seen| format!("{table}.{} {}", seen.column.name, seen.column.kind))
    });
    let columns = columns.collect();
    let mut found = BTreeMap::new();
    for hazard in HAZARDS {
        if let Look::Catalogue(file) = hazard.look {
            let query = sql::bind(file, &[("tables", &names(ctx))]);
            found.insert(hazard.name, findings(connection, &query).await?);
        }
    }
    Ok(Catalogue { columns, findings: found })
}

impl Catalogue {
    /// What is otherwise by now, a line each.
    pub fn differences(&self, now: &Catalogue) -> Vec<String> {
        let gone = self.columns.difference(&now.columns).map(|column| format!("{column} is gone"));
        let new = now.columns.difference(&self.columns).map(|column| format!("{column} is new"));
        let mut lines: Vec<String> = gone.chain(new).collect();
        for (hazard, found) in
            now.findings.iter().filter(|(hazard, found)| self.findings.get(*hazard) != Some(found))
        {
            let (count, keys) = found;
            lines.push(format!("{count} × {hazard} {}", keys.join(", ")));
        }
        lines
    }
}
