//! Documents: one by one, each only where it is still as it was read.

use super::change::{Action, Change, OnChange, PIECE};
use crate::findings::{Finding, Values, Words, document_key, masked};
use crate::sql::Owner;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::document::{self, Collection, Document, Value};
use datapath::firestore::{Fields, Firestore, Guarded, Version};
use datapath::sha256::in_place_of;
use std::collections::BTreeMap;

/// A document as it is wanted; None: it must not be there.
pub struct Wanted {
    pub id: String,
    pub document: Option<Document>,
    /// As we last wrote it.
    pub last: Option<Document>,
}

/// The result for some documents.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Changed, or to be changed.
    pub changed: u64,
    /// By id, with how they differ from what we last wrote.
    pub conflicts: BTreeMap<String, Words>,
    pub theirs: u64,
}

/// Makes these documents agree, those that are still as they were read; `apply`: or only tells what it
/// would do. Documents that are written to meanwhile are conflicts.
pub async fn documents(
    firestore: &Firestore,
    table: &Table,
    wanted: &[Wanted],
    owner: Owner,
    apply: bool,
    tell: &mut OnChange<'_>,
) -> Result<Made> {
    let collection = table.collection().with_context(|| format!("{} is not a collection", table.name))?;
    let mut made = Made::default();
    for piece in wanted.chunks(PIECE) {
        let ids: Vec<String> = piece.iter().map(|w| w.id.clone()).collect();
        let found = firestore.read_versions(collection.name, &ids).await?;
        let mut changes = Vec::new();
        for wanted in piece {
            let (fields, version) = found
                .get(&wanted.id)
                .with_context(|| format!("no answer for {}", in_place_of(&wanted.id)))?;
            match judge(table, wanted, fields.as_ref(), owner) {
                DocumentVerdict::Agrees => {}
                DocumentVerdict::AddedByOthers => made.theirs += 1,
                DocumentVerdict::Conflict(how) => {
                    tell(&told(table, &wanted.id, Action::Conflict, None, how.clone()))?;
                    made.conflicts.insert(wanted.id.clone(), how);
                }
                DocumentVerdict::Change(action, change, because) => {
                    tell(&told(table, &wanted.id, action, Some(shown(table, &change)), because))?;
                    made.changed += 1;
                    changes.push((change, version.clone()));
                }
            }
        }
        if apply && !changes.is_empty() {
            for (id, how) in write(firestore, table, collection, changes).await? {
                tell(&told(table, &id, Action::Conflict, None, how.clone()))?;
                made.changed -= 1;
                made.conflicts.insert(id, how);
            }
        }
    }
    Ok(made)
}

/// Writes what may be written, reads it back, and returns what others have written meanwhile.
async fn write(
    firestore: &Firestore,
    table: &Table,
    collection: &Collection,
    changes: Vec<(Guarded, Version)>,
) -> Result<BTreeMap<String, Words>> {
    let ids: Vec<String> = changes.iter().map(|(change, _)| id_of(change).to_string()).collect();
    firestore.change(collection.name, changes.clone()).await?;
    let mut found: BTreeMap<String, _> = firestore.read(collection.name, &ids).await?.into_iter().collect();
    let differs = changes.iter().filter_map(|(change, _)| {
        let id = id_of(change);
        let now = found.remove(id).flatten();
        let how = match (change, now) {
            (Guarded::Delete(_), None) => return None,
            (Guarded::Delete(_), Some(_)) => Words::plain("another client has changed it just now"),
            (Guarded::Set(document), Some(now)) => {
                differences(table, document, &now)?.behind("another client has changed it just now: ")
            }
            (Guarded::Set(_), None) => Words::plain("another client has deleted it just now"),
        };
        Some((id.to_string(), how))
    });
    Ok(differs.collect())
}

enum DocumentVerdict {
    Agrees,
    AddedByOthers,
    Conflict(Words),
    Change(Action, Guarded, Words),
}

fn judge(table: &Table, wanted: &Wanted, found: Option<&Fields>, owner: Owner) -> DocumentVerdict {
    let how = |expected: &Option<Document>| match (expected, found) {
        (None, None) => None,
        (Some(_), None) => Some(Words::plain("it is not there")),
        (None, Some(_)) => Some(Words::plain("it is there, and we did not write it")),
        (Some(document), Some(fields)) => differences(table, document, fields),
    };
    let Some(because) = how(&wanted.document) else { return DocumentVerdict::Agrees };
    if owner == Owner::Others {
        if wanted.document.is_none() && wanted.last.is_none() {
            return DocumentVerdict::AddedByOthers;
        }
        if let Some(how) = how(&wanted.last) {
            return DocumentVerdict::Conflict(how);
        }
    }
    match (&wanted.document, found) {
        (Some(document), None) => {
            DocumentVerdict::Change(Action::Insert, Guarded::Set(document.clone()), because)
        }
        (Some(document), Some(_)) => {
            DocumentVerdict::Change(Action::Update, Guarded::Set(document.clone()), because)
        }
        (None, _) => DocumentVerdict::Change(Action::Delete, Guarded::Delete(wanted.id.clone()), because),
    }
}

/// How a document differs, where it does.
fn differences(table: &Table, document: &Document, found: &Fields) -> Option<Words> {
    let differences = document::differences(document, found);
    let said = |values: Values| {
        let one = |difference| Finding::field(table, &document.id, difference).difference(values);
        differences.iter().map(one).collect::<Vec<_>>().join("; ")
    };
    (!differences.is_empty()).then(|| Words::both(said))
}

fn id_of(change: &Guarded) -> &str {
    match change {
        Guarded::Set(document) => &document.id,
        Guarded::Delete(id) => id,
    }
}

/// The document as it is written, or its name where it goes.
fn shown(table: &Table, change: &Guarded) -> Words {
    Words::both(|values| {
        let id = match values {
            Values::Shown => id_of(change).to_string(),
            Values::Masked => document_key(table, id_of(change)).said(values).to_string(),
        };
        let name = format!("{}/{id}", table.name);
        let Guarded::Set(document) = change else { return serde_json::json!({ "name": name }).to_string() };
        let mut document = document.clone();
        if values == Values::Masked {
            mask(table, &mut document);
        }
        let mut json = document::to_json(&document);
        json["name"] = name.into();
        json.to_string()
    })
}

fn mask(table: &Table, document: &mut Document) {
    for (_, value) in document.fields.iter_mut().filter(|(field, _)| table.hides(field)) {
        if let Value::Text(text) = value {
            *value = Value::Text(masked(text));
        }
    }
}

fn told(table: &Table, id: &str, action: Action, writes: Option<Words>, because: Words) -> Change {
    Change {
        store: "firestore".to_string(),
        table: table.name.to_string(),
        ids: vec![document_key(table, id)],
        action,
        writes,
        because: Some(because),
    }
}
