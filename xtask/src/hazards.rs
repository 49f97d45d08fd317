//! What may be wrong with a source, and what becomes of it: the one list. How each is looked for stands
//! beside it. `doctor` looks at the catalogue, in seconds; `plan` at the rows as well; `migrate` at the
//! catalogue before it begins, at the rows in the export's own pass, before any target is written. Pure.
//!
//! A hazard blocks where data would be lost or changed in silence, or the import would fail; the person
//! can take that upon themselves by its name (`--accept`), but not where nothing could be read at all.
//! What ends in quarantine does not block: `max_quarantine` decides about that.

use crate::model::grouped;
use crate::shown::escaped;
use crate::sql_file;
use crate::sql_text::SqlFile;
use serde::{Deserialize, Serialize};

/// Keys that are shown of each.
pub const SAMPLE: usize = 5;

/// How a hazard is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// In the source's catalogue, by a query that is told the tables.
    Catalogue(SqlFile),
    /// In the catalogue, by comparing what the SELECTs read and write with what is there.
    Shapes,
    /// In the rows of each table whose key is missing.
    Keyless(SqlFile),
    /// In the rows, by a query.
    Rows(SqlFile),
    /// In the rows, by what the SELECTs say of them: these outcomes.
    Outcomes(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Shown,
    Blocks,
    /// It cannot be accepted: with it nothing would come of the run.
    Forbids,
}

pub struct Hazard {
    pub name: &'static str,
    pub look: Look,
    pub weight: Weight,
    pub meaning: &'static str,
    /// What will happen, or what to do.
    pub then: &'static str,
}

macro_rules! file {
    ($look:ident $name:literal) => {
        Look::$look(sql_file!(concat!("phases/preflight/", $name, ".sql")))
    };
}

macro_rules! hazard {
    ($name:literal, $look:ident, $weight:ident, $meaning:literal, $then:literal) => {
        Hazard {
            name: $name,
            look: hazard!(look $look $name),
            weight: Weight::$weight,
            meaning: $meaning,
            then: $then,
        }
    };
    (look Shapes $name:literal) => { Look::Shapes };
    (look $look:ident $name:literal) => { file!($look $name) };
}

/// What costs rows: it is shown, and `max_quarantine` decides.
macro_rules! costs_rows {
    ($name:literal, [$($outcome:literal),+], $meaning:literal, $then:literal) => {
        Hazard {
            name: $name,
            look: Look::Outcomes(&[$(concat!("quarantined:", $outcome)),+]),
            weight: Weight::Shown,
            meaning: $meaning,
            then: $then,
        }
    };
}

