//! Sequences of ids: each goes with its table, counts as `sql/schema` says, and gives no id that has been
//! given out.

use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::manifest::{Export, Sequence};
use crate::sql::{self, Owner};
use crate::sql_file;
use crate::stores::schema::{Part, PartKind};
use crate::stores::structure::{Alteration, Plan};
use anyhow::Result;
use sqlx::Row;

/// What is done to one sequence: before columns get their defaults, and last.
pub(super) struct SequenceRepair {
    pub table: String,
    pub first: Vec<Alteration>,
    pub last: Option<Alteration>,
}

/// What the tables of a database have to look like, and what they look like.
#[derive(Clone, Copy)]
pub(super) struct Definitions<'a> {
    pub expected: &'a [Part],
    pub found: &'a [Part],
}

/// What is known of the sequence of a table's id.
struct Known<'a> {
    database: Database,
    table: &'a str,
    /// The name that it has to have, and how it has to count.
    name: &'a str,
    expected: &'a Part,
    counts_otherwise: bool,
    /// The sequence that goes with the id, and the one of that name; quoted.
    owned: Option<String>,
    named: Option<String>,
    /// What it gives next from now on.
    next: i64,
}

/// Where there is anything to do. Tables that `plan` sets aside have none.
pub(super) async fn find(
    connection: &mut Connection,
    export: &Export,
    database: Database,
    owner: Owner,
    definitions: Definitions<'_>,
    plan: &Plan,
) -> Result<Vec<SequenceRepair>> {
    let mut repairs = Vec::new();
    for id in definitions.expected.iter().filter(|part| part.kind == PartKind::Column && part.name == "id") {
        // An identity has a sequence of another kind.
        let left = plan.set_aside.contains(&id.table) || plan.keeps(id);
        let (Some(record), false) = (export.tables.get(&id.table), left) else { continue };
        let default = id.column.as_ref().and_then(|column| column.default.as_deref());
        let Some(name) = default.and_then(sequence_of) else { continue };
        let Some(expected) =
            definitions.expected.iter().find(|p| p.is_sequence_of_id() && p.table == id.table)
        else {
            continue;
        };
        let values = [("table", id.table.as_str()), ("sequence", name)];
        let row = connection.row(&sql::bind(sql_file!("phases/repair/sequence.sql"), &values)).await?;
        let (owned, named): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let given_out = row.try_get::<Option<i64>, _>(2)?.filter(|_| owner == Owner::Others).unwrap_or(0);
        let wanted = record.sequence.next().max(given_out + 1);
        // The services may have given it another one.
        let at_work = owned.as_ref().filter(|_| owner == Owner::Others).or(named.as_ref());
        let found = match at_work {
            Some(sequence) => Sequence::read(connection, sequence).await?.next(),
            None => 1,
        };
        let is_spent = found > i64::from(i32::MAX);
        let holds = definitions.found.iter().find(|part| part.same_object(expected));
        let theirs = owner == Owner::Others && owned.is_some();
        let known = Known {
            database,
            table: &id.table,
            name,
            expected,
            counts_otherwise: holds.is_some_and(|part| part.definition != expected.definition),
            owned,
            named,
            // What an id cannot hold has not been given out.
            next: if is_spent { wanted } else { found.max(wanted) },
        };
        let first = if theirs { Vec::new() } else { known.made_right() };
        // Where it is there, what makes it right sets it as well.
        let is_set = !first.is_empty() && known.named.is_some();
        let last = ((found < wanted || is_spent) && !is_set).then(|| known.set(found, wanted));
        if last.is_some() || !first.is_empty() {
            repairs.push(SequenceRepair { table: id.table.clone(), first, last });
        }
    }
    Ok(repairs)
}

/// `nextval('orders_id_seq'::regclass)` → `orders_id_seq`.
fn sequence_of(default: &str) -> Option<&str> {
    default.strip_prefix("nextval('")?.split('\'').next()
}

impl Known<'_> {
    fn alteration(&self, because: String, statement: String) -> Alteration {
        Alteration { table: self.table.to_string(), because, statement }
    }

    fn set(&self, found: i64, wanted: i64) -> Alteration {
        let name = self.name;
        let because = match found < wanted {
            true => {
                format!("the next new row gets id {found}; ids below {wanted} have been given out ({name})")
            }
            false => format!("no new row gets an id: {name} has come to its end, {}", found - 1),
        };
        self.alteration(because, sql::set_sequence("public", self.table, wanted, false))
    }

    /// What makes the sequence of this name go with the table's id, it alone, and count as it has to.
    fn made_right(&self) -> Vec<Alteration> {
        let Known { database, table, name, expected, .. } = self;
        let mut first = Vec::new();
        let goes_with_it = self.owned.is_some() && self.owned == self.named;
        if goes_with_it && !self.counts_otherwise {
            return first;
        }
        if let Some(other) = self.owned.as_ref().filter(|_| !goes_with_it) {
            let because = format!("its id has the sequence {other} and not {name}");
            first.push(self.alteration(because, sql::disown_sequence(other)));
        }
        let (because, statement) = match &self.named {
            Some(named) => (
                match goes_with_it {
                    true => format!("{named} does not count as it has to: {}", expected.definition),
                    false => format!("its id in {database} has no sequence: {named} goes with nothing"),
                },
                sql::alter_sequence(named, &expected.definition, self.next, "public", table),
            ),
            None => (
                format!("its id in {database} has no sequence: {name} is not there"),
                sql::create_sequence("public", name, &expected.definition, table),
            ),
        };
        first.push(self.alteration(because, statement));
        first
    }
}
