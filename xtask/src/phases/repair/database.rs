//! One database: structure, rows and sequences are repaired in one transaction, in an order that works, and
//! proven before it is kept.

use super::sequences::{self, Definitions, SequenceRepair};
use super::situation::Situation;
use super::summary::{Repaired, TableSummary};
use crate::findings::{Values, Words};
use crate::model::{Database, Stop};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, TableExport};
use crate::run::overlay;
use crate::sql::{self, FoundColumns, Owner, Scope};
use crate::stores::reconcile::{Action, Change, OnChange, Reconciliation};
use crate::stores::structure::{self, Alteration, LeftAsItIs, Plan};
use crate::stores::{rows, schema};
use crate::tables::{self, Table};
use anyhow::{Context, Result};

/// A database that has been compared, in a transaction that is open.
pub(super) struct Compared {
    reconciliation: Reconciliation,
    plan: Plan,
    sequences: Vec<SequenceRepair>,
    owner: Owner,
}

/// Compares everything; nothing is changed. `apply`: others wait before they write.
pub(super) async fn compare(
    ctx: &Ctx,
    export: &Export,
    database: Database,
    situation: &Situation,
    apply: bool,
) -> Result<Compared> {
    let mut reconciliation = Reconciliation::begin(ctx, database, "repair", apply).await?;
    let expected = std::mem::take(&mut reconciliation.expected);
    let connection = reconciliation.connection();
    let found = schema::definition(connection, "public").await?;
    let hidden = schema::hidden(ctx, connection, database).await?;
    let unreadable = structure::unreadable(connection, &expected, &found).await?;
    let known = structure::Situation {
        database,
        owner: situation.owner,
        unreadable: &unreadable,
        hidden: &hidden,
        table_back: &situation.table_back(ctx, database),
    };
    let plan = structure::plan(&known, &expected, &found);
    let owner = situation.owner;
    let definitions = Definitions { expected: &expected, found: &found };
    let sequences = sequences::find(connection, export, database, owner, definitions, &plan).await?;
    reconciliation.expected = expected;
    for table in tables::of_database(ctx.tables, database) {
        let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
        if !plan.set_aside.contains(table.name) {
            let found = plan.columns.get(table.name).cloned().unwrap_or_default();
            reconciliation = compare_rows(ctx, export, reconciliation, table, record, &found, owner).await?;
        }
    }
    Ok(Compared { reconciliation, plan, sequences, owner })
}

async fn compare_rows(
    ctx: &Ctx,
    export: &Export,
    mut reconciliation: Reconciliation,
    table: &'static Table,
    record: &TableExport,
    found: &FoundColumns,
    owner: Owner,
) -> Result<Reconciliation> {
    let (columns, hash) = (&record.target_columns, export.snapshot.hash);
    let buckets = match found.is_empty() && hash.is_exact() {
        // Every row is read: in a transaction that writes row versions tell nothing.
        true => {
            let there =
                rows::content(reconciliation.connection(), "public", table.name, columns, hash).await?;
            Some(record.content.differing(&there))
        }
        // Digests of other columns, and those that prove nothing: every row is compared.
        false => None,
    };
    if buckets.as_ref().is_some_and(Vec::is_empty) {
        return Ok(reconciliation);
    }
    let rows = overlay::open(&ctx.run, export, &table.file())?;
    let scope = buckets.as_deref().map_or(Scope::All, Scope::Buckets);
    reconciliation.compare(table, record, rows, b"", found, scope, owner).await
}

