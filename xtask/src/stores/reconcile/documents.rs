//! Documents: one by one, each only where it is still as it was read.

use super::change::{Action, Change, OnChange, PIECE};
use crate::sql::Owner;
use anyhow::{Context, Result};
use datapath::document::{self, Collection, Document};
use datapath::firestore::{Fields, Firestore, Guarded, Version};
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
    pub conflicts: BTreeMap<String, String>,
    pub theirs: u64,
}

/// Makes these documents agree, those that are still as they were read; `apply`: or only tells what it
/// would do. Documents that are written to meanwhile are conflicts.
pub async fn documents(
    firestore: &Firestore,
    collection: &Collection,
    wanted: &[Wanted],
    owner: Owner,
    apply: bool,
    tell: &mut OnChange<'_>,
) -> Result<Made> {
    let mut made = Made::default();
    for piece in wanted.chunks(PIECE) {
        let ids: Vec<String> = piece.iter().map(|w| w.id.clone()).collect();
        let found = firestore.read_versions(collection.name, &ids).await?;
        let mut changes = Vec::new();
        for wanted in piece {
            let (fields, version) =
                found.get(&wanted.id).with_context(|| format!("no answer for {}", wanted.id))?;
            match judge(wanted, fields.as_ref(), owner) {
                DocumentVerdict::Agrees => {}
                DocumentVerdict::AddedByOthers => made.theirs += 1,
                DocumentVerdict::Conflict(how) => {
                    tell(&told(collection, &wanted.id, Action::Conflict, None, Some(how.clone())))?;
                    made.conflicts.insert(wanted.id.clone(), how);
                }
                DocumentVerdict::Change(action, change, because) => {
                    let writes = Some(shown(collection, &change));
                    tell(&told(collection, &wanted.id, action, writes, because))?;
                    made.changed += 1;
                    changes.push((change, version.clone()));
                }
            }
        }
        if apply && !changes.is_empty() {
            for (id, how) in write(firestore, collection, changes).await? {
                tell(&told(collection, &id, Action::Conflict, None, Some(how.clone())))?;
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
    collection: &Collection,
    changes: Vec<(Guarded, Version)>,
) -> Result<BTreeMap<String, String>> {
    let ids: Vec<String> = changes.iter().map(|(change, _)| id_of(change).to_string()).collect();
    firestore.change(collection.name, changes.clone()).await?;
    let mut found: BTreeMap<String, _> = firestore.read(collection.name, &ids).await?.into_iter().collect();
    let differs = changes.iter().filter_map(|(change, _)| {
        let id = id_of(change);
        let now = found.remove(id).flatten();
        let how = match (change, now) {
            (Guarded::Delete(_), None) => return None,
            (Guarded::Delete(_), Some(_)) => "somebody has changed it just now".to_string(),
            (Guarded::Set(document), Some(now)) => match differences(document, &now) {
                same if same.is_empty() => return None,
                how => format!("somebody has changed it just now: {how}"),
            },
            (Guarded::Set(_), None) => "somebody has deleted it just now".to_string(),
        };
        Some((id.to_string(), how))
    });
    Ok(differs.collect())
}

enum DocumentVerdict {
    Agrees,
    AddedByOthers,
    Conflict(String),
    Change(Action, Guarded, Option<String>),
}

fn judge(wanted: &Wanted, found: Option<&Fields>, owner: Owner) -> DocumentVerdict {
    let how = |expected: &Option<Document>| match (expected, found) {
        (None, None) => None,
        (Some(_), None) => Some("it is not there".to_string()),
        (None, Some(_)) => Some("it is there, and we did not write it".to_string()),
        (Some(document), Some(fields)) => {
            Some(differences(document, fields)).filter(|differences| !differences.is_empty())
        }
    };
    let Some(because) = how(&wanted.document) else { return DocumentVerdict::Agrees };
    if owner == Owner::Others {
        if wanted.document.is_none() {
            return DocumentVerdict::AddedByOthers;
        }
        if let Some(how) = how(&wanted.last) {
            return DocumentVerdict::Conflict(how);
        }
    }
    match (&wanted.document, found) {
        (Some(document), None) => {
            DocumentVerdict::Change(Action::Insert, Guarded::Set(document.clone()), Some(because))
        }
        (Some(document), Some(_)) => {
            DocumentVerdict::Change(Action::Update, Guarded::Set(document.clone()), Some(because))
        }
        (None, _) => {
            DocumentVerdict::Change(Action::Delete, Guarded::Delete(wanted.id.clone()), Some(because))
        }
    }
}

fn differences(document: &Document, found: &Fields) -> String {
    let differences = document::differences(document, found);
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn id_of(change: &Guarded) -> &str {
    match change {
        Guarded::Set(document) => &document.id,
        Guarded::Delete(id) => id,
    }
}

/// The document as it is written, or its name where it goes.
fn shown(collection: &Collection, change: &Guarded) -> String {
    let name = format!("{}/{}", collection.name, id_of(change));
    match change {
        Guarded::Set(document) => {
            let mut json = document::to_json(document);
            json["name"] = name.into();
            json.to_string()
        }
        Guarded::Delete(_) => serde_json::json!({ "name": name }).to_string(),
    }
}

fn told(
    collection: &Collection,
    id: &str,
    action: Action,
    writes: Option<String>,
    because: Option<String>,
) -> Change {
    let (store, table) = ("firestore".to_string(), collection.name.to_string());
    Change { store, table, ids: vec![id.to_string()], action, writes, because }
}
