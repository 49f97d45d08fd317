//! What has to be altered to make the tables of a database what `sql/schema` says, in an order that works:
//! first what stands in the way of right rows, then the rows, then what needs right rows.

use crate::effects::postgres::Connection;
use crate::findings::Values;
use crate::model::Database;
use crate::sql::{self, FoundColumn, FoundColumns, Owner};
use crate::stores::schema::{ColumnParts, Difference, Part, PartKind, Rebuild, compared};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};

/// A statement that alters something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    pub table: String,
    /// What is wrong.
    pub because: String,
    pub statement: String,
}

/// What is left as it is, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAsItIs {
    pub table: String,
    pub because: String,
}

/// What `plan` knows beside the two definitions.
pub struct Situation<'a> {
    pub database: Database,
    pub owner: Owner,
    /// Table and column: columns of another type whose values cannot all be read as the right one.
    pub unreadable: &'a BTreeSet<(String, String)>,
    /// Tables whose rows are kept from this session.
    pub hidden: &'a BTreeSet<&'static str>,
    /// What brings a table back.
    pub table_back: &'a str,
}

#[derive(Debug, Default)]
pub struct Plan {
    pub before: Vec<Alteration>,
    pub after: Vec<Alteration>,
    pub left: Vec<LeftAsItIs>,
    /// How many parts of each table are repaired.
    pub parts: BTreeMap<String, u64>,
    /// Columns that are compared in another way than as they are, by table.
    pub columns: BTreeMap<String, FoundColumns>,
    /// Tables whose rows cannot be compared.
    pub set_aside: BTreeSet<String>,
    /// Table, kind and name of parts that stay different.
    different: BTreeSet<[String; 3]>,
    /// By the order in which they are made.
    sorted_before: Vec<(Before, Alteration)>,
    sorted_after: Vec<(After, Alteration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    References,
    Constraints,
    Indexes,
    Defaults,
    NotNull,
    Types,
    Columns,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    Defaults,
    NotNull,
    Keys,
    Indexes,
    Constraints,
    References,
}

/// Columns of another type than expected whose values cannot all be read as that. Inside a transaction.
pub async fn unreadable(
    connection: &mut Connection,
    expected: &[Part],
    found: &[Part],
) -> Result<BTreeSet<(String, String)>> {
    let mut unreadable = BTreeSet::new();
    for difference in compared(expected, found) {
        let Some((part, wanted, is)) = columns_of(&difference) else { continue };
        if wanted.kind == is.kind {
            continue;
        }
        connection.run("SAVEPOINT look").await?;
        let read = connection.rows(&sql::read_as(&part.table, &part.name, &wanted.kind)).await;
        connection.run("ROLLBACK TO look; RELEASE look").await?;
        if read.is_err() {
            unreadable.insert((part.table.clone(), part.name.clone()));
        }
    }
    Ok(unreadable)
}

/// A column that is there and different: as it has to be, and as it is.
fn columns_of<'a>(difference: &Difference<'a>) -> Option<(&'a Part, &'a ColumnParts, &'a ColumnParts)> {
    let part = difference.expected?;
    Some((part, part.column.as_ref()?, difference.found?.column.as_ref()?))
}

/// After the cut-over only what is missing is made: what the services have altered or added is theirs.
pub fn plan(situation: &Situation<'_>, expected: &[Part], found: &[Part]) -> Plan {
    let mut plan = Plan::default();
    plan.set_tables_aside(situation, expected, found);
    for difference in compared(expected, found) {
        let Some(part) = difference.expected.or(difference.found) else { continue };
        let because = difference.finding(situation.database).map(|finding| finding.text(Values::Masked));
        let because = because.unwrap_or_default();
        if plan.set_aside.contains(&part.table) {
            plan.leave(part, &because, "it waits for its table");
            continue;
        }
        let before = (plan.sorted_before.len(), plan.sorted_after.len());
        match (difference.expected, difference.found) {
            (Some(part), None) => plan.make(part, &because),
            (Some(part), Some(is)) => plan.replace(situation, part, is, &because),
            (None, Some(part)) => plan.take_away(situation, part, &because),
            (None, None) => {}
        }
        if before != (plan.sorted_before.len(), plan.sorted_after.len()) {
            *plan.parts.entry(part.table.clone()).or_default() += 1;
        }
    }
    plan.references_to_removed_keys(expected, found);
    plan.sorted_before.sort_by_key(|(order, _)| *order);
    plan.sorted_after.sort_by_key(|(order, _)| *order);
    plan.before = std::mem::take(&mut plan.sorted_before).into_iter().map(|(_, a)| a).collect();
    plan.after = std::mem::take(&mut plan.sorted_after).into_iter().map(|(_, a)| a).collect();
    plan
}

