//! Sequences of ids: each goes with its table, and gives no id that has been given out.

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

/// Where there is anything to do. Tables that `plan` sets aside have none.
pub(super) async fn find(
    connection: &mut Connection,
    export: &Export,
    database: Database,
    owner: Owner,
    expected: &[Part],
    plan: &Plan,
) -> Result<Vec<SequenceRepair>> {
    let mut repairs = Vec::new();
    for id in expected.iter().filter(|part| part.kind == PartKind::Column && part.name == "id") {
        // An identity has a sequence of another kind.
        let left = plan.set_aside.contains(&id.table) || plan.keeps(id);
        let (Some(record), false) = (export.tables.get(&id.table), left) else { continue };
        let default = id.column.as_ref().and_then(|column| column.default.as_deref());
        let Some(name) = default.and_then(sequence_of) else { continue };
        let values = [("table", id.table.as_str()), ("sequence", name)];
        let row = connection.row(&sql::bind(sql_file!("phases/repair/sequence.sql"), &values)).await?;
        let (owned, named): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let given_out = row.try_get::<Option<i64>, _>(2)?.filter(|_| owner == Owner::Others).unwrap_or(0);
        let wanted = record.sequence.next().max(given_out + 1);
        // The services may have given it another one.
        let at_work = owned.as_ref().filter(|_| owner == Owner::Others).or(named.as_ref());
        let found = match at_work {
            Some(sequence) => {
                let state = connection.row(&sql::sequence_state(sequence)).await?;
                Sequence { last: state.try_get(0)?, called: state.try_get(1)? }.next()
            }
            None => 1,
        };
        let kind = id.column.as_ref().map_or("integer", |column| &column.kind);
        let theirs = owner == Owner::Others && owned.is_some();
        let first = if theirs { Vec::new() } else { owned_by(database, id, name, kind, owned, named) };
        let last = (found < wanted).then(|| Alteration {
            table: id.table.clone(),
            because: format!(
                "the next new row gets id {found}; ids below {wanted} have been given out ({name})"
            ),
            statement: sql::set_sequence("public", &id.table, wanted, false),
        });
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

/// What makes the sequence of this name go with the table's id, it alone.
fn owned_by(
    database: Database,
    id: &Part,
    name: &str,
    kind: &str,
    owned: Option<String>,
    named: Option<String>,
) -> Vec<Alteration> {
    let alteration = |because: String, statement| Alteration { table: id.table.clone(), because, statement };
    let mut first = Vec::new();
    if owned.is_some() && owned == named {
        return first;
    }
    if let Some(other) = owned {
        let because = format!("its id has the sequence {other} and not {name}");
        first.push(alteration(because, sql::disown_sequence(&other)));
    }
    match named {
        Some(named) => {
            let because = format!("its id in {database} has no sequence: {named} goes with nothing");
            first.push(alteration(because, sql::own_sequence(&named, "public", &id.table)));
        }
        None => {
            let because = format!("its id in {database} has no sequence: {name} is not there");
            first.push(alteration(because, sql::create_sequence("public", name, kind, &id.table)));
        }
    }
    first
}
