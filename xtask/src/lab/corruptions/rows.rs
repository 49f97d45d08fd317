//! Rows changed on purpose: one value, two exchanged, whole rows. Pure: what is to be done, as SQL.

use super::corruption::{Change, Corruption, short};
use super::held::{ForeignKey, Kind, Row, Shape, id_of};
use super::values::{Assignment, Twist, twisted};
use super::world::World;
use crate::findings::Store;
use crate::sql;
use fastrand::Rng;
use std::collections::BTreeSet;

/// A way to change whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowWay {
    Deleted,
    DeletedWithChildren,
    Added,
    AddedBeyond,
    AddedFarBelow,
    Doubled,
    IdChanged,
    IdsExchanged,
    SequenceBack,
    SequenceAtLast,
    SequenceAtOne,
}

impl RowWay {
    pub const ALL: [RowWay; 11] = [
        RowWay::Deleted,
        RowWay::DeletedWithChildren,
        RowWay::Added,
        RowWay::AddedBeyond,
        RowWay::AddedFarBelow,
        RowWay::Doubled,
        RowWay::IdChanged,
        RowWay::IdsExchanged,
        RowWay::SequenceBack,
        RowWay::SequenceAtLast,
        RowWay::SequenceAtOne,
    ];

    fn name(self) -> &'static str {
        match self {
            RowWay::Deleted => "row: deleted",
            RowWay::DeletedWithChildren => "row: deleted with what refers to it",
            RowWay::Added => "row: added",
            RowWay::AddedBeyond => "row: added beyond the sequence",
            RowWay::AddedFarBelow => "row: added far from the others",
            RowWay::Doubled => "row: twice, its key dropped",
            RowWay::IdChanged => "row: another id",
            RowWay::IdsExchanged => "row: two ids exchanged",
            RowWay::SequenceBack => "sequence: set back",
            RowWay::SequenceAtLast => "sequence: gives its last number again",
            RowWay::SequenceAtOne => "sequence: begins again",
        }
    }
}

/// A change to the rows of a table.
fn corruption(shape: &Shape, kind: &str, place: String, statements: String) -> Corruption {
    Corruption {
        kind: kind.to_string(),
        store: Store::of(shape.table),
        place,
        change: Change::Database {
            database: shape.database,
            statements,
            undo: String::new(),
            structure: Vec::new(),
            hidden: None,
        },
        only: None,
    }
}

/// The rows of a table in any order.
fn shuffled<'a>(world: &'a World, table: &str, rng: &mut Rng) -> Vec<&'a Row> {
    let mut rows: Vec<&Row> = world.held.rows_of(table).iter().collect();
    rng.shuffle(&mut rows);
    rows
}

/// One value.
pub fn value(world: &World, table: &str, column: &str, twist: Twist, rng: &mut Rng) -> Option<Corruption> {
    let shape = world.shape(table).ok()?;
    let place = shape.place(column)?;
    let definition = &shape.columns[place];
    for row in shuffled(world, table, rng) {
        let old = row[place].as_deref();
        let Some(assignment) = twisted(twist, &definition.kind, definition.nullable, old, rng) else {
            continue;
        };
        let id = id_of(row);
        let (statement, new) = match assignment {
            Assignment::Value(new) => (sql::set_value(table, column, new.as_deref(), id), format!("{new:?}")),
            Assignment::Later(by) => (sql::set_later(table, column, by, id), format!("{by} µs later")),
            Assignment::Next(steps) => (sql::set_next(table, column, steps, id), format!("+ {steps}")),
        };
        let said = format!("{table}.{column} id {id}: {}", short(&format!("{old:?} → {new}")));
        let mut corruption = corruption(shape, twist.name(), said, statement);
        corruption.only = Some((shape.table.name, id.to_string(), column.to_string()));
        return Some(corruption);
    }
    None
}

/// Two rows' values of a column.
pub fn exchanged(world: &World, table: &str, column: &str, rng: &mut Rng) -> Option<Corruption> {
    let shape = world.shape(table).ok()?;
    let place = shape.place(column)?;
    let rows = shuffled(world, table, rng);
    let one = *rows.first()?;
    let other = *rows.iter().find(|other| other[place] != one[place])?;
    let set = |row: &Row, from: &Row| sql::set_value(table, column, from[place].as_deref(), id_of(row));
    let statements = format!("{}; {}", set(one, other), set(other, one));
    let said = format!("{table}.{column} id {} and {}", id_of(one), id_of(other));
    Some(corruption(shape, "value: two rows' values exchanged", said, statements))
}

