//! What tables are and what hangs on them, by every column of the catalogue, and how two looks at that differ
//! (DESIGN rule 20).

use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind};
use crate::model::Database;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fmt;

/// A column of an object's row in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    value: String,
    /// What a DBA may decide, in his words; `None`: what a table is.
    said: Option<String>,
}

/// All objects of some tables, as the catalogue describes them: each with its columns.
#[derive(Clone, Debug, Default)]
pub struct Hanging(BTreeMap<String, BTreeMap<String, Value>>);

/// What is there otherwise than it was, or than it is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As the catalogue describes it: `index idx_orders_status`.
    object: String,
    /// The column of the catalogue, or what a DBA calls it; `None`: the whole object.
    of: Option<String>,
    before: Option<String>,
    after: Option<String>,
    is_a_dbas: bool,
}

/// Reads what hangs on these tables of a schema.
pub async fn read(connection: &mut Connection, schema: &str, tables: &[&str]) -> Result<Hanging> {
    connection.run(&sql::search_path(schema)).await?;
    let tables = sql::array(tables.iter().copied());
    let query = sql::bind(sql_file!("phases/4-import/hanging.sql"), &[("tables", &tables)]);
    let rows = connection.rows(&query).await?;
    connection.run(&sql::search_path("public")).await?;
    let mut hanging = Hanging::default();
    for row in rows {
        let value = Value { value: row.try_get("value")?, said: row.try_get("said")? };
        let columns = hanging.0.entry(row.try_get("object")?).or_default();
        columns.insert(row.try_get("of")?, value);
    }
    Ok(hanging)
}

/// Everything that differs, object by object.
pub fn compared(before: &Hanging, after: &Hanging) -> Vec<Difference> {
    let mut differences = Vec::new();
    let none = BTreeMap::new();
    let gained = after.0.keys().filter(|object| !before.0.contains_key(*object));
    for object in before.0.keys().chain(gained) {
        let (was, is) = (before.0.get(object).unwrap_or(&none), after.0.get(object).unwrap_or(&none));
        if was.is_empty() || is.is_empty() {
            differences.push(whole(object, was, is));
            continue;
        }
        let more = is.keys().filter(|of| !was.contains_key(*of));
        for of in was.keys().chain(more) {
            let (was, is) = (was.get(of), is.get(of));
            let text = |value: Option<&Value>| value.map(|value| value.value.clone());
            if text(was) == text(is) {
                continue;
            }
            let said = was.or(is).and_then(|value| value.said.clone());
            differences.push(Difference {
                object: object.clone(),
                is_a_dbas: said.is_some(),
                of: Some(said.unwrap_or_else(|| of.clone())),
                before: text(was),
                after: text(is),
            });
        }
    }
    differences
}

/// An object that is on one side only.
fn whole(object: &str, before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Difference {
    let side = |values: &BTreeMap<String, Value>| {
        let definition = values.get("definition").map_or("there", |value| &value.value);
        (!values.is_empty()).then(|| definition.to_string())
    };
    Difference {
        object: object.to_string(),
        of: None,
        before: side(before),
        after: side(after),
        is_a_dbas: before.values().chain(after.values()).all(|value| value.said.is_some()),
    }
}

impl Difference {
    /// Whether it is on the second side only, and whole.
    pub fn is_new(&self) -> bool {
        self.of.is_none() && self.before.is_none()
    }

    /// What a DBA may rightly have decided: no damage, but to be known.
    pub fn remark(&self, database: Database) -> Option<Finding> {
        let detail = match (&self.of, &self.before, &self.after) {
            (None, None, _) => "is there".to_string(),
            (None, ..) => "is not there".to_string(),
            (Some(of), _, None) => format!("has no {of}"),
            (Some(of), _, Some(after)) => format!("{of} {after:?}"),
        };
        let finding = Finding::new(FindingKind::Remark, database.into(), &self.object).detail(detail);
        let finding = match &self.before {
            Some(before) => finding.expected(before),
            None => finding,
        };
        let finding = match &self.after {
            Some(after) => finding.found(after),
            None => finding,
        };
        let finding = match &self.of {
            Some(of) => finding.column(of),
            None => finding,
        };
        self.is_a_dbas.then_some(finding)
    }
}

/// For who asks what would become of it.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { object, of, before, after, .. } = self;
        match (of, before, after) {
            (None, Some(_), _) => write!(f, "{object} would be gone"),
            (None, None, _) => write!(f, "{object} would be there, and is not"),
            (Some(of), Some(before), Some(after)) => {
                write!(f, "{object}: {of} {before:?} would be {after:?}")
            }
            (Some(of), Some(before), None) => write!(f, "{object}: {of} {before:?} would be gone"),
            (Some(of), None, after) => {
                write!(f, "{object}: {of} {:?} would be new", after.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hanging(rows: &[(&str, &str, &str, Option<&str>)]) -> Hanging {
        let mut hanging = Hanging::default();
        for (object, of, value, said) in rows {
            let value = Value { value: value.to_string(), said: said.map(String::from) };
            hanging.0.entry(object.to_string()).or_default().insert(of.to_string(), value);
        }
        hanging
    }

    fn lines(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(Difference::to_string).collect()
    }

    #[test]
    fn whatever_differs_is_named_and_what_does_not_is_not() {
        let before = hanging(&[
            ("table orders", "relowner", "a", Some("owner")),
            ("table orders", "relkind", "p", None),
            ("table orders", "comment", "x", Some("comment")),
            ("statistics object s", "definition", "CREATE STATISTICS s", Some("extended statistics")),
            ("index i", "relam", "btree", Some("access method")),
        ]);
        assert_eq!(compared(&before, &before), []);
        let after = hanging(&[
            ("table orders", "relowner", "b", Some("owner")),
            ("table orders", "relkind", "r", None),
            ("table orders", "reloptions", "fillfactor=80", Some("storage parameters")),
            ("index i", "relam", "btree", Some("access method")),
            ("index j", "relam", "btree", Some("access method")),
            ("index j", "relkind", "i", None),
        ]);
        let differences = compared(&before, &after);
        let expected = [
            "statistics object s would be gone",
            "table orders: comment \"x\" would be gone",
            "table orders: relkind \"p\" would be \"r\"",
            "table orders: owner \"a\" would be \"b\"",
            "table orders: storage parameters \"fillfactor=80\" would be new",
            "index j would be there, and is not",
        ];
        assert_eq!(lines(&differences), expected);
        // What a table is, is none of a DBA's decisions.
        let remarks: Vec<bool> = differences.iter().map(|d| d.remark(Database::Order).is_some()).collect();
        assert_eq!(remarks, [true, true, false, true, true, false]);
        let is_new: Vec<bool> = differences.iter().map(Difference::is_new).collect();
        assert_eq!(is_new, [false, false, false, false, false, true]);
    }
}