impl Compared {
    pub async fn summary(&mut self, ctx: &Ctx) -> Result<Vec<TableSummary>> {
        let database = self.reconciliation.database;
        let counts = self.reconciliation.counts().await?;
        let mut summaries = Vec::new();
        for table in tables::of_database(ctx.tables, database) {
            let count = |kind: sql::Kind| {
                counts.get(table.name).and_then(|kinds| kinds.get(kind.name())).copied().unwrap_or(0)
            };
            let of = |alterations: usize| alterations as u64;
            let left = self.plan.left.iter().filter(|left| left.table == table.name).count();
            summaries.push(TableSummary {
                missing: count(sql::Kind::Insert),
                different: count(sql::Kind::Update),
                extra: count(sql::Kind::Delete) + count(sql::Kind::Surplus),
                structure: self.plan.parts.get(table.name).copied().unwrap_or(0),
                sequences: of(self.sequences.iter().filter(|s| s.table == table.name).count()),
                conflicts: count(sql::Kind::Conflict),
                theirs: count(sql::Kind::AddedByOthers),
                not_by_this_command: of(left) + count(sql::Kind::DuplicateKey),
                ..TableSummary::new(database, table.name)
            });
        }
        Ok(summaries)
    }

    /// Tells of everything, and does it where the transaction writes: rows by their places first, since
    /// altering a table moves them; then what stands in the way of right rows, the rows, what needs them,
    /// and sequences, which no transaction takes back, last.
    pub async fn make(mut self, tell: &mut OnChange<'_>) -> Result<Repaired> {
        let database = self.reconciliation.database;
        for LeftAsItIs { table, because } in &self.plan.left {
            tell(&of_structure(database, table, Action::NotByThisCommand, None, because))?;
        }
        self.reconciliation.left_alone(tell).await?;
        let mut changes = self.reconciliation.remove_surplus(tell).await?;
        let sequences = std::mem::take(&mut self.sequences);
        let first: Vec<&Alteration> = sequences.iter().flat_map(|s| &s.first).collect();
        self.alter(first.into_iter(), tell).await?;
        let (before, after) = (std::mem::take(&mut self.plan.before), std::mem::take(&mut self.plan.after));
        self.alter(before.iter(), tell).await?;
        changes += self.reconciliation.write_rows(tell).await?;
        self.alter(after.iter(), tell).await?;
        self.reconciliation.prove().await?;
        self.prove_structure().await?;
        let last: Vec<&Alteration> = sequences.iter().filter_map(|s| s.last.as_ref()).collect();
        self.alter(last.into_iter(), tell).await?;
        self.reconciliation.end().await?;
        let structure = self.plan.parts.values().sum::<u64>() + sequences.len() as u64;
        Ok(Repaired { changes, structure, ..Repaired::default() })
    }

    async fn alter(
        &mut self,
        alterations: impl Iterator<Item = &Alteration>,
        tell: &mut OnChange<'_>,
    ) -> Result<()> {
        for Alteration { table, because, statement } in alterations {
            let database = self.reconciliation.database;
            let change = of_structure(database, table, Action::Alter, Some(statement), because);
            tell(&change)?;
            self.reconciliation.write(&change).await?;
        }
        Ok(())
    }

    /// What was altered looks as `sql/schema` says.
    async fn prove_structure(&mut self) -> Result<()> {
        if !self.reconciliation.writes() {
            return Ok(());
        }
        let database = self.reconciliation.database;
        let found = schema::definition(self.reconciliation.connection(), "public").await?;
        let differences = schema::compared(&self.reconciliation.expected, &found);
        let wrong = differences.iter().filter(|difference| {
            let part = difference.expected.or(difference.found);
            let theirs = difference.expected.is_none() && self.owner == Owner::Others;
            !theirs && part.is_some_and(|part| !self.plan.keeps(part))
        });
        let wrong: Vec<String> = wrong
            .filter_map(|difference| difference.finding(database))
            .map(|finding| finding.text(Values::Masked))
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Stop::Differs(format!(
                "what was altered is not what it has to be: {}; nothing in {database} has been changed",
                wrong.join("; ")
            ))
            .into()),
        }
    }
}

fn of_structure(
    database: Database,
    table: &str,
    action: Action,
    statement: Option<&String>,
    because: &str,
) -> Change {
    Change {
        store: database.to_string(),
        table: table.to_string(),
        ids: Vec::new(),
        action,
        writes: statement.map(Words::plain),
        because: Some(Words::plain(because)),
    }
}
