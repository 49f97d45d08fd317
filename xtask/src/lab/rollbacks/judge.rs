//! Whether the way back kept its laws, by the next run's export of the old database: what it tells is what the stores
//! held (PutGet), and rows that nobody had written are what they were (GetPut).

use super::state::{Named, Old, Stores};
use crate::phases::rollback::Back;
use crate::tables::{Home, TABLES, Table};
use datapath::document::{NullPolicy, Value};
use datapath::firestore::Fields;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is known of one round.
pub struct Round {
    pub old_before: Old,
    pub old_after: Old,
    /// When the services took over, and when they were stopped.
    pub stores_before: Stores,
    pub stores_after: Stores,
    pub back: Back,
    /// How often it was killed.
    pub cuts: usize,
    /// What the old database tells afterwards, by table and id.
    pub told: BTreeMap<&'static str, BTreeMap<i64, Named>>,
}

/// A line for each row that is lost, invented or changed. Also how many were listed by the tool itself.
pub fn judge(round: &Round) -> (Vec<String>, usize) {
    let (mut failures, mut listed) = (Vec::new(), 0);
    for table in TABLES {
        listed += left(round, table).len();
        match &table.home {
            Home::Postgres(_) => failures.extend(rows(round, table)),
            Home::Firestore(_) => failures.extend(documents(round, table)),
        }
        failures.extend(untouched(round, table));
    }
    (failures, listed)
}

/// The ids that the tool itself lists: they did not come back, or not as they are.
fn left(round: &Round, table: &Table) -> BTreeSet<String> {
    let Some(back) = round.back.tables.get(table.name) else { return BTreeSet::new() };
    let all = [&back.conflicts, &back.quarantined, &back.kept, &back.noted].into_iter().flatten();
    all.map(|left| left.key.clone()).collect()
}

/// PutGet of a table.
fn rows(round: &Round, table: &Table) -> Vec<String> {
    let (empty, left) = (BTreeMap::new(), left(round, table));
    let [held, before] =
        [&round.stores_after, &round.stores_before].map(|s| s.rows.get(table.name).unwrap_or(&empty));
    let told = round.told.get(table.name).unwrap_or(&empty);
    let old = &round.old_after[table.source];
    let mut wrong = Vec::new();
    let is_assumed = |column: &str| table.assumed.iter().any(|(name, _)| *name == column);
    for (id, row) in held.iter().filter(|(id, _)| !left.contains(&id.to_string())) {
        match told.get(id) {
            Some(told) => {
                let differs = |(name, value): &(&String, &Option<String>)| {
                    !is_assumed(name) && told.get(*name).is_some_and(|told| told != *value)
                };
                wrong.extend(row.iter().filter(differs).map(|(name, value)| {
                    format!("CHANGED: {} {id}: {name} {value:?}, told {:?}", table.name, told[name])
                }));
            }
            // Soft-deleted by a service: it is there, and stays behind from now on; with what hangs on it.
            None if old.contains_key(id) && before.get(id) != Some(row) => {}
            None if old.contains_key(id) && hangs_on_deleted(round, table, row) => {}
            None => wrong.push(format!("LOST: {} {id}", table.name)),
        }
    }
    let extra = told.keys().filter(|id| !held.contains_key(id) && !left.contains(&id.to_string()));
    // What a quarantined or excluded row was, may be migrated now: it is no invention if nobody has written it.
    let extra = extra.filter(|id| round.old_before[table.source].get(id) != old.get(id));
    wrong.extend(extra.map(|id| format!("INVENTED: {} {id}", table.name)));
    wrong
}

fn hangs_on_deleted(round: &Round, table: &Table, row: &Named) -> bool {
    let parent = match table.name {
        "categories" => ("categories", "parent_id"),
        "products" => ("categories", "category_id"),
        "product_reviews" => ("products", "product_id"),
        _ => return row.get("deleted_at").is_some_and(Option::is_some),
    };
    let id = row.get(parent.1).cloned().flatten().and_then(|id| id.parse::<i64>().ok());
    let gone = |id| round.told.get(parent.0).is_none_or(|told| !told.contains_key(&id));
    row.get("deleted_at").is_some_and(Option::is_some) || id.is_some_and(gone)
}

