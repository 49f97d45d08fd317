//! Reads the tables of an environment file key by key: a key that was not asked for is unknown, what was asked
//! for and is not there is missing. Collects all that is wrong, each with its line, and what the file
//! says with its origin.

use super::nearest;
use super::shown::{Entry, Origin};
use super::values::Parsed;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A value and its line.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub line: usize,
}

/// What has been read of a file so far.
pub(super) struct Notes<'a> {
    text: &'a str,
    path: PathBuf,
    /// By line; one without concerns the whole file.
    problems: RefCell<Vec<(Option<usize>, String)>>,
    entries: RefCell<Vec<Entry>>,
    asked: RefCell<Asked>,
}

/// The full names of what was asked for, whether it is there or not.
#[derive(Clone, Default)]
pub(super) struct Asked {
    pub tables: BTreeSet<String>,
    pub keys: BTreeSet<String>,
}

impl<'a> Notes<'a> {
    pub fn new(text: &'a str, path: &Path) -> Notes<'a> {
        let (problems, entries, asked) = Default::default();
        Notes { text, path: path.to_path_buf(), problems, entries, asked }
    }

    pub fn asked(&self) -> Asked {
        self.asked.borrow().clone()
    }

    /// Of the file.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The line in which this byte stands, from 1.
    pub fn line(&self, byte: usize) -> usize {
        let before = self.text.as_bytes().get(..byte).unwrap_or(self.text.as_bytes());
        before.iter().filter(|b| **b == b'\n').count() + 1
    }

    pub fn problem(&self, line: Option<usize>, what: String) {
        self.problems.borrow_mut().push((line, what));
    }

    fn entry(&self, key: String, value: Option<String>, origin: Origin) {
        self.entries.borrow_mut().push(Entry { key, value, present: None, origin });
    }

    /// What the file says, or all that is wrong with it, in the order of its lines.
    pub fn finish(self) -> Result<Vec<Entry>, Vec<String>> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.entries.into_inner());
        }
        problems.sort();
        let line = |line: Option<usize>| line.map(|n| format!("line {n}: ")).unwrap_or_default();
        Err(problems.into_iter().map(|(at, what)| line(at) + &what).collect())
    }
}