/// Every hazard, first those that have to do with the tables, then with their rows.
pub const HAZARDS: &[Hazard] = &[
    hazard!(
        "table-missing",
        Catalogue,
        Forbids,
        "the source has no table of this name",
        "is this the right database?"
    ),
    hazard!(
        "not-a-table",
        Catalogue,
        Forbids,
        "not a plain table: its rows are not its own, or not all of them",
        "make a plain table of it, or describe it again in sql/tables and xtask/src/tables.rs"
    ),
    hazard!(
        "column-missing",
        Shapes,
        Forbids,
        "a SELECT reads a column that the source does not have",
        "fix the SELECT and its audit, or add the column to the source"
    ),
    hazard!(
        "rows-hidden",
        Catalogue,
        Forbids,
        "row-level security hides rows from our role",
        "ALTER ROLE … BYPASSRLS, or run as the table's owner"
    ),
    hazard!(
        "id-not-unique",
        Keyless,
        Forbids,
        "rows without an id, or with the id of another",
        "give each row an id of its own in the source"
    ),
    hazard!(
        "column-extra",
        Shapes,
        Blocks,
        "a column that is not exported: its data would be lost",
        "add it to the table's SELECT and to sql/schema; accepted, it stays behind, in the backup alone"
    ),
    hazard!(
        "column-type",
        Shapes,
        Blocks,
        "a column of another type than the target's: values would be changed, or not be taken",
        "change the type in the source, the SELECT or sql/schema; accepted, the proof decides"
    ),
    hazard!(
        "key-missing",
        Catalogue,
        Blocks,
        "nothing says that every row has an id of its own",
        "ALTER TABLE … ADD PRIMARY KEY (id); accepted, the rows are counted and the target's key decides"
    ),
    hazard!(
        "trigger",
        Catalogue,
        Shown,
        "triggers are not migrated",
        "see that the services do what they did"
    ),
    hazard!(
        "row-security",
        Catalogue,
        Shown,
        "row-level security: the new databases have none",
        "see that the services do it; every row is read"
    ),
    hazard!(
        "table-extra",
        Catalogue,
        Shown,
        "a table that is not migrated",
        "it stays in the source, and in the backup, which says what pg_dump leaves out"
    ),
    costs_rows!(
        "text-undecodable",
        ["text_undecodable"],
        "bytes that are no text in the source's encoding",
        "quarantined, the bytes kept in hexadecimal"
    ),
    costs_rows!(
        "value-does-not-fit",
        ["value_does_not_fit"],
        "a text or number that is too large for the target's column",
        "quarantined, with the rows that need it"
    ),
    costs_rows!(
        "value-missing",
        ["value_missing"],
        "NULL in a column that the target declares NOT NULL",
        "quarantined, with the rows that need it"
    ),
    costs_rows!(
        "rating-out-of-range",
        ["rating_out_of_range"],
        "the target takes ratings from 1 to 5",
        "quarantined"
    ),
    costs_rows!(
        "uid-missing",
        ["uid_missing"],
        "users without a firebase_uid: there is no id for a document",
        "quarantined with their sessions, orders and reviews"
    ),
    hazard!(
        "uid-not-unique",
        Rows,
        Shown,
        "a firebase_uid that several users carry: one document cannot hold two",
        "their documents are quarantined where more than one of them is live; orders and reviews keep the \
         uid, and whose they are is in notes/"
    ),
    hazard!(
        "id-case",
        Rows,
        Shown,
        "ids of documents that differ in case only",
        "migrated as different ids: see that no service folds case"
    ),
    costs_rows!(
        "uid-not-an-id",
        ["uid_not_an_id"],
        "a firebase_uid that Firestore cannot hold as the id of a document",
        "quarantined with the sessions; orders and reviews keep it"
    ),
    costs_rows!(
        "token-not-an-id",
        ["token_not_an_id"],
        "a session_token that Firestore cannot hold as the id of a document",
        "quarantined"
    ),
    costs_rows!(
        "token-not-unique",
        ["token_not_unique"],
        "a session_token that several sessions carry",
        "all of them are quarantined"
    ),
    costs_rows!(
        "time-out-of-range",
        ["time_out_of_range"],
        "a time stamp outside the years 1 to 9999: Firestore cannot hold it",
        "quarantined; users with their sessions"
    ),
    costs_rows!(
        "document-too-large",
        ["document_too_large"],
        "a document that would be larger than 1 MiB",
        "quarantined; users with their sessions"
    ),
    costs_rows!(
        "parent-missing",
        ["user_missing", "parent_missing", "category_missing", "product_missing", "order_missing"],
        "a dangling reference, which the target needs",
        "quarantined, with the rows that need it"
    ),
    costs_rows!(
        "owner-without-uid",
        ["user_without_uid"],
        "orders and reviews of users who have no firebase_uid",
        "quarantined, with the rows that need them"
    ),
    hazard!(
        "reference-lost",
        Rows,
        Shown,
        "a dangling reference, which the target can do without",
        "migrated with NULL; the lost id is in notes/"
    ),
    hazard!(
        "category-cycle",
        Rows,
        Shown,
        "categories that are their own ancestor",
        "migrated as they are: see that no service loops over parent_id"
    ),
];

/// What else can be accepted that is no hazard of the source.
const FURTHER: &[&str] = &["no-rehearsal"];

/// The names that `--accept` takes.
pub fn acceptable() -> impl Iterator<Item = &'static str> {
    let hazards = HAZARDS.iter().filter(|h| h.weight != Weight::Forbids).map(|h| h.name);
    hazards.chain(FURTHER.iter().copied())
}

