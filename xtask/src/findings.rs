//! What a verification found: counts, on which the verdict rests, and some findings to be shown, each with
//! its place and both values. Text is made at the edge, with customers' values masked unless somebody asks
//! for them. Pure.

use crate::model::{Database, grouped};
pub use crate::shown::escaped;
use crate::tables::Table;
use datapath::csv_text;
use datapath::document::{FieldDifference, Value};
use datapath::sha256::in_place_of;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether customers' values are shown (`--show-values`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Values {
    #[default]
    Masked,
    Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Another number of rows than expected: which ones is said by other findings.
    Count,
    Missing,
    /// There, and not of this run.
    Extra,
    Different,
    /// Several rows have one key.
    Doubled,
    /// A digest differs where no row or document does.
    Digest,
    /// A table, a column or a file that is needed for the comparison cannot be used.
    NotComparable,
    Structure,
    Sequence,
    /// A row whose parent in the same database is not there.
    Orphan,
    /// A reference to another store, to what that does not hold.
    Reference,
    /// Documents of ours in a collection where they do not belong.
    Misplaced,
    /// A database as a whole.
    Database,
    /// What a DBA may rightly have decided, and `sql/schema` does not say: no difference.
    Remark,
    /// A file of the run.
    File,
}

/// Where a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    Product,
    Order,
    Gateway,
    Firestore,
    /// The run's own directory.
    Run,
}

impl From<Database> for Store {
    fn from(database: Database) -> Store {
        match database {
            Database::Product => Store::Product,
            Database::Order => Store::Order,
            Database::Gateway => Store::Gateway,
        }
    }
}

impl Store {
    /// The one that holds a table's rows.
    pub fn of(table: &Table) -> Store {
        table.database().map_or(Store::Firestore, Store::from)
    }
}

/// Words that may hold a customer's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// As they are.
    shown: String,
    /// For everybody; `None`: there is nothing to hide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    masked: Option<String>,
}

impl Words {
    /// Nothing in them is a customer's.
    pub fn plain(shown: impl Into<String>) -> Words {
        Words { shown: shown.into(), masked: None }
    }

    pub fn masked(shown: impl Into<String>, masked: impl Into<String>) -> Words {
        Words { shown: shown.into(), masked: Some(masked.into()) }
    }

    /// One after the other.
    pub fn joined(all: &[Words], between: &str) -> Words {
        let said = |values| all.iter().map(|words| words.said(values)).collect::<Vec<_>>().join(between);
        let hides = all.iter().any(|words| words.masked.is_some());
        Words { shown: said(Values::Shown), masked: hides.then(|| said(Values::Masked)) }
    }

    /// As each of the two is said.
    pub fn both(said: impl Fn(Values) -> String) -> Words {
        let (shown, masked) = (said(Values::Shown), said(Values::Masked));
        let masked = (masked != shown).then_some(masked);
        Words { shown, masked }
    }

    /// With other words before them.
    pub fn behind(self, before: &str) -> Words {
        Words::both(|values| format!("{before}{}", self.said(values)))
    }

