//! What one table or collection has received since the run wrote it: both sides of every key that is not what it was.

use super::summary::{DeltaCounts, TableBack};
use crate::model::Column;
use crate::run::ctx::Ctx;
use crate::run::manifest::TableExport;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::csv_text::{self, Lines, row_of};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What has happened to one table or collection.
pub struct Delta {
    pub table: &'static Table,
    /// Of both sides, with the types of the target where it has the column.
    pub columns: Vec<Column>,
    /// Rows in CSV as the run wrote them, of keys that are changed or gone.
    pub base: Vec<u8>,
    /// Rows in CSV as they are now, of keys that are changed or new. Without an id: of a new document.
    pub theirs: Vec<u8>,
    /// By the key as text, the hash of the row as it is now; that the old database then tells the same is the proof.
    pub hashes: BTreeMap<String, i64>,
    pub counts: DeltaCounts,
    /// Documents that no row can hold, by id: why.
    pub refused: BTreeMap<String, String>,
}

impl Delta {
    pub fn new(table: &'static Table, record: &TableExport) -> Delta {
        let columns = record.columns.iter().map(|column| {
            let of_target = record.target_columns.iter().find(|target| target.name == column.name);
            of_target.unwrap_or(column).clone()
        });
        Delta {
            table,
            columns: columns.collect(),
            base: Vec::new(),
            theirs: Vec::new(),
            hashes: BTreeMap::new(),
            counts: DeltaCounts::default(),
            refused: BTreeMap::new(),
        }
    }

    /// For people: what has happened, in a few words.
    pub fn summary(&self) -> String {
        let DeltaCounts { added, changed, deleted, .. } = &self.counts;
        format!("{} {added} new, {changed} changed, {deleted} gone", self.table.name)
    }

    /// Whether there is nothing of it that could go back.
    pub fn has_nothing(&self) -> bool {
        self.base.is_empty() && self.theirs.is_empty() && self.refused.is_empty()
    }

    /// What becomes of it as long as nothing has been done.
    pub fn outcome(&self) -> (String, TableBack) {
        (self.table.name.to_string(), TableBack { counts: self.counts.clone(), ..TableBack::default() })
    }

    /// Nothing of it goes back; what was counted is still said.
    pub fn without_rows(mut self) -> Delta {
        self.base.clear();
        self.theirs.clear();
        self.hashes.clear();
        self.refused.clear();
        self
    }

    /// Without these keys: the old table would hold these columns of them otherwise.
    pub fn without(mut self, keys: &BTreeMap<String, String>) -> Result<Delta> {
        let name = self.table.collection().map_or("id", |collection| collection.id);
        let place = self.columns.iter().position(|c| c.name == name).context("no column for the key")?;
        let key = |row: &[u8]| {
            let key = csv_text::fields(row).into_iter().nth(place).flatten();
            key.map(|key| String::from_utf8_lossy(&key).into_owned()).unwrap_or_default()
        };
        for side in [&mut self.base, &mut self.theirs] {
            let (mut lines, mut row, mut kept) = (Lines::new(&side[..]), Vec::new(), Vec::new());
            while lines.next(&mut row)? {
                if !keys.contains_key(&key(&row)) {
                    kept.extend_from_slice(&row);
                }
            }
            *side = kept;
        }
        let why = |columns: &str| {
            let columns = if columns.is_empty() { "it" } else { columns };
            format!("the old table would hold {columns} otherwise: rounded, padded, or in another notation")
        };
        self.refused.extend(keys.iter().map(|(key, columns)| (key.clone(), why(columns))));
        Ok(self)
    }

    /// Writes both sides into the run's directory.
    pub fn save(&self, ctx: &Ctx) -> Result<()> {
        let names = self.columns.iter().map(|c| Some(Cow::Borrowed(c.name.as_bytes())));
        let header = row_of(names);
        for (folder, rows) in [("delta", &self.theirs), ("delta/before", &self.base)] {
            if !rows.is_empty() {
                ctx.run.write(
                    &format!("rollback/{folder}/{}", self.table.file()),
                    [&header[..], rows].concat(),
                )?;
            }
        }
        Ok(())
    }
}
