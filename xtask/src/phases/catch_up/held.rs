//! What the stores hold of the run, row by row, and what of the source stays behind: what a pass reads is
//! compared with it.

use super::judged::judged;
use crate::ledger::{OutcomeKind, kind_of};
use crate::model::MIGRATED;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::overlay::{self, GONE, RowsById};
use crate::run::terms;
use crate::source::assess::catalogue::Catalogue;
use crate::source::rows::Row;
use crate::tables::{self, Table, USERS};
use anyhow::{Context, Result};
use datapath::csv_text::{fields, row_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All tables as of the last pass.
pub struct HeldRows {
    pub tables: BTreeMap<&'static str, HeldTable>,
    /// By which the source was judged last.
    pub catalogue: Catalogue,
}

pub struct HeldTable {
    table: &'static Table,
    rows: RowsById,
    /// Rows that are not migrated, with their outcomes.
    left: BTreeMap<i64, String>,
    /// Rows about which something is said in the notes.
    noted: BTreeSet<i64>,
    /// Of all rows of the source, in order.
    pub ids: Arc<Vec<i64>>,
    /// Where the value stands in a row that rows of the table may share.
    shared: Option<usize>,
    /// Of the users: each of them, whatever its outcome, with its uid.
    mapping: Option<RowsById>,
}

/// A row that is not what it was.
#[derive(Clone, Debug)]
pub struct Turned {
    /// `None`: it was not there.
    pub then: Option<Was>,
    /// `None`: it is not there any more.
    pub now: Option<Row>,
    /// The value that it shares with others, then and now, where the table has one.
    pub shared: [Option<String>; 2],
}

/// A row as the run knew it.
#[derive(Clone, Debug)]
pub struct Was {
    pub outcome: String,
    /// As the store was given it; `None`: it was not migrated.
    pub csv: Option<Vec<u8>>,
    pub noted: bool,
}

impl Turned {
    pub fn outcome_then(&self) -> Option<&str> {
        self.then.as_ref().map(|then| then.outcome.as_str())
    }

    pub fn outcome_now(&self) -> Option<&str> {
        self.now.as_ref().map(|row| row.outcome.as_str())
    }

    /// As the store is to be given it.
    pub fn wanted(&self) -> Option<&Row> {
        self.now.as_ref().filter(|row| row.outcome == MIGRATED)
    }

    /// As the store was given it.
    pub fn last(&self) -> Option<&Vec<u8>> {
        self.then.as_ref()?.csv.as_ref()
    }

    /// What the notes say of it now; `None`: nothing.
    pub fn note(&self) -> Option<&str> {
        self.now.as_ref().map(|row| row.note.as_str()).filter(|note| !note.is_empty())
    }

    /// Whether they said something.
    pub fn was_noted(&self) -> bool {
        self.then.as_ref().is_some_and(|then| then.noted)
    }

    /// Why it is in quarantine now; `None`: it is not.
    pub fn quarantined(&self) -> Option<&str> {
        let outcome = self.outcome_now().filter(|outcome| kind_of(outcome) == OutcomeKind::Quarantined)?;
        Some(outcome.trim_start_matches("quarantined:"))
    }

    /// Whether other rows may be others because of it.
    pub fn shows(&self) -> bool {
        self.outcome_then() != self.outcome_now() || self.shared[0] != self.shared[1]
    }
}

impl HeldRows {
    /// Reads the run's files through once, to know where each row is.
    ///
    /// # Errors
    /// `Stop::Differs` where one is not the file that was written; refuses a source that no pass can follow.
    pub async fn read(ctx: &Arc<Ctx>, export: &Export) -> Result<HeldRows> {
        let catalogue = judged(ctx, export).await?;
        terms::files_are_whole(ctx, &export.files)?;
        let mut tables = BTreeMap::new();
        for table in ctx.tables {
            let record = export.tables.get(table.name).context("the manifest does not know a table")?;
            let rows = overlay::by_id(&ctx.run, export, &table.file())?;
            let left = overlay::left_behind(&ctx.run, export, table.name)?;
            let noted = overlay::noted(&ctx.run, export, table.name)?;
            let shared = |name: &str| record.columns.iter().position(|column| column.name == name);
            let shared = table.shared.and_then(shared);
            let ids = Arc::new(all_ids(&rows, &left));
            let mapping = match table.name {
                USERS => Some(overlay::by_id(&ctx.run, export, tables::MAPPING)?),
                _ => None,
            };
            tables.insert(table.name, HeldTable { table, rows, left, noted, ids, shared, mapping });
        }
        Ok(HeldRows { tables, catalogue })
    }

    pub fn table(&self, name: &str) -> Result<&HeldTable> {
        self.tables.get(name).with_context(|| format!("no table {name}"))
    }

    pub fn table_mut(&mut self, table: &Table) -> Result<&mut HeldTable> {
        self.tables.get_mut(table.name).with_context(|| format!("no table {}", table.name))
    }

    /// For a reader beside others, who puts it back.
    pub fn take(&mut self, table: &Table) -> Result<HeldTable> {
        self.tables.remove(table.name).with_context(|| format!("no table {}", table.name))
    }

    /// From now on the stores hold what a pass has made of these rows.
    pub fn then(&mut self, table: &Table, turned: &BTreeMap<i64, Turned>) -> Result<()> {
        let held = self.table_mut(table)?;
        let rows = turned.iter().filter_map(|(id, row)| Some((*id, row.wanted()?.csv.clone())));
        held.rows.then(turned.keys().copied().collect(), rows.collect());
        for (id, row) in turned {
            match row.outcome_now() {
                None | Some(MIGRATED) => drop(held.left.remove(id)),
                Some(outcome) => drop(held.left.insert(*id, outcome.to_string())),
            }
            match row.note() {
                Some(_) => drop(held.noted.insert(*id)),
                None => drop(held.noted.remove(id)),
            }
        }
        held.ids = Arc::new(all_ids(&held.rows, &held.left));
        if let Some(mapping) = &mut held.mapping {
            let gone = turned.iter().filter(|(_, row)| row.now.is_none()).map(|(id, _)| *id);
            mapping.then(gone.collect(), mapping_of(turned));
        }
        Ok(())
    }
}

/// Users whose uid or outcome is another one, as rows of the mapping.
pub fn mapping_of(users: &BTreeMap<i64, Turned>) -> BTreeMap<i64, Vec<u8>> {
    let row = |(id, user): (&i64, &Turned)| {
        let (now, uid) = (user.now.as_ref()?, user.shared[1].as_ref());
        let number = id.to_string();
        let fields = [Some(number.as_bytes()), uid.map(|uid| uid.as_bytes()), Some(now.outcome.as_bytes())];
        Some((*id, row_of(fields.map(|field| field.map(Into::into)))))
    };
    users.iter().filter(|(_, user)| user.shows()).filter_map(row).collect()
}

/// What stands in a list of outcomes for a row.
pub fn outcome_word(turned: &Turned) -> &str {
    turned.outcome_now().unwrap_or(GONE)
}

fn all_ids(rows: &RowsById, left: &BTreeMap<i64, String>) -> Vec<i64> {
    let mut ids = rows.ids();
    ids.extend(left.keys());
    ids.sort_unstable();
    ids
}

impl HeldTable {
    /// How a row differs from what is held; `None`: it does not.
    pub fn turned(&mut self, id: i64, now: Option<Row>) -> Result<Option<Turned>> {
        let then = self.was(id)?;
        let shared_then = match &mut self.mapping {
            Some(mapping) => mapping.row(id)?.and_then(|row| overlay::uid_of(&row)),
            None => then.as_ref().and_then(|then| self.shared(then.csv.as_ref()?)),
        };
        let shared_now = now.as_ref().and_then(|row| self.shared(&row.csv));
        let same = match (&then, &now) {
            (None, None) => true,
            (Some(then), Some(now)) if then.noted == now.note.is_empty() => false,
            (Some(then), Some(now)) if then.outcome == now.outcome => match &then.csv {
                Some(csv) => *csv == now.csv,
                None => self.mapping.is_none() || shared_then == shared_now,
            },
            _ => false,
        };
        Ok((!same).then_some(Turned { then, now, shared: [shared_then, shared_now] }))
    }

    /// Rows in quarantine: whatever else has changed may let them go.
    pub fn quarantined(&self) -> BTreeSet<i64> {
        let quarantined = |outcome: &str| kind_of(outcome) == OutcomeKind::Quarantined;
        self.left.iter().filter(|(_, outcome)| quarantined(outcome)).map(|(id, _)| *id).collect()
    }

    fn was(&mut self, id: i64) -> Result<Option<Was>> {
        let noted = self.noted.contains(&id);
        if let Some(outcome) = self.left.get(&id) {
            return Ok(Some(Was { outcome: outcome.clone(), csv: None, noted }));
        }
        let csv = self.rows.row(id).with_context(|| format!("reading {}", self.table.file()))?;
        Ok(csv.map(|csv| Was { outcome: MIGRATED.to_string(), csv: Some(csv), noted }))
    }

    /// The value of a row that others may share.
    fn shared(&self, row: &[u8]) -> Option<String> {
        let value = fields(row).into_iter().nth(self.shared?)??;
        Some(String::from_utf8_lossy(&value).into_owned())
    }
}
