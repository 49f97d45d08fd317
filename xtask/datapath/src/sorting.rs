//! The one reading of a table: every row comes with its outcome and its hashes, and is sorted into the
//! export's file, the notes, or the lists of rows that stay behind, while ledger and digest add up.
//!
//! What was learnt: classifying in one statement and copying in another evaluates the SELECT twice, and
//! that was a third of the export. The text of a row is nearly all of a digest's cost.

use crate::csv_text::field;
use crate::digest::{BUCKET, Content, Digest};
use crate::files::{CountedFile, FileInfo, HashedFile, Piece};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt;

/// The outcome of a row that goes to its target.
pub const MIGRATED: &str = "migrated";

/// What becomes of a row, whatever the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeKind<'a> {
    Migrated,
    Excluded,
    Quarantined,
    /// Of a SELECT that says what nobody knows.
    Other(&'a str),
}

impl fmt::Display for OutcomeKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            OutcomeKind::Migrated => MIGRATED,
            OutcomeKind::Excluded => "excluded",
            OutcomeKind::Quarantined => "quarantined",
            OutcomeKind::Other(word) => word,
        })
    }
}

/// `Excluded` of `excluded:user_deleted`.
pub fn kind_of(outcome: &str) -> OutcomeKind<'_> {
    match outcome.split_once(':').map_or(outcome, |(kind, _)| kind) {
        MIGRATED => OutcomeKind::Migrated,
        "excluded" => OutcomeKind::Excluded,
        "quarantined" => OutcomeKind::Quarantined,
        word => OutcomeKind::Other(word),
    }
}

/// Rows of one outcome.
struct OutcomeKeys {
    name: String,
    keys: Digest,
}

/// Makes a file of the run by its name.
type Create<'a> = Box<dyn Fn(&str) -> Result<HashedFile> + Send + Sync + 'a>;

/// Takes the rows of the sorted reading one by one.
pub struct Sorting<'a> {
    create: Create<'a>,
    table: &'static str,
    file: CountedFile,
    notes: Option<CountedFile>,
    /// Rows that are not migrated.
    left: Option<CountedFile>,
    /// Few: a handful of names for a table.
    outcomes: Vec<OutcomeKeys>,
    bucket: i64,
    digest: Digest,
    content: Content,
    /// Ids, each with the index of its outcome.
    quarantined: Vec<(i64, usize)>,
    header: bool,
}

/// What one reading of a table came to.
pub struct Sorted {
    pub file: FileInfo,
    pub pieces: Vec<Piece>,
    pub notes: Option<FileInfo>,
    /// The rows that are not migrated, each with its outcome.
    pub left: Option<FileInfo>,
    /// Keys by outcome.
    pub by_outcome: BTreeMap<String, Digest>,
    /// What the target must hold.
    pub content: Content,
    /// Ids with their reason.
    pub quarantined: Vec<(i64, String)>,
}

impl<'a> Sorting<'a> {
    /// `create` makes a file of the run by its name; `file` holds the table's migrated rows.
    pub fn new(create: Create<'a>, table: &'static str, file: &str) -> Result<Sorting<'a>> {
        let file = CountedFile::new(create(file)?);
        Ok(Sorting {
            create,
            table,
            file,
            notes: None,
            left: None,
            outcomes: Vec::new(),
            bucket: 0,
            digest: Digest::default(),
            content: Content::default(),
            quarantined: Vec::new(),
            header: true,
        })
    }

    /// One line of the stream: outcome, note, hash of the key, hash of the row, then the row as the
    /// file holds it, its id first.
    pub fn row(&mut self, line: &[u8]) -> Result<()> {
        let (outcome, rest) = field(line);
        let (note, rest) = field(rest);
        let (key, rest) = field(rest);
        let (hash, row) = field(rest);
        if std::mem::take(&mut self.header) {
            return self.file.write(row);
        }
        let (id, _) = field(row);
        let id = number(&id).context("the id")?;
        let index = self.outcome(&outcome);
        let outcome = &mut self.outcomes[index];
        outcome.keys.add(Digest { rows: 1, sum: i128::from(number(&key).context("the key's hash")?) });
        if outcome.name == MIGRATED {
            self.migrated(id, number(&hash).context("the row's hash")?);
            self.file.write(row)?;
        } else {
            if kind_of(&outcome.name) == OutcomeKind::Quarantined {
                self.quarantined.push((id, index));
            }
            self.left(id, index)?;
        }
        if !note.is_empty() {
            self.note(id, &line[outcome_length(line)..])?;
        }
        Ok(())
    }

    /// The index of an outcome by its name; empty where the SELECT says NULL.
    fn outcome(&mut self, name: &[u8]) -> usize {
        let name = if name.is_empty() { b"NULL" } else { name };
        if let Some(index) = self.outcomes.iter().position(|o| o.name.as_bytes() == name) {
            return index;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        self.outcomes.push(OutcomeKeys { name, keys: Digest::default() });
        self.outcomes.len() - 1
    }

    /// Rows come nearly in the order of their ids: a bucket is looked up when it changes.
    fn migrated(&mut self, id: i64, hash: i64) {
        let bucket = id / BUCKET;
        if bucket != self.bucket {
            self.close_bucket();
            self.bucket = bucket;
        }
        self.digest.add(Digest { rows: 1, sum: i128::from(hash) });
    }

    fn close_bucket(&mut self) {
        let digest = std::mem::take(&mut self.digest);
        if digest.rows > 0 {
            self.content.buckets.entry(self.bucket).or_default().add(digest);
        }
    }

    fn left(&mut self, id: i64, outcome: usize) -> Result<()> {
        let left = match &mut self.left {
            Some(left) => left,
            none => {
                let mut left = CountedFile::new((self.create)(&outcomes_of(self.table))?);
                left.write(OUTCOMES_HEADER)?;
                none.insert(left)
            }
        };
        left.write(format!("{id},{}\n", self.outcomes[outcome].name).as_bytes())
    }

    /// `from_note`: the line from its note on, as PostgreSQL quoted it.
    fn note(&mut self, id: i64, from_note: &[u8]) -> Result<()> {
        let notes = match &mut self.notes {
            Some(notes) => notes,
            none => {
                let mut notes = CountedFile::new((self.create)(&notes_of(self.table))?);
                notes.write(b"id,note\n")?;
                none.insert(notes)
            }
        };
        let (_, rest) = field(from_note);
        let quoted = &from_note[..from_note.len() - rest.len() - 1];
        notes.write(&[format!("{id},").as_bytes(), quoted, b"\n"].concat())
    }

    pub fn finish(mut self) -> Result<Sorted> {
        self.close_bucket();
        let names: Vec<&String> = self.outcomes.iter().map(|o| &o.name).collect();
        let reason = |index: usize| names[index].trim_start_matches("quarantined:").to_string();
        let (file, pieces) = self.file.finish()?;
        Ok(Sorted {
            quarantined: self.quarantined.iter().map(|(id, index)| (*id, reason(*index))).collect(),
            by_outcome: self.outcomes.iter().map(|o| (o.name.clone(), o.keys)).collect(),
            file,
            pieces,
            notes: self.notes.map(CountedFile::finish).transpose()?.map(|(info, _)| info),
            left: self.left.map(CountedFile::finish).transpose()?.map(|(info, _)| info),
            content: self.content,
        })
    }
}

