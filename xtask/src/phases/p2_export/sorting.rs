//! The one reading of a table: every row comes with its outcome and its hashes, and is sorted into the
//! export's file, the notes, or the quarantine's list, while ledger and digest add up.
//!
//! What was learnt: classifying in one statement and copying in another evaluates the SELECT twice, and
//! that was a third of the export. The text of a row is nearly all of a digest's cost.

use crate::csv_text::{RowCounter, field};
use crate::digest::{Content, Digest};
use crate::ledger::kind_of;
use crate::manifest::{FileInfo, Piece};
use crate::model::MIGRATED;
use crate::run_dir::{HashedFile, RunDir};
use crate::sql::BUCKET;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Bytes that are written at once.
const WRITE: usize = 256 * 1024;

/// Bytes that are loaded at once, at least, where there are as many.
const PIECE: u64 = 8 * 1024 * 1024;

/// A CSV file of the run, whose rows are counted from its own bytes: not from what was meant to be
/// written (DESIGN rule 2).
pub(super) struct CountedFile {
    file: HashedFile,
    /// Whole rows that are not written yet.
    unwritten: Vec<u8>,
    rows: RowCounter,
    /// Those that have ended, and the one that has not.
    pieces: Vec<Piece>,
    piece: Piece,
}

impl CountedFile {
    pub fn create(run: &RunDir, name: &str) -> Result<CountedFile> {
        Ok(CountedFile {
            file: run.create_file(name)?,
            unwritten: Vec::with_capacity(WRITE + 64 * 1024),
            rows: RowCounter::default(),
            pieces: Vec::new(),
            piece: Piece::default(),
        })
    }

    /// Takes one whole row.
    pub fn write(&mut self, row: &[u8]) -> Result<()> {
        self.unwritten.extend_from_slice(row);
        if self.unwritten.len() >= WRITE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.rows.count(&self.unwritten);
        self.file.write(&self.unwritten)?;
        self.piece.bytes += self.unwritten.len() as u64;
        self.unwritten.clear();
        if self.piece.bytes >= PIECE {
            self.end_piece();
        }
        Ok(())
    }

    fn end_piece(&mut self) {
        // The header is not a row.
        let rows = self.rows.lines().saturating_sub(1) - self.pieces.iter().map(|p| p.rows).sum::<u64>();
        self.pieces.push(Piece { rows, ..std::mem::take(&mut self.piece) });
    }

    pub fn finish(mut self) -> Result<(FileInfo, Vec<Piece>)> {
        self.flush()?;
        if self.piece.bytes > 0 {
            self.end_piece();
        }
        let rows = self.rows.lines().saturating_sub(1);
        Ok((self.file.finish(Some(rows))?, self.pieces))
    }
}

/// Rows of one outcome.
struct Outcome {
    name: String,
    keys: Digest,
}

/// Takes the rows of `Rows::copy_sorted` one by one.
pub(super) struct Sorting<'a> {
    run: &'a RunDir,
    table: &'static str,
    file: CountedFile,
    notes: Option<CountedFile>,
    /// Few: a handful of names for a table.
    outcomes: Vec<Outcome>,
    bucket: i64,
    digest: Digest,
    content: Content,
    /// Ids, each with the index of its outcome.
    quarantined: Vec<(i64, usize)>,
    header: bool,
}

/// What one reading of a table came to.
pub(super) struct Sorted {
    pub file: FileInfo,
    pub pieces: Vec<Piece>,
    pub notes: Option<FileInfo>,
    /// Keys by outcome.
    pub by_outcome: BTreeMap<String, Digest>,
    /// What the target must hold.
    pub content: Content,
    /// Ids with their reason.
    pub quarantined: Vec<(i64, String)>,
}

impl<'a> Sorting<'a> {
    pub fn new(run: &'a RunDir, table: &'static str, file: &str) -> Result<Sorting<'a>> {
        Ok(Sorting {
            run,
            table,
            file: CountedFile::create(run, file)?,
            notes: None,
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
        } else if kind_of(&outcome.name) == "quarantined" {
            self.quarantined.push((id, index));
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
        self.outcomes.push(Outcome { name, keys: Digest::default() });
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

    /// `from_note`: the line from its note on, as PostgreSQL quoted it.
    fn note(&mut self, id: i64, from_note: &[u8]) -> Result<()> {
        let notes = match &mut self.notes {
            Some(notes) => notes,
            none => {
                let mut notes = CountedFile::create(self.run, &notes_of(self.table))?;
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
            content: self.content,
        })
    }
}

/// Where the notes about a table's rows stand.
pub(super) fn notes_of(table: &str) -> String {
    format!("notes/{table}.csv")
}

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
        let run = RunDir::create(parent.path()).unwrap();
        run.write("manifest.json", "{}").unwrap();
        let mut sorting = Sorting::new(&run, "logs", "logs.csv").unwrap();
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
        let text = |name: &str| std::fs::read_to_string(run.file(name)).unwrap();
        assert_eq!(text("logs.csv"), "id,text\n1,\"a,\"\"b\"\"\nc\"\n20001,\n");
        assert_eq!(sorted.file.rows, Some(2));
        assert_eq!(text("notes/logs.csv"), "id,note\n20001,\"lost, \"\"9\"\"\"\n");
        assert_eq!(sorted.notes.unwrap().rows, Some(1));
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
