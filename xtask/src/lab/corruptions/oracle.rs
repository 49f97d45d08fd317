//! What a verification has to find of stores that have become other ones: worked out from what they held
//! and hold, without the tool's own verification. Pure.

use super::corruption::{Change, Corruption};
use super::expectation::{Expectation, Expected, Side};
use super::held::{Held, Row, Shape, changed_documents, changed_rows, id_of};
use super::raw::{Fields, ValueType};
use super::world::World;
use crate::findings::{Counts, FindingKind, Store, escaped};
use crate::model::Database;
use crate::tables::{self, TABLES, Table, To};
use datapath::csv_text;
use datapath::document::format_time;
use std::collections::{BTreeMap, BTreeSet};

/// What the run's files say of keys and sequences.
#[derive(Debug, Default)]
pub struct Books {
    /// Every uid that a user of the source has.
    pub uids: BTreeSet<String>,
    /// By table: ids in quarantine.
    pub quarantined: BTreeMap<&'static str, BTreeSet<String>>,
    /// By table: the id that the next row gets.
    pub next: BTreeMap<&'static str, i64>,
}

/// All that a look at the stores as they are now has to say.
pub fn expected(
    world: &World,
    books: &Books,
    corruption: Option<&Corruption>,
    now: &Held,
    max_diffs: usize,
) -> Expected {
    let mut expected = Expected::default();
    let hidden = match corruption.map(|c| &c.change) {
        Some(Change::Database { hidden, .. }) => hidden.as_deref(),
        _ => None,
    };
    for table in TABLES {
        match table.database() {
            Some(_) => rows(world, now, table.name, max_diffs, &mut expected),
            None => documents(world, now, table.name, max_diffs, &mut expected),
        }
    }
    orphans(world, now, hidden, max_diffs, &mut expected);
    references(world, books, now, hidden, &mut expected);
    sequences(world, books, now, hidden, &mut expected);
    if let Some(shape) = world.shapes.iter().find(|shape| Some(shape.table.name) == hidden) {
        not_comparable(shape.table, world.held.rows_of(shape.table.name).len(), &mut expected);
    }
    match corruption.map(|c| &c.change) {
        Some(Change::Database { database, structure, .. }) => {
            for (table, part) in structure {
                let part = Expectation::new(FindingKind::Structure, (*database).into(), table).column(part);
                expected.add("structure", part);
            }
        }
        Some(Change::File { name, .. }) => file(world, name, &mut expected),
        Some(Change::Documents { .. }) | None => {}
    }
    expected
}

/// The one value that has become another, where it is one.
pub fn only_change(world: &World, now: &Held) -> Option<(&'static str, String, String)> {
    let mut changes = Vec::new();
    for shape in &world.shapes {
        let name = shape.table.name;
        for (id, (before, after)) in changed_rows(world.held.rows_of(name), now.rows_of(name)) {
            let ([before], [after]) = (&before[..], &after[..]) else { return None };
            let columns = differing(shape, before, after);
            changes.extend(columns.map(|place| (name, id.to_string(), shape.columns[place].name.clone())));
        }
    }
    for (name, documents) in &world.held.documents {
        for id in changed_documents(&world.held, now, name) {
            let (before, after) = (documents.get(&id)?, now.documents.get(name)?.get(&id)?);
            let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let differ = fields.into_iter().filter(|f| before.get(*f) != after.get(*f));
            changes.extend(differ.map(|field| (*name, id.clone(), field.clone())));
        }
    }
    if changes.len() == 1 { changes.pop() } else { None }
}

fn differing<'a>(shape: &'a Shape, before: &'a Row, after: &'a Row) -> impl Iterator<Item = usize> + 'a {
    (0..shape.columns.len()).filter(move |place| before[*place] != after[*place])
}

fn number(n: usize) -> Side {
    Side::Is(n.to_string())
}

