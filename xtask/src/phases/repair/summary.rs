//! How much there is to be repaired, before each of it is told.

use crate::model::grouped;
use serde::Serialize;

/// All that is not as it must be, where there is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub tables: Vec<TableSummary>,
}

/// Rows of a table or documents of a collection, and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableSummary {
    pub store: String,
    pub table: String,
    pub missing: u64,
    pub different: u64,
    /// Not of this run, or there more than once.
    pub extra: u64,
    /// Columns, keys, indexes and references that are altered.
    pub structure: u64,
    /// Sequences that are set or made.
    pub sequences: u64,
    /// Not as this run last wrote them: left alone.
    pub conflicts: u64,
    /// Added by others since the cut-over: left alone, and no difference.
    pub theirs: u64,
    pub not_by_this_command: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Rows and documents that were changed, or are to be.
    pub changes: u64,
    /// Parts of the databases' structure and sequences that were altered, or are to be.
    pub structure: u64,
    /// Rows and documents that are not as we last wrote them: left alone.
    pub conflicts: u64,
    /// Added by others since the cut-over: left alone, and no difference.
    pub theirs: u64,
    /// Left as it is.
    pub not_by_this_command: u64,
}

impl Repaired {
    pub(super) fn add(&mut self, other: Repaired) {
        self.changes += other.changes;
        self.structure += other.structure;
        self.conflicts += other.conflicts;
        self.theirs += other.theirs;
        self.not_by_this_command += other.not_by_this_command;
    }
}

impl TableSummary {
    pub fn new(store: impl ToString, table: &str) -> TableSummary {
        TableSummary { store: store.to_string(), table: table.to_string(), ..TableSummary::default() }
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == TableSummary::new(&self.store, &self.table)
    }

    /// Whether something is not as it must be: what services added is theirs.
    fn differs(&self) -> bool {
        let services = TableSummary { theirs: self.theirs, ..TableSummary::new(&self.store, &self.table) };
        *self != services
    }

    fn text(&self) -> String {
        let unit = if self.store == "firestore" { "documents" } else { "rows" };
        let counts = [
            (self.missing, "missing"),
            (self.different, "different"),
            (self.extra, "not of this run or doubled"),
        ];
        let rows: Vec<String> = said(&counts);
        let rows = (!rows.is_empty()).then(|| format!("{unit}: {}", rows.join(", ")));
        let others = [
            (self.structure, "parts of its structure"),
            (self.sequences, "of its sequences"),
            (self.conflicts, "left alone: others have written there"),
            (self.theirs, "added by the services: left alone"),
            (self.not_by_this_command, "not by this command"),
        ];
        let parts: Vec<String> = rows.into_iter().chain(said(&others)).collect();
        format!("-- {:<9} {:<17} {}\n", self.store, self.table, parts.join("; "))
    }
}

fn said(counts: &[(u64, &str)]) -> Vec<String> {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.map(|(count, what)| format!("{} {what}", grouped(*count))).collect()
}

impl Summary {
    pub fn new(tables: impl IntoIterator<Item = TableSummary>) -> Summary {
        Summary { tables: tables.into_iter().filter(|table| !table.is_empty()).collect() }
    }

    /// Lines that are comments in SQL.
    pub fn text(&self) -> String {
        let lines: String = self.tables.iter().map(TableSummary::text).collect();
        match self.tables.iter().filter(|table| table.differs()).count() {
            0 => format!("-- ✓ NOTHING TO REPAIR\n{lines}"),
            n => format!("-- ✗ TO REPAIR: {n} tables differ\n{lines}"),
        }
    }
}