impl Plan {
    /// Whether a part stays different.
    pub fn keeps(&self, part: &Part) -> bool {
        self.different.contains(&key(part))
    }

    fn keep_different(&mut self, part: &Part) {
        self.different.insert(key(part));
    }

    fn leave(&mut self, part: &Part, because: &str, way: &str) {
        self.keep_different(part);
        self.left.push(LeftAsItIs { table: part.table.clone(), because: format!("{because}: {way}") });
    }

    fn before(&mut self, order: Before, part: &Part, because: &str, statement: String) {
        let (table, because) = (part.table.clone(), because.to_string());
        self.sorted_before.push((order, Alteration { table, because, statement }));
    }

    fn after(&mut self, order: After, part: &Part, because: &str, statement: String) {
        let (table, because) = (part.table.clone(), because.to_string());
        self.sorted_after.push((order, Alteration { table, because, statement }));
    }

    /// Tables that are not there, and those whose rows cannot be compared.
    fn set_tables_aside(&mut self, situation: &Situation<'_>, expected: &[Part], found: &[Part]) {
        for table in situation.hidden {
            let because =
                "row security hides the table's rows: switch it off, after a look at what it is for";
            self.left.push(LeftAsItIs { table: table.to_string(), because: because.to_string() });
            self.set_aside.insert(table.to_string());
        }
        let columns = expected.iter().filter_map(|part| Some((part, part.column.as_ref()?)));
        for (part, column) in columns {
            let is_there = found.iter().any(|f| f.table == part.table);
            let missing = !found.iter().any(|f| f.same_object(part));
            let unreadable = situation.unreadable.contains(&(part.table.clone(), part.name.clone()));
            let others = situation.owner == Owner::Others;
            let (name, back) = (&part.name, situation.table_back);
            let because = match (missing, unreadable, name.as_str()) {
                _ if self.set_aside.contains(&part.table) => continue,
                _ if !is_there => format!("the table is not there: {back}"),
                (true, ..) if others => {
                    format!("column {name} is not there: the services took over, and may have taken it away")
                }
                (true, _, "id") | (_, true, "id") => format!(
                    "its rows have no id to be known by: rename the column that holds it, or drop the table: {back}"
                ),
                (true, ..) if !column.special.is_empty() => {
                    format!("column {name} is not there: make it by hand")
                }
                (_, true, _) if !others => format!(
                    "not all values of column {name} can be read as {}: drop the column, and this command makes \
                     and fills it",
                    column.kind
                ),
                _ => continue,
            };
            self.left.push(LeftAsItIs { table: part.table.clone(), because });
            self.set_aside.insert(part.table.clone());
        }
    }

    /// A part that is missing.
    fn make(&mut self, part: &Part, because: &str) {
        if let Some(column) = &part.column {
            return self.make_column(part, column, because);
        }
        if let Some(parent) = self.set_aside.iter().find(|table| part.refers_to(table)).cloned() {
            return self.leave(part, because, &format!("it comes back with {parent}"));
        }
        if part.is_sequence_of_id() {
            return;
        }
        match part.creation() {
            Some(statement) => self.after(order_of(part), part, because, statement),
            None => self.leave(part, because, "make it by hand"),
        }
    }

    fn make_column(&mut self, part: &Part, column: &ColumnParts, because: &str) {
        let added = sql::add_column("public", &part.table, &part.name, &column.kind);
        self.before(Before::Columns, part, because, added);
        let columns = self.columns.entry(part.table.clone()).or_default();
        columns.insert(part.name.clone(), FoundColumn::Missing);
        self.set_default(part, column, because);
        if column.not_null {
            let statement = sql::set_not_null("public", &part.table, &part.name, true);
            self.after(After::NotNull, part, because, statement);
        }
    }