fn rows(world: &World, now: &Held, name: &'static str, max_diffs: usize, expected: &mut Expected) {
    let Ok(shape) = world.shape(name) else { return };
    let (before, after) = (world.held.rows_of(name), now.rows_of(name));
    let changed = changed_rows(before, after);
    let mut counts = Counts { equal: before.len() as u64, ..Counts::default() };
    let mut shown = changed.len().min(max_diffs);
    let of = |kind| Expectation::new(kind, Store::of(shape.table), name);
    for (id, (before, after)) in &changed {
        let mut findings = Vec::new();
        if after.len() > 1 {
            findings.push(of(FindingKind::Doubled).found(after.len().to_string()));
        }
        match (before.first(), after.first()) {
            (Some(_), None) => {
                counts.missing += 1;
                findings.push(of(FindingKind::Missing));
            }
            (None, _) => {
                counts.extra += after.len() as u64;
                findings.push(of(FindingKind::Extra));
            }
            (Some(old), Some(new)) => {
                counts.extra += after.len() as u64 - 1;
                counts.different += u64::from(!after.contains(old));
                findings.extend(differing(shape, old, new).map(|place| {
                    let (e, f) = (old[place].as_deref(), new[place].as_deref());
                    let sides = (Side::Is(csv_text::shown(e, f)), Side::Is(csv_text::shown(f, e)));
                    of(FindingKind::Different).column(&shape.columns[place].name).sides(sides.0, sides.1)
                }));
            }
        }
        if shown > 0 {
            shown -= 1;
            expected.findings.extend(findings.into_iter().map(|finding| finding.key(id.to_string())));
        }
    }
    counts.equal -= counts.different + counts.missing;
    if before.len() != after.len() {
        expected.findings.push(of(FindingKind::Count).sides(number(before.len()), number(after.len())));
    }
    expected.tables.insert(name, (before.len() as u64, counts));
}

fn documents(world: &World, now: &Held, name: &'static str, max_diffs: usize, expected: &mut Expected) {
    let empty = BTreeMap::new();
    let before = world.held.documents.get(name).unwrap_or(&empty);
    let after = now.documents.get(name).unwrap_or(&empty);
    let mut counts = Counts { equal: before.len() as u64, ..Counts::default() };
    let of = |kind, id: &str| Expectation::new(kind, Store::Firestore, name).key(escaped(id));
    let (mut missing, mut different, mut extra) = (Vec::new(), Vec::new(), Vec::new());
    for id in changed_documents(&world.held, now, name) {
        match (before.get(&id), after.get(&id)) {
            (Some(_), None) => missing.push(of(FindingKind::Missing, &id)),
            (None, _) => extra.push(of(FindingKind::Extra, &id)),
            (Some(old), Some(new)) => {
                counts.different += 1;
                different.extend(fields(old, new).into_iter().map(|(field, e, f)| {
                    of(FindingKind::Different, &id).column(escaped(&field)).sides(e, f)
                }));
            }
        }
    }
    counts.missing = missing.len() as u64;
    counts.extra = extra.len() as u64;
    counts.equal -= counts.different + counts.missing;
    if before.len() != after.len() {
        let count = Expectation::new(FindingKind::Count, Store::Firestore, name);
        expected.findings.push(count.sides(number(before.len()), number(after.len())));
    }
    let room = max_diffs.saturating_sub(missing.len());
    for (all, shown) in [(missing, max_diffs), (different, room), (extra, max_diffs)] {
        expected.some.push((shown.min(all.len()), all));
    }
    expected.tables.insert(name, (before.len() as u64, counts));
}

/// Fields that differ, with how each side begins.
fn fields(before: &Fields, after: &Fields) -> Vec<(String, Side, Side)> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let side = |fields: &Fields, name: &String| {
        let value = fields.get(name).map(|value| value.value_type.as_ref());
        value.map_or(Side::Is("no such field".to_string()), described)
    };
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| (name.clone(), side(before, name), side(after, name))).collect()
}

/// How a value is shown: its type first.
fn described(value: Option<&ValueType>) -> Side {
    match value {
        Some(ValueType::NullValue(_)) => Side::Is("null".to_string()),
        Some(ValueType::BooleanValue(flag)) => Side::Is(format!("boolean {flag}")),
        Some(ValueType::IntegerValue(n)) => Side::Is(format!("integer {n}")),
        Some(ValueType::DoubleValue(n)) => Side::Is(format!("double {n:?}")),
        Some(ValueType::TimestampValue(time)) => {
            let micros = time.seconds * 1_000_000 + i64::from(time.nanos) / 1000;
            Side::Is(format!("time {}", format_time(micros)))
        }
        // Long ones are shortened.
        Some(ValueType::StringValue(_)) => Side::Starts("string ".to_string()),
        Some(ValueType::BytesValue(bytes)) => Side::Is(format!("{} bytes", bytes.len())),
        Some(ValueType::ArrayValue(array)) => Side::Is(format!("array of {}", array.values.len())),
        Some(ValueType::MapValue(map)) => Side::Is(format!("map of {}", map.fields.len())),
        _ => Side::Starts(String::new()),
    }
}

/// The ids of a table's rows.
fn ids(now: &Held, table: &str) -> BTreeSet<String> {
    now.rows_of(table).iter().map(|row| id_of(row).to_string()).collect()
}

/// A column's values, each with its row's id.
fn values<'a>(
    world: &World,
    now: &'a Held,
    table: &str,
    column: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let place = world.shape(table).ok().and_then(|shape| shape.place(column)).unwrap_or_default();
    now.rows_of(table).iter().filter_map(move |row| Some((id_of(row), row[place].as_deref()?)))
}