/// A hazard that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub name: String,
    /// Rows, columns or tables.
    pub count: u64,
    /// Some of them.
    pub keys: Vec<String>,
    /// Whether the run does not begin unless it is accepted.
    pub blocks: bool,
    /// Whether it can be.
    pub acceptable: bool,
    pub accepted: bool,
    pub meaning: String,
    /// What will happen, or what to do.
    pub then: String,
    /// The statements for the source, or the setting, that remove it; empty where `then` says it all.
    #[serde(default)]
    pub remedy: String,
}

impl Hazard {
    pub fn file(&self) -> Option<SqlFile> {
        match self.look {
            Look::Catalogue(file) | Look::Rows(file) | Look::Keyless(file) => Some(file),
            Look::Shapes | Look::Outcomes(_) => None,
        }
    }

    pub fn found(&self, count: u64, keys: Vec<String>, accepted: &[String]) -> Found {
        Found {
            name: self.name.to_string(),
            count,
            // They hold ids that customers gave themselves, and names out of the catalogue.
            keys: keys.iter().map(|key| escaped(key)).collect(),
            blocks: self.weight != Weight::Shown,
            acceptable: self.weight != Weight::Forbids,
            accepted: accepted.iter().any(|name| name == self.name),
            meaning: self.meaning.to_string(),
            then: self.then.to_string(),
            remedy: String::new(),
        }
    }
}

/// In the order of the list.
pub fn in_order(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|found| HAZARDS.iter().position(|hazard| hazard.name == found.name));
    found
}

impl Found {
    /// Whether the run must not begin.
    pub fn stops(&self) -> bool {
        self.blocks && !(self.acceptable && self.accepted)
    }
}

/// All of them for a person: those that stop the run first.
pub fn text(found: &[Found]) -> String {
    let mut sorted: Vec<&Found> = found.iter().collect();
    sorted.sort_by_key(|f| !f.stops());
    let mut out = String::new();
    for f in sorted {
        let (mark, word) = match (f.stops(), f.accepted && f.acceptable) {
            (true, _) => ("✗", "blocks"),
            (false, true) => ("!", "accepted"),
            (false, false) => ("!", ""),
        };
        let more = if f.count > f.keys.len() as u64 { ", …" } else { "" };
        out += &format!("  {mark} {:<20}{:>9}  {word:<9} {}\n", f.name, grouped(f.count), f.meaning);
        out += &format!("      {}{more}\n      → {}\n", f.keys.join(", "), f.then);
        if !f.remedy.is_empty() {
            out += &format!("      → {}\n", f.remedy);
        }
    }
    out
}

/// What may be typed as well where hazards block, as the rest of a sentence.
pub fn accepting(found: &[Found]) -> String {
    let names = found.iter().filter(|f| f.stops() && f.acceptable);
    let accept: Vec<String> = names.map(|f| format!("--accept {}", f.name)).collect();
    match &accept[..] {
        [] => String::new(),
        names => format!(", or accept it where it says so: {}", names.join(" ")),
    }
}

/// Why a run would not begin, in one line.
pub fn blocking(found: &[Found]) -> Option<String> {
    let stopping = found.iter().filter(|f| f.stops()).count();
    (stopping > 0).then(|| format!("{stopping} hazards block: fix them in the source{}", accepting(found)))
}

/// Why a run does not begin, for those who want the hazards as data.
#[derive(Debug)]
pub struct Blocked(pub Vec<Found>);

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("assessing the source")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_what_forbids_cannot_be_accepted() {
        let mut names: Vec<&str> = HAZARDS.iter().map(|h| h.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), HAZARDS.len());
        let missing = HAZARDS.iter().find(|h| h.name == "column-missing").unwrap();
        assert!(missing.found(1, Vec::new(), &["column-missing".into()]).stops());
        let extra = HAZARDS.iter().find(|h| h.name == "column-extra").unwrap();
        assert!(extra.found(1, Vec::new(), &[]).stops());
        assert!(!extra.found(1, Vec::new(), &["column-extra".into()]).stops());
        assert!(acceptable().any(|n| n == "no-rehearsal") && !acceptable().any(|n| n == "rows-hidden"));
    }
}