    pub fn said(&self, values: Values) -> &str {
        match (&self.masked, values) {
            (Some(masked), Values::Masked) => masked,
            _ => &self.shown,
        }
    }
}

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    pub store: Store,
    /// Of a file of the run: its name.
    pub table: String,
    /// The id of a row or of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Words>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Words>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Words>,
    /// What the other members do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Finding {
    pub fn new(kind: FindingKind, store: Store, table: impl Into<String>) -> Finding {
        let table = table.into();
        Finding { kind, store, table, key: None, column: None, expected: None, found: None, detail: None }
    }

    pub fn key(self, key: Words) -> Finding {
        Finding { key: Some(key), ..self }
    }

    pub fn column(self, column: impl Into<String>) -> Finding {
        Finding { column: Some(column.into()), ..self }
    }

    pub fn expected(self, expected: impl Into<String>) -> Finding {
        Finding { expected: Some(Words::plain(expected)), ..self }
    }

    pub fn found(self, found: impl Into<String>) -> Finding {
        Finding { found: Some(Words::plain(found)), ..self }
    }

    pub fn detail(self, detail: impl Into<String>) -> Finding {
        Finding { detail: Some(detail.into()), ..self }
    }

    /// Another number of rows or documents than expected.
    pub fn count(table: &Table, expected: u64, found: u64) -> Finding {
        Finding::new(FindingKind::Count, Store::of(table), table.name)
            .expected(expected.to_string())
            .found(found.to_string())
    }

    /// After the cut-over: what the services wrote is theirs, what is gone is lost.
    pub fn lost(table: &Table, missing: u64) -> Finding {
        let unit = if table.collection().is_some() { "documents" } else { "rows" };
        let detail = format!("{missing} of the run's {unit} are missing");
        Finding::new(FindingKind::Count, Store::of(table), table.name).detail(detail)
    }

    /// A value of a row that differs.
    pub fn value(
        table: &Table,
        id: &str,
        column: &str,
        expected: Option<&str>,
        found: Option<&str>,
    ) -> Finding {
        let masks = table.hides(column);
        let side = |value: Option<&str>, other| match value.filter(|_| masks) {
            Some(text) => Words::masked(csv_text::shown(value, other), masked(text)),
            None => Words::plain(csv_text::shown(value, other)),
        };
        Finding {
            expected: Some(side(expected, found)),
            found: Some(side(found, expected)),
            ..Finding::new(FindingKind::Different, Store::of(table), table.name)
                .key(row_key(id))
                .column(column)
        }
    }

    /// A reference to what the other store does not hold: one of its rows, and how many they are.
    pub fn reference(table: &Table, id: &str, column: &str, key: &str, rows: u64) -> Finding {
        let shown = format!("{key:?}");
        let found = match table.hides(column) {
            true => Words::masked(shown, masked(key)),
            false => Words::plain(shown),
        };
        Finding { found: Some(found), ..Finding::new(FindingKind::Reference, Store::of(table), table.name) }
            .key(row_key(id))
            .column(column)
            .detail(format!("{rows} rows refer to what no store holds"))
    }

    /// A field of a document that differs.
    pub fn field(table: &Table, id: &str, difference: &FieldDifference) -> Finding {
        let (expected, found) = difference.sides();
        // A field that nobody knows may hold anything.
        let masks = difference.expected.is_none() || table.hides(&difference.field);
        let side = |value: &Option<Value>, shown: String| match value {
            Some(Value::Text(text)) if masks => Words::masked(shown, format!("string {}", masked(text))),
            Some(Value::Other(_)) if masks => Words::masked(shown, MASK),
            _ => Words::plain(shown),
        };
        Finding {
            expected: Some(side(&difference.expected, expected)),
            found: Some(side(&difference.found, found)),
            ..Finding::new(FindingKind::Different, Store::Firestore, table.name)
                .key(document_key(table, id))
                .column(escaped(&difference.field))
        }
    }

    /// Where it is: `orders id 7`, `users/uid`.
    fn place(&self, values: Values) -> String {
        match &self.key {
            None => self.table.clone(),
            Some(key) if self.store == Store::Firestore => format!("{}/{}", self.table, key.said(values)),
            Some(key) => format!("{} id {}", self.table, key.said(values)),
        }
    }

    /// As environment files name it.
    fn database(&self) -> String {
        format!("{:?}", self.store).to_lowercase()
    }

    /// Of a value that differs: which, and both sides.
    pub fn difference(&self, values: Values) -> String {
        let side = |words: &Option<Words>| words.as_ref().map_or("", |w| w.said(values)).to_string();
        let (column, expected, found) =
            (self.column.as_deref().unwrap_or_default(), side(&self.expected), side(&self.found));
        escaped(&format!("{column}: expected {expected}, found {found}"))
    }

    /// The finding in one line.
    pub fn text(&self, values: Values) -> String {
        escaped(&self.line(values))
    }

    fn line(&self, values: Values) -> String {
        let side = |words: &Option<Words>| words.as_ref().map_or("", |w| w.said(values)).to_string();
        let (place, expected, found) = (self.place(values), side(&self.expected), side(&self.found));
        let detail = self.detail.as_deref().unwrap_or_default();
        let column = self.column.as_deref().unwrap_or_default();
        let unit = if self.store == Store::Firestore { "documents" } else { "rows" };
        match self.kind {
            FindingKind::Count if self.detail.is_some() => format!("{place}: {detail}"),
            FindingKind::Count => format!("{place}: {expected} {unit} expected, {found} found"),
            FindingKind::Missing => format!("{place}: is missing"),
            FindingKind::Extra => format!("{place}: is not of this run"),
            FindingKind::Different => format!("{place}: {}", self.difference(values)),
            FindingKind::Doubled => format!("{place}: is there {found} times"),
            FindingKind::Orphan => format!("{place}: {column} {found} is not in {detail}"),
            FindingKind::File => format!("{}{detail}", self.table),
            FindingKind::Structure => {
                format!("{}.{}: {detail}", self.database(), self.table)
            }
            FindingKind::Database => format!("{}: {detail}", self.database()),
            FindingKind::Remark => format!("{}: {}: {detail}", self.database(), self.table),
            FindingKind::Reference => {
                let key = side(&self.key);
                format!("{}.{column}: {detail}, for example id {key} to {found}", self.table)
            }
            FindingKind::NotComparable if self.column.is_some() => {
                format!("{}.{column}: {detail}", self.table)
            }
            FindingKind::Misplaced => format!("{place}: {detail}: {found}"),
            FindingKind::Digest | FindingKind::Sequence | FindingKind::NotComparable => {
                format!("{place}: {detail}")
            }
        }
    }

    /// For programs: its members, and the line.
    pub fn said(&self, values: Values) -> SaidFinding {
        let said = |words: &Option<Words>| words.as_ref().map(|w| w.said(values).to_string());
        SaidFinding {
            kind: self.kind,
            store: self.store,
            table: self.table.clone(),
            key: said(&self.key),
            column: self.column.clone(),
            expected: said(&self.expected),
            found: said(&self.found),
            text: self.text(values),
        }
    }
}