/// Where the notes about a table's rows stand.
pub fn notes_of(table: &str) -> String {
    format!("notes/{table}.csv")
}

/// Where the rows of a table stand that are not migrated.
pub fn outcomes_of(table: &str) -> String {
    format!("outcomes/{table}.csv")
}

/// Of the files with outcomes; an outcome is a word of ours that needs no quotes.
pub const OUTCOMES_HEADER: &[u8] = b"id,outcome\n";

/// The outcome and its comma.
fn outcome_length(line: &[u8]) -> usize {
    line.len() - field(line).1.len()
}

fn number(text: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(text).context("not text")?;
    text.parse().with_context(|| format!("not a whole number: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_their_bytes_stay() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::create_dir(parent.path().join("notes")).unwrap();
        std::fs::create_dir(parent.path().join("outcomes")).unwrap();
        let create = |name: &str| HashedFile::create(parent.path().join(name));
        let mut sorting = Sorting::new(Box::new(create), "logs", "logs.csv").unwrap();
        for line in [
            "outcome,note,key,hash,id,text\n",
            "migrated,,5,7,1,\"a,\"\"b\"\"\nc\"\n",
            "migrated,\"lost, \"\"9\"\"\",6,-8,20001,\n",
            "excluded:review_deleted,,1,,3,\"\"\n",
            "quarantined:user_missing,,2,,4,x\n",
            ",,3,,5,x\n",
        ] {
            sorting.row(line.as_bytes()).unwrap();
        }
        let sorted = sorting.finish().unwrap();
        let text = |name: &str| std::fs::read_to_string(parent.path().join(name)).unwrap();
        assert_eq!(text("logs.csv"), "id,text\n1,\"a,\"\"b\"\"\nc\"\n20001,\n");
        assert_eq!(sorted.file.rows, Some(2));
        assert_eq!(text("notes/logs.csv"), "id,note\n20001,\"lost, \"\"9\"\"\"\n");
        assert_eq!(sorted.notes.unwrap().rows, Some(1));
        let left = "id,outcome\n3,excluded:review_deleted\n4,quarantined:user_missing\n5,NULL\n";
        assert_eq!(text("outcomes/logs.csv"), left);
        assert_eq!(sorted.left.unwrap().rows, Some(3));
        assert_eq!(sorted.quarantined, [(4, "user_missing".to_string())]);
        let digest = |rows, sum| Digest { rows, sum };
        assert_eq!(sorted.content.buckets, [(0, digest(1, 7)), (2, digest(1, -8))].into());
        let expected = [
            ("NULL", 1, 3),
            (MIGRATED, 2, 11),
            ("excluded:review_deleted", 1, 1),
            ("quarantined:user_missing", 1, 2),
        ];
        let expected: BTreeMap<String, Digest> =
            expected.into_iter().map(|(o, rows, sum)| (o.to_string(), digest(rows, sum))).collect();
        assert_eq!(sorted.by_outcome, expected);
    }
}