/// PutGet of a collection, by the documents that the told rows become.
fn documents(round: &Round, table: &Table) -> Vec<String> {
    let Some(collection) = table.collection() else { return Vec::new() };
    let told = round.told.get(table.name).into_iter().flatten();
    let told: BTreeMap<&str, (i64, &Named)> =
        told.filter_map(|(id, row)| Some((row.get(collection.id)?.as_deref()?, (*id, row)))).collect();
    let prefix = format!("{}/", collection.name);
    let held =
        round.stores_after.documents.iter().filter_map(|(name, f)| Some((name.strip_prefix(&prefix)?, f)));
    let held: BTreeMap<&str, &Fields> = held.collect();
    let mut missing = 0;
    let mut wrong = Vec::new();
    for (id, fields) in &held {
        let Some((_, told)) = told.get(id) else {
            let owner = fields.get("user_uid").and_then(|uid| match uid {
                Value::Text(uid) => Some(format!("users/{uid}")),
                _ => None,
            });
            // Sessions of a user who is gone stay behind with the user.
            let orphan = owner.is_some_and(|owner| !round.stores_after.documents.contains_key(&owner));
            missing += usize::from(!orphan);
            continue;
        };
        for field in collection.fields {
            let held = fields.get(field.name).filter(|v| **v != Value::Null).cloned();
            let held = held.unwrap_or_else(|| field.default(NullPolicy::Default));
            let text = told.get(field.name).cloned().flatten();
            if !same(&held, text.as_deref(), &field.default(NullPolicy::Default)) {
                wrong
                    .push(format!("CHANGED: {}: {} is told as {text:?}, was {held}", table.name, field.name));
            }
        }
    }
    let listed = left(round, table).len();
    // Of a user who did not come back the sessions cannot, and are listed as well.
    if missing > listed {
        wrong.push(format!("LOST: {missing} documents of {}, {listed} are listed", table.name));
    }
    // The sessions of a user who came back are told again.
    let as_before = |id: &i64| {
        let [before, after] = [&round.old_before, &round.old_after].map(|old| old[table.source].get(id));
        before == after
    };
    let invented = told.iter().filter(|(key, (id, _))| !held.contains_key(*key) && !as_before(id)).count();
    if invented > 0 {
        wrong.push(format!("INVENTED: {invented} documents of {}", table.name));
    }
    wrong
}

/// Whether a field's value is what a column tells.
fn same(held: &Value, told: Option<&str>, default: &Value) -> bool {
    let Some(told) = told else { return held == default };
    match held {
        Value::Null => false,
        Value::Text(text) => text == told,
        Value::Integer(number) => number.to_string() == told,
        Value::Boolean(flag) => told == if *flag { "t" } else { "f" },
        Value::Time(micros) => {
            let told = told.strip_suffix("+00").unwrap_or(told).replace(' ', "T");
            let held = datapath::document::format_time(*micros);
            let held = held.strip_suffix('Z').unwrap_or(&held);
            // PostgreSQL leaves zeros at the end out.
            let bare = |text: &str| match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
                false => text.to_string(),
            };
            bare(held) == bare(&told)
        }
        Value::Other(_) => false,
    }
}

/// GetPut: rows of the old table whose keys nobody has written are byte for byte what they were.
fn untouched(round: &Round, table: &Table) -> Vec<String> {
    let [before, after] = [&round.old_before, &round.old_after].map(|old| &old[table.source]);
    let touched = touched(round, table);
    let ids: BTreeSet<&i64> = before.keys().chain(after.keys()).collect();
    let changed = ids.into_iter().filter(|id| before.get(id) != after.get(id) && !touched(**id));
    changed.map(|id| format!("TOUCHED: {} {id}, which nobody has written", table.source)).collect()
}

/// Whether somebody has written a row's key.
fn touched<'r>(round: &'r Round, table: &'r Table) -> Box<dyn Fn(i64) -> bool + 'r> {
    match table.collection() {
        None => {
            let of = |stores: &'r Stores, id: i64| stores.rows.get(table.name).and_then(|rows| rows.get(&id));
            Box::new(move |id| of(&round.stores_before, id) != of(&round.stores_after, id))
        }
        Some(collection) => {
            let documents =
                |stores: &'r Stores, key: &str| stores.documents.get(&format!("{}/{key}", collection.name));
            Box::new(move |id| {
                let row = round.old_after[table.source].get(&id).or(round.old_before[table.source].get(&id));
                let key = row.map(|row| row.key.as_str()).unwrap_or_default();
                documents(&round.stores_before, key) != documents(&round.stores_after, key)
            })
        }
    }
}