    fn set_default(&mut self, part: &Part, column: &ColumnParts, because: &str) {
        if let Some(default) = &column.default {
            let statement = sql::set_default("public", &part.table, &part.name, Some(default));
            self.after(After::Defaults, part, because, statement);
        }
    }

    /// A part that is there and different.
    fn replace(&mut self, situation: &Situation<'_>, part: &Part, is: &Part, because: &str) {
        if situation.owner == Owner::Others {
            return self.leave(part, because, "the services took over, and may have altered it");
        }
        if let (Some(wanted), Some(is)) = (&part.column, &is.column) {
            return self.alter_column(part, wanted, is, because);
        }
        if let Some(parent) = self.set_aside.iter().find(|table| part.refers_to(table)).cloned() {
            return self.leave(part, because, &format!("it comes back with {parent}"));
        }
        if part.is_sequence_of_id() {
            return;
        }
        self.take_away(situation, is, because);
        self.make(part, because);
    }

    fn alter_column(&mut self, part: &Part, wanted: &ColumnParts, is: &ColumnParts, because: &str) {
        let (table, name) = (&part.table, &part.name);
        if wanted.special != is.special {
            return self.leave(part, because, "alter it by hand");
        }
        if wanted.kind != is.kind {
            let statement = sql::alter_type("public", table, name, &wanted.kind);
            self.before(Before::Types, part, because, statement);
            let columns = self.columns.entry(table.clone()).or_default();
            columns.insert(name.clone(), FoundColumn::As(wanted.kind.clone()));
        }
        if wanted.default != is.default || wanted.kind != is.kind {
            if is.default.is_some() {
                let statement = sql::set_default("public", table, name, None);
                self.before(Before::Defaults, part, because, statement);
            }
            self.set_default(part, wanted, because);
        }
        if wanted.not_null != is.not_null {
            let statement = sql::set_not_null("public", table, name, wanted.not_null);
            match wanted.not_null {
                true => self.after(After::NotNull, part, because, statement),
                false => self.before(Before::NotNull, part, because, statement),
            }
        }
    }

    /// A part that is not to be there, or not like this.
    fn take_away(&mut self, situation: &Situation<'_>, part: &Part, because: &str) {
        if situation.owner == Owner::Others {
            return self.keep_different(part);
        }
        let order = match part.kind {
            PartKind::Constraint if part.is(Rebuild::Reference) => Before::References,
            PartKind::Constraint => Before::Constraints,
            _ => Before::Indexes,
        };
        match (part.drop_in_public(), part.kind) {
            (Some(statement), _) => self.before(order, part, because, statement),
            (None, PartKind::Column) => {
                let statement = sql::drop_column("public", &part.table, &part.name);
                self.leave(part, because, &format!("{statement}, after a look at what it holds"));
            }
            (None, _) => self.leave(part, because, "take it away by hand, after a look at what it is for"),
        }
    }

    /// References stand on keys: those that do not change go and come with a key that is replaced.
    fn references_to_removed_keys(&mut self, expected: &[Part], found: &[Part]) {
        let is_removed = |part: &Part| {
            part.is(Rebuild::Key)
                && !expected.iter().any(|e| e.same_object(part) && e.definition == part.definition)
        };
        let removed = found.iter().filter(|part| is_removed(part) && !self.keeps(part));
        let tables: BTreeSet<&str> = removed.map(|part| part.table.as_str()).collect();
        for reference in expected.iter().filter(|part| tables.iter().any(|table| part.refers_to(table))) {
            if !found.iter().any(|f| f.same_object(reference) && f.definition == reference.definition) {
                continue;
            }
            let because = format!("{} stands on a key that is replaced", reference.name);
            if let (Some(removal), Some(creation)) = (reference.drop_in_public(), reference.creation()) {
                self.before(Before::References, reference, &because, removal);
                self.after(After::References, reference, &because, creation);
            }
        }
    }
}

fn order_of(part: &Part) -> After {
    match part.kind {
        PartKind::Index => After::Indexes,
        _ if part.is(Rebuild::Key) => After::Keys,
        _ if part.is(Rebuild::Reference) => After::References,
        _ => After::Constraints,
    }
}

fn key(part: &Part) -> [String; 3] {
    [part.table.clone(), part.kind.to_string(), part.name.clone()]
}
