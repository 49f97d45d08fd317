//! Documents that stand where no service looks for them: in a collection whose name is ours but for its
//! spelling, or in one of our names, however spelled, below other documents. Asked by names and counts,
//! never document by document.

use super::cutover_state::CutoverState;
use crate::findings::{Finding, FindingKind, Findings, Store, Values, Words, document_key, escaped};
use crate::model::grouped;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Check, TableProof};
use anyhow::Result;
use datapath::firestore::{Address, Firestore};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Documents that are named of each place.
const NAMED: usize = 5;

/// What there is, counted while the documents are read.
pub(super) struct Counted {
    firestore: Firestore,
    at_the_root: Vec<String>,
    /// The documents of all collections of a name, at the root and below documents. Names that nothing has
    /// are left out.
    everywhere: BTreeMap<String, u64>,
}

pub(super) async fn count(ctx: &Arc<Ctx>) -> Result<Counted> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let at_the_root = firestore.root_collections().await?;
    let ours = our_names(ctx);
    let spelled_otherwise = |name: &&String| ours.iter().any(|own| same_but_for_spelling(own, name));
    let mut names: BTreeSet<String> = ours.iter().flat_map(|own| spellings(own)).collect();
    names.extend(at_the_root.iter().filter(spelled_otherwise).cloned());
    let mut everywhere = BTreeMap::new();
    for name in names {
        let documents = firestore.count_everywhere(&name).await?;
        if documents > 0 {
            everywhere.insert(name, documents);
        }
    }
    Ok(Counted { firestore, at_the_root, everywhere })
}

/// `tables`: what the collections at the root hold, by their tables.
pub(super) async fn check(
    ctx: &Arc<Ctx>,
    cutover: CutoverState,
    counted: Counted,
    tables: &[TableProof],
) -> Result<Check> {
    let mut found = Findings::default();
    for (name, everywhere) in &counted.everywhere {
        let ours = ctx.tables.iter().position(|t| t.collection().is_some_and(|c| c.name == name));
        // In the normal case nothing more is asked.
        if ours.is_some_and(|table| tables[table].found_rows == *everywhere) {
            continue;
        }
        if ours.is_none() {
            at_the_root(ctx, &counted, name, &mut found).await?;
        }
        below_documents(ctx, &counted.firestore, name, &mut found).await?;
    }
    let mut looked_at = format!(
        "the names of {} collections at the root, and {} below documents",
        counted.at_the_root.len(),
        our_names(ctx).join(" and ")
    );
    if cutover == CutoverState::After && found.count > 0 {
        let theirs: Vec<String> = found.kept.iter().map(|finding| finding.text(Values::Masked)).collect();
        looked_at += &format!("; since the cut-over it is the services' work: {}", theirs.join("; "));
        found = Findings::default();
    }
    Ok(Check::new("misplaced documents", looked_at, found))
}

/// A collection at the root that is ours but for its spelling.
async fn at_the_root(ctx: &Ctx, counted: &Counted, name: &str, found: &mut Findings) -> Result<()> {
    if counted.at_the_root.iter().any(|there| there == name) {
        let documents = counted.firestore.count(name).await?;
        let first = counted.firestore.first_documents(name, NAMED).await?;
        add(ctx, found, name.to_string(), documents, &first);
    }
    Ok(())
}

/// Collections of this name below documents.
async fn below_documents(ctx: &Ctx, firestore: &Firestore, name: &str, found: &mut Findings) -> Result<()> {
    // Counted once more, at one moment: while services write, the counts of before differ for that alone.
    let (everywhere, root) = tokio::try_join!(firestore.count_everywhere(name), firestore.count(name))?;
    if everywhere > root {
        let first = firestore.below_documents(name, NAMED).await?;
        add(ctx, found, format!("…/{name}"), everywhere - root, &first);
    }
    Ok(())
}

/// One finding a collection; counted are its documents.
fn add(ctx: &Ctx, found: &mut Findings, place: String, documents: u64, first: &[String]) {
    if first.is_empty() {
        return;
    }
    let documents = documents.max(first.len() as u64);
    let mut names: Vec<Words> = first.iter().map(|path| document(ctx, path)).collect();
    if documents > first.len() as u64 {
        names.push(Words::plain("…"));
    }
    found.count += documents;
    found.kept.push(Finding {
        found: Some(Words::joined(&names, ", ")),
        ..Finding::new(FindingKind::Misplaced, Store::Firestore, place)
            .detail(format!("{} documents where no service looks for them", grouped(documents)))
    });
}

/// The path of a document, as it may be shown: `users/u1/user_sessions/s1`.
fn document(ctx: &Ctx, path: &str) -> Words {
    let segments: Vec<&str> = path.split('/').collect();
    let part = |pair: &[&str]| {
        let collection = pair.first().copied().unwrap_or_default();
        let id = pair.get(1).copied().unwrap_or_default();
        let table = ctx
            .tables
            .iter()
            .find(|t| t.collection().is_some_and(|ours| same_but_for_spelling(ours.name, collection)));
        let id = table.map_or_else(|| Words::plain(escaped(id)), |table| document_key(table, id));
        Words::joined(&[Words::plain(escaped(collection)), id], "/")
    };
    let parts: Vec<Words> = segments.chunks(2).map(part).collect();
    Words::joined(&parts, "/")
}

fn our_names(ctx: &Ctx) -> Vec<&'static str> {
    ctx.tables.iter().filter_map(|t| t.collection()).map(|c| c.name).collect()
}

fn same_but_for_spelling(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    bare(one) == bare(other)
}

/// A name of ours as others may spell it, itself among them: the collections below documents can only be
/// asked for by their names.
fn spellings(name: &str) -> BTreeSet<String> {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    let pascal: String = name.split('_').map(capital).collect();
    let first = name.split('_').next().unwrap_or_default();
    let camel = first.to_string() + &pascal[first.len()..];
    [
        name.to_string(),
        name.to_uppercase(),
        name.replace('_', "-"),
        name.replace('_', ""),
        capital(name),
        pascal,
        camel,
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_but_for_their_spelling() {
        for other in ["Users", "USERS", "us-ers", "users_"] {
            assert!(same_but_for_spelling("users", other), "{other}");
        }
        for spelling in spellings("user_sessions") {
            assert!(same_but_for_spelling("user_sessions", &spelling), "{spelling}");
        }
        for other in ["sessions", "user", "user_session", "users2"] {
            assert!(!same_but_for_spelling("user_sessions", other), "{other}");
        }
    }

    #[test]
    fn a_name_is_asked_for_in_its_usual_spellings() {
        let of = |name| spellings(name).into_iter().collect::<Vec<_>>();
        assert_eq!(of("users"), ["USERS", "Users", "users"]);
        let sessions = of("user_sessions");
        for spelling in ["user_sessions", "userSessions", "UserSessions", "user-sessions", "usersessions"] {
            assert!(sessions.iter().any(|s| s == spelling), "{spelling} is not in {sessions:?}");
        }
    }
}