/// A finding as it leaves the tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SaidFinding {
    pub kind: FindingKind,
    pub store: Store,
    pub table: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    pub text: String,
}

impl fmt::Display for SaidFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Findings of which all are counted and some are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub count: u64,
    pub kept: Vec<Finding>,
}

impl Findings {
    pub fn add(&mut self, finding: Finding, at_most: usize) {
        self.count += 1;
        if self.kept.len() < at_most {
            self.kept.push(finding);
        }
    }
}

impl Extend<Finding> for Findings {
    /// Keeps all of them.
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.add(finding, usize::MAX));
    }
}

/// How the rows of a table or the documents of a collection compare with what is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub equal: u64,
    pub different: u64,
    pub missing: u64,
    /// There, and not expected.
    pub extra: u64,
    /// What keeps from comparing, and what no row explains.
    pub other: u64,
}

impl Counts {
    pub fn add(&mut self, more: Counts) {
        self.equal += more.equal;
        self.different += more.different;
        self.missing += more.missing;
        self.extra += more.extra;
        self.other += more.other;
    }

    /// `2 different, 1 missing`. `in_service`: what was changed and added is the services' work.
    pub fn in_words(self, in_service: bool) -> String {
        let (different, extra) = if in_service { (0, 0) } else { (self.different, self.extra) };
        let parts = [
            (different, "different"),
            (self.missing, "missing"),
            (extra, "not of this run"),
            (self.other, "not comparable"),
        ];
        let parts = parts.into_iter().filter(|(n, _)| *n > 0);
        parts.map(|(n, what)| format!("{} {what}", grouped(n))).collect::<Vec<_>>().join(", ")
    }
}

/// The id of a row.
pub fn row_key(id: &str) -> Words {
    Words::plain(escaped(id))
}

/// The id of a document. A session's token lets in whoever knows it: named by its hash.
pub fn document_key(table: &Table, id: &str) -> Words {
    let shown = escaped(id);
    match table.collection() {
        Some(collection) if table.hides(collection.id) => Words::masked(shown, in_place_of(id)),
        _ => Words::plain(shown),
    }
}

const MASK: &str = "***";

/// A value that is not shown.
pub fn masked(text: &str) -> String {
    format!("{MASK} ({} characters)", grouped(text.chars().count() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TABLES;

    fn table(name: &str) -> &'static Table {
        TABLES.iter().find(|t| t.name == name).unwrap()
    }

    #[test]
    fn customers_values_are_shown_only_to_who_asks() {
        let finding = Finding::value(table("orders"), "7", "user_uid", Some("uid-7"), None);
        assert_eq!(finding.text(Values::Shown), "orders id 7: user_uid: expected \"uid-7\", found NULL");
        assert_eq!(
            finding.text(Values::Masked),
            "orders id 7: user_uid: expected *** (5 characters), found NULL"
        );
        let finding = Finding::value(table("orders"), "7", "total_amount", Some("1.00"), Some("-1.00"));
        assert_eq!(
            finding.text(Values::Masked),
            "orders id 7: total_amount: expected \"1.00\", found \"-1.00\""
        );
        let key = document_key(table("user_sessions"), "secret");
        assert!(key.said(Values::Masked).starts_with("(sha256 2bb80d537b1d"), "{key:?}");
        assert_eq!(key.said(Values::Shown), "secret");
        assert_eq!(document_key(table("users"), "a\u{1b}[2J\nb").said(Values::Masked), "a\\u{1b}[2J\\nb");
    }

    #[test]
    fn all_are_counted_and_some_are_kept() {
        let mut findings = Findings::default();
        for _ in 0..3 {
            findings.add(Finding::new(FindingKind::Missing, Store::Order, "orders"), 1);
        }
        assert_eq!((findings.count, findings.kept.len()), (3, 1));
    }
}