/// A number's scale, which its type has to let it have.
pub fn scale(world: &World, table: &str, column: &str, rng: &mut Rng) -> Option<Corruption> {
    let shape = world.shape(table).ok()?;
    let place = shape.place(column)?;
    let definition = &shape.columns[place];
    let is_number = |row: &&Row| row[place].as_deref().is_some_and(|v| v != "NaN");
    let rows = shuffled(world, table, rng);
    let row = rows.into_iter().find(is_number).filter(|_| definition.kind == Kind::Number)?;
    let statements =
        format!("{}; {}", sql::free_scale(table, column), sql::set_scale(table, column, id_of(row)));
    let said = format!("{table}.{column} id {}", id_of(row));
    let mut scaled = corruption(shape, "value: a number's scale, its type freed", said, statements);
    if let Change::Database { undo, structure, .. } = &mut scaled.change {
        *undo = sql::column_type(table, column, &definition.type_name);
        structure.push((table.to_string(), column.to_string()));
    }
    Some(scaled)
}

/// Whole rows, and where the next one goes.
pub fn row(world: &World, table: &str, way: RowWay, rng: &mut Rng) -> Option<Corruption> {
    let shape = world.shape(table).ok()?;
    let rows = shuffled(world, table, rng);
    let (one, other) = (*rows.first()?, *rows.get(1)?);
    let (id, next) = (id_of(one), *world.held.next.get(table)?);
    let copy = |new: i64| {
        let mut row = one.clone();
        row[0] = Some(new.to_string());
        sql::put_rows(table, &shape.names(), &[&row])
    };
    let done = |said: String, statements: String| Some(corruption(shape, way.name(), said, statements));
    let sequence = |last, called| sql::set_sequence("public", table, last, called);
    match way {
        RowWay::Deleted => done(format!("{table} id {id}"), sql::take_rows(table, [id])),
        RowWay::DeletedWithChildren => {
            let row = *rows.iter().find(|row| has_children(world, table, id_of(row)))?;
            let statements = format!("{}; {}", sql::BEFORE_CONSTRAINTS, sql::take_rows(table, [id_of(row)]));
            done(format!("{table} id {}", id_of(row)), format!("{statements}; {}", sql::BEHIND_CONSTRAINTS))
        }
        RowWay::Added => {
            let new = free(world, table, next, rng)?;
            done(format!("{table} id {new} like {id}"), copy(new))
        }
        RowWay::AddedBeyond => {
            let new = next + rng.i64(0..50);
            done(format!("{table} id {new} like {id}, the sequence at {next}"), copy(new))
        }
        RowWay::AddedFarBelow => {
            let new = -20_000 - rng.i64(0..50_000);
            done(format!("{table} id {new} like {id}"), copy(new))
        }
        RowWay::Doubled => doubled(world, shape, one),
        RowWay::IdChanged => {
            let new = free(world, table, next, rng)?.to_string();
            done(format!("{table} id {id} → {new}"), sql::set_value(table, "id", Some(&new), id))
        }
        RowWay::IdsExchanged => {
            let (other, aside) = (id_of(other), free(world, table, next, rng)?.to_string());
            let moves = [(id, aside.as_str()), (other, id), (aside.as_str(), other)];
            let moves = moves.map(|(from, to)| sql::set_value(table, "id", Some(to), from));
            done(format!("{table} id {id} and {other}"), moves.join("; "))
        }
        RowWay::SequenceBack => {
            let last = rng.i64(1..next.max(3) - 1);
            done(format!("{table}: {last} of {next}"), sequence(last, true))
        }
        RowWay::SequenceAtLast => done(format!("{table}: {next}"), sequence(next - 1, false)),
        RowWay::SequenceAtOne => done(format!("{table}: {next}"), sequence(1, false)),
    }
}

/// An id that no row has and the sequence has passed.
fn free(world: &World, table: &str, next: i64, rng: &mut Rng) -> Option<i64> {
    let taken: BTreeSet<&str> = world.held.rows_of(table).iter().map(id_of).collect();
    (0..1_000).map(|_| rng.i64(1..next.max(2))).find(|id| !taken.contains(id.to_string().as_str()))
}

/// Whether rows go with it.
fn has_children(world: &World, table: &str, id: &str) -> bool {
    let refers = |key: &ForeignKey| {
        let Some(place) = world.shape(&key.table).ok().and_then(|shape| shape.place(&key.column)) else {
            return false;
        };
        world.held.rows_of(&key.table).iter().any(|row| row[place].as_deref() == Some(id))
    };
    world.foreign_keys.iter().filter(|key| key.parent == table && key.cascades).any(refers)
}

/// A second one like it, which no key keeps out.
fn doubled(world: &World, shape: &Shape, row: &Row) -> Option<Corruption> {
    let table = shape.table.name;
    let key = world.definitions.iter().find(|d| d.kind == "key: dropped" && d.table == table)?;
    let mut twice = key.corruption();
    twice.kind = RowWay::Doubled.name().to_string();
    twice.place = format!("{table} id {}", id_of(row));
    if let Change::Database { statements, .. } = &mut twice.change {
        *statements += &format!("; {}", sql::put_rows(table, &shape.names(), &[row.as_slice()]));
    }
    Some(twice)
}