/// A table or collection of which nothing can be said.
fn not_comparable(table: &'static Table, rows: usize, expected: &mut Expected) {
    let counts = Counts { other: 1, ..Counts::default() };
    expected.tables.insert(table.name, (rows as u64, counts));
    expected.findings.push(Expectation::new(FindingKind::NotComparable, Store::of(table), table.name));
}

/// Rows whose parent in the same database is not there, database by database.
fn orphans(world: &World, now: &Held, hidden: Option<&str>, max_diffs: usize, expected: &mut Expected) {
    let mut shown = 0;
    for database in Database::ALL {
        for key in &world.foreign_keys {
            if world.shape(&key.table).is_ok_and(|shape| shape.database != database) {
                continue;
            }
            if [&key.table, &key.parent].iter().any(|table| Some(table.as_str()) == hidden) {
                let finding = Expectation::new(FindingKind::NotComparable, database.into(), &key.table);
                expected.add("orphans", finding.column(&key.column));
                continue;
            }
            let parents = ids(now, &key.parent);
            for (id, value) in values(world, now, &key.table, &key.column) {
                if parents.contains(value) {
                    continue;
                }
                *expected.checks.entry("orphans".to_string()).or_default() += 1;
                if shown < max_diffs {
                    shown += 1;
                    let orphan = Expectation::new(FindingKind::Orphan, database.into(), &key.table);
                    expected.findings.push(orphan.key(id).column(&key.column).found(value));
                }
            }
        }
    }
}

/// References to what the other store does not hold.
fn references(world: &World, books: &Books, now: &Held, hidden: Option<&str>, expected: &mut Expected) {
    for table in TABLES {
        for reference in table.references {
            let name = format!("{}.{}", table.name, reference.column);
            let ends =
                [Some(table.name), if let To::Row(_, parent) = reference.to { Some(parent) } else { None }];
            if hidden.is_some() && ends.contains(&hidden) {
                let finding = Expectation::new(FindingKind::NotComparable, Store::of(table), table.name);
                expected.add(&name, finding.column(reference.column));
                continue;
            }
            let known = match reference.to {
                To::User => books.uids.clone(),
                To::Row(_, parent) => {
                    let mut known = ids(now, parent);
                    known.extend(books.quarantined.get(parent).into_iter().flatten().cloned());
                    known
                }
            };
            let unknown: Vec<(&str, &str)> = values(world, now, table.name, reference.column)
                .filter(|(_, value)| !known.contains(*value))
                .collect();
            let Some((first, value)) = unknown.first() else { continue };
            expected.checks.insert(name, unknown.len() as u64);
            let finding = Expectation::new(FindingKind::Reference, Store::of(table), table.name)
                .key(*first)
                .column(reference.column);
            let all_alike = unknown.iter().all(|(_, other)| other == value);
            let finding = if all_alike { finding.found(format!("{value:?}")) } else { finding };
            expected.findings.push(finding);
        }
    }
}

/// Sequences that would give an id again.
fn sequences(world: &World, books: &Books, now: &Held, hidden: Option<&str>, expected: &mut Expected) {
    for shape in &world.shapes {
        let name = shape.table.name;
        let finding = Expectation::new(FindingKind::Sequence, shape.database.into(), name).column("id");
        if hidden == Some(name) {
            expected.add("sequences", finding);
            continue;
        }
        let largest = now.rows_of(name).iter().filter_map(|row| id_of(row).parse::<i64>().ok()).max();
        let given = books.next.get(name).copied().unwrap_or_default();
        let wanted = given.max(largest.unwrap_or_default() + 1);
        let next = now.next.get(name).copied().unwrap_or_default();
        if next < wanted {
            let sides = (Side::Is(wanted.to_string()), Side::Is(next.to_string()));
            expected.add("sequences", finding.sides(sides.0, sides.1));
        }
    }
}

/// A damaged file, and what cannot be compared without it.
fn file(world: &World, name: &str, expected: &mut Expected) {
    expected.add("files", Expectation::new(FindingKind::File, Store::Run, name));
    for table in TABLES {
        if table.collection().is_some() && table.file() == name {
            not_comparable(table, world.held.documents_of(table.name).count(), expected);
        }
        for reference in table.references {
            let evidence = match reference.to {
                To::User => tables::MAPPING.to_string(),
                To::Row(_, parent) => format!("quarantine/{parent}.csv"),
            };
            if evidence == name {
                let finding = Expectation::new(FindingKind::NotComparable, Store::of(table), table.name);
                let check = format!("{}.{}", table.name, reference.column);
                expected.add(&check, finding.column(reference.column));
            }
        }
    }
}