/// A table of the file, or one that should be there.
pub(super) struct Section<'a> {
    notes: &'a Notes<'a>,
    /// `targets.order`; empty for the file itself.
    name: String,
    /// `None` where the table is not there.
    table: Option<(&'a DeTable<'a>, usize)>,
    asked: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub fn top(notes: &'a Notes<'a>, table: &'a DeTable<'a>) -> Section<'a> {
        let (asked, missing) = Default::default();
        Section { notes, name: String::new(), table: Some((table, 1)), asked, missing }
    }

    /// A table in this one.
    pub fn table(&mut self, key: &'static str) -> Section<'a> {
        self.asked.push(key);
        self.notes.asked.borrow_mut().tables.insert(self.full(key));
        let found = self.find(key).and_then(|(line, value)| match value.as_table() {
            Some(table) => Some((table, line)),
            None => {
                self.notes.problem(Some(line), format!("`{key}` has to be a table: [{}]", self.full(key)));
                None
            }
        });
        let (asked, missing) = Default::default();
        Section { notes: self.notes, name: self.full(key), table: found, asked, missing }
    }

    /// A table that has to be there.
    pub fn needed_table(&mut self, key: &'static str) -> Section<'a> {
        if self.find(key).is_none() {
            self.missing.push(key);
        }
        self.table(key)
    }

    pub fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// A value of the table, noted with its line; `None` where it is not there.
    pub fn get<T>(&mut self, key: &'static str, parse: fn(&DeValue<'_>) -> Parsed<T>) -> Option<T> {
        let value = self.take(key, parse);
        match (&value, self.find(key)) {
            (Some(At { line, .. }), Some((_, found))) => {
                let origin = Origin::File { path: self.notes.path.clone(), line: Some(*line) };
                self.notes.entry(self.full(key), Some(plain(found)), origin);
            }
            _ => self.notes.entry(self.full(key), None, Origin::Nowhere),
        }
        value.map(|at| at.value)
    }

    /// A value of the table, or its default.
    pub fn or<T: Display>(
        &mut self,
        key: &'static str,
        parse: fn(&DeValue<'_>) -> Parsed<T>,
        default: T,
    ) -> T {
        self.or_shown(key, parse, default.to_string(), default)
    }

    /// The same for a type that is shown in another way than it is written.
    pub fn or_shown<T>(
        &mut self,
        key: &'static str,
        parse: fn(&DeValue<'_>) -> Parsed<T>,
        shown: String,
        default: T,
    ) -> T {
        if self.find(key).is_some() {
            return self.get(key, parse).unwrap_or(default);
        }
        self.ask(key);
        self.notes.entry(self.full(key), Some(shown), Origin::Default);
        default
    }

    /// A value that has to be there. Where it is not, the default stands in until the file is refused.
    pub fn need<T: Default>(&mut self, key: &'static str, parse: fn(&DeValue<'_>) -> Parsed<T>) -> T {
        self.require(key);
        self.get(key, parse).unwrap_or_default()
    }

    /// Says that this key has to be there.
    pub fn require(&mut self, key: &'static str) {
        if self.find(key).is_none() {
            self.missing.push(key);
        }
    }

    /// A value of the table, not noted.
    pub fn take<T>(&mut self, key: &'static str, parse: fn(&DeValue<'_>) -> Parsed<T>) -> Option<At<T>> {
        self.ask(key);
        let (line, value) = self.find(key)?;
        match parse(value) {
            Ok(value) => Some(At { value, line }),
            Err(expected) => {
                self.notes.problem(Some(line), format!("`{}` has to be {expected}", self.full(key)));
                None
            }
        }
    }

    /// The last word about a table: what else stands in it is unknown.
    pub fn finish(self) {
        let unknown = self.unknown();
        for (line, name, is_table) in &unknown {
            let meant = match (nearest(name, self.asked.iter().copied()), &self.asked[..]) {
                (Some(key), _) => format!("did you mean {}?", self.quoted(key, *is_table)),
                (None, keys) => format!("known {} {}", self.here(), keys.join(", ")),
            };
            let unknown = self.quoted(name, *is_table);
            self.notes.problem(Some(*line), format!("unknown key {unknown}: {meant}"));
        }
        let Some((_, line)) = self.table else { return };
        for key in &self.missing {
            // The one that was meant is there under another name.
            let meant =
                unknown.iter().any(|(_, name, _)| nearest(name, self.asked.iter().copied()) == Some(key));
            if !meant {
                let line = (!self.name.is_empty()).then_some(line);
                self.notes.problem(line, format!("`{}` is missing", self.full(key)));
            }
        }
    }

    /// Keys that were not asked for: line, name, whether it is a table.
    fn unknown(&self) -> Vec<(usize, String, bool)> {
        let keys = self.table.iter().flat_map(|(table, _)| table.iter());
        let unknown = keys.filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref()));
        unknown
            .map(|(key, value)| {
                (self.notes.line(key.span().start), key.get_ref().to_string(), value.get_ref().is_table())
            })
            .collect()
    }

    fn ask(&mut self, key: &'static str) {
        self.asked.push(key);
        self.notes.asked.borrow_mut().keys.insert(self.full(key));
    }

    fn find(&self, key: &str) -> Option<(usize, &'a DeValue<'a>)> {
        let (key, value) = self.table?.0.get_key_value(key)?;
        Some((self.notes.line(key.span().start), value.get_ref()))
    }

    /// `targets.order.host`
    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_string() } else { format!("{}.{key}", self.name) }
    }

    fn quoted(&self, key: &str, is_table: bool) -> String {
        match is_table {
            true => format!("[{}]", self.full(key)),
            false => format!("`{}`", self.full(key)),
        }
    }

    fn here(&self) -> String {
        if self.name.is_empty() { "are".to_string() } else { format!("in [{}] are", self.name) }
    }
}

/// A value as it is shown: only for keys that hold no secret.
fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(list) => list.iter().map(|v| plain(v.get_ref())).collect::<Vec<_>>().join(", "),
        DeValue::Table(_) => "a table".to_string(),
    }
}
