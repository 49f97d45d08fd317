//! What the stores must hold, row by row: the files of a run as replays and catch-up passes have changed them.
//! Everybody who compares a store with the run reads here.

use crate::model::{MIGRATED, Stop};
use crate::refuse;
use crate::run::dir::RunDir;
use crate::run::manifest::{Export, Replay};
use crate::tables::{MAPPING, USERS};
use anyhow::{Context, Result};
use datapath::csv_text::{self, Lines};
use datapath::files::{FileInfo, HashedReader, RowPlaces};
use datapath::sorting::{notes_of, outcomes_of};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};

/// A file of the run, read with its hash taken on the way.
type Base = HashedReader<BufReader<File>>;

/// A CSV file as replays and passes have changed it: their rows take the place of those with the same id, and
/// come last; what left it is not given out. Without either, the file byte for byte.
pub enum Overlay {
    Plain(Base),
    Changed(Changed),
}

/// Opens a file of the run with what its replays and passes have to say.
///
/// # Errors
/// `Stop::Differs` where one of their files is not the one that was written.
pub fn open(run: &RunDir, export: &Export, file: &str) -> Result<Overlay> {
    let base = run.read(file)?;
    let layers = layers(run, export, file)?;
    if layers.is_empty() {
        return Ok(Overlay::Plain(base));
    }
    Ok(Overlay::Changed(Changed {
        lines: Lines::new(BufReader::with_capacity(1 << 16, base)),
        layers,
        header: true,
        row: Vec::new(),
        at: 0,
    }))
}

/// What has changed of a file since the export: rows that are in it now, and ids that it does not have any
/// more. In memory: there are as many as were changed.
#[derive(Debug, Default)]
struct Layers {
    rows: BTreeMap<i64, Vec<u8>>,
    left: BTreeSet<i64>,
}

impl Layers {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.left.is_empty()
    }

    /// Whether the export's own row does not count any more.
    fn replaces(&self, id: i64) -> bool {
        self.rows.contains_key(&id) || self.left.contains(&id)
    }

    fn then(&mut self, left: BTreeSet<i64>, rows: BTreeMap<i64, Vec<u8>>) {
        self.rows.retain(|id, _| !left.contains(id));
        self.left.extend(left);
        self.left.retain(|id| !rows.contains_key(id));
        self.rows.extend(rows);
    }
}

fn layers(run: &RunDir, export: &Export, file: &str) -> Result<Layers> {
    let mut layers = Layers::default();
    for (number, replay) in (1..).zip(&export.replays) {
        let left = left_by(run, export, (number, replay), file)?;
        let name = replay.file(number, file);
        let rows = match export.files.contains_key(&name) {
            true => replayed(run, export, &name)?,
            false => BTreeMap::new(),
        };
        layers.then(left, rows);
    }
    Ok(layers)
}

/// The rows of a table's file, or of its notes, that a pass has changed, and of the users' mapping those that are gone.
fn left_by(
    run: &RunDir,
    export: &Export,
    (number, replay): (usize, &Replay),
    file: &str,
) -> Result<BTreeSet<i64>> {
    let (table, gone_only) = match file == MAPPING {
        true => (USERS, true),
        false => (file.trim_start_matches("notes/").trim_end_matches(".csv"), false),
    };
    let name = replay.file(number, &outcomes_of(table));
    if replay.pass.is_none() || !export.files.contains_key(&name) {
        return Ok(BTreeSet::new());
    }
    let outcomes = outcomes_in(run, export, &name)?;
    Ok(outcomes.into_iter().filter(|(_, outcome)| !gone_only || outcome == GONE).map(|(id, _)| id).collect())
}

/// The rows of a table about which something is said in its notes, as of the last pass.
pub fn noted(run: &RunDir, export: &Export, table: &str) -> Result<BTreeSet<i64>> {
    let (file, mut noted) = (notes_of(table), BTreeSet::new());
    match export.files.contains_key(&file) {
        true => each_row(run, export, &file, |id, _| noted.extend([id]))?,
        false => noted.extend(layers(run, export, &file)?.rows.into_keys()),
    }
    Ok(noted)
}

/// The outcome of a row that the source does not have any more.
pub const GONE: &str = "gone";

/// The rows of a table that are not migrated, each with its outcome, as of the last replay or pass.
///
/// # Errors
/// Refuses a run of a version that did not write them down.
pub fn left_behind(run: &RunDir, export: &Export, table: &str) -> Result<BTreeMap<i64, String>> {
    let name = outcomes_of(table);
    let mut left = match export.files.contains_key(&name) {
        true => outcomes_in(run, export, &name)?,
        false => BTreeMap::new(),
    };
    for (id, outcome) in moved_since(run, export, table)? {
        match outcome.as_str() {
            MIGRATED | GONE => drop(left.remove(&id)),
            _ => drop(left.insert(id, outcome)),
        }
    }
    let known = export.tables.get(table).map(|record| record.outcomes.left_behind()).unwrap_or_default();
    if left.len() as u64 != known {
        refuse!(
            "run {} was made by a version of this tool that did not keep which rows stay behind: {table} has {known} of              them, its files name {}. Make a new run with this version: `cargo xtask migrate --replace`",
            run.id(),
            left.len()
        );
    }
    Ok(left)
}

/// The rows of a table whose outcome is another one since the export, by replays and passes, each with the
/// last: also `migrated`, and [`GONE`].
pub fn moved_since(run: &RunDir, export: &Export, table: &str) -> Result<BTreeMap<i64, String>> {
    let mut moved = BTreeMap::new();
    for (number, replay) in (1..).zip(&export.replays) {
        let by_replay = replay.tables.get(table).into_iter().flat_map(|t| &t.moved);
        moved.extend(by_replay.map(|(id, moved)| (*id, moved.to.clone())));
        let name = replay.file(number, &outcomes_of(table));
        if replay.pass.is_some() && export.files.contains_key(&name) {
            moved.extend(outcomes_in(run, export, &name)?);
        }
    }
    Ok(moved)
}

/// A file of ids and outcomes.
pub fn outcomes_in(run: &RunDir, export: &Export, name: &str) -> Result<BTreeMap<i64, String>> {
    let outcome = |row: &[u8]| {
        let outcome = csv_text::fields(row).into_iter().nth(1).flatten();
        outcome.map(|o| String::from_utf8_lossy(&o).into_owned()).unwrap_or_default()
    };
    Ok(replayed(run, export, name)?.into_iter().map(|(id, row)| (id, outcome(&row))).collect())
}

/// The rows of a replay's file by id. Whole in memory: there are as many as were fixed.
pub fn replayed(run: &RunDir, export: &Export, name: &str) -> Result<BTreeMap<i64, Vec<u8>>> {
    let mut reader = run.read(name)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("reading {name}"))?;
    let (found, info) = (reader.finish(), export.files.get(name));
    if info.is_none_or(|info| info.sha256 != found.sha256) {
        let what = format!("{name} is not the file that was written: SHA-256 {}", found.sha256);
        return Err(Stop::Differs(what).into());
    }
    let (mut lines, mut row, mut rows) = (Lines::new(&bytes[..]), Vec::new(), BTreeMap::new());
    lines.next(&mut row)?;
    while lines.next(&mut row)? {
        rows.insert(id_of(&row, name)?, row.clone());
    }
    Ok(rows)
}

/// Rows as a file like the export's.
pub fn csv<'a>(header: &[u8], rows: impl Iterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut csv = header.to_vec();
    rows.for_each(|row| csv.extend_from_slice(row));
    csv
}

/// The line of names of a file of the run.
pub fn header(run: &RunDir, file: &str) -> Result<Vec<u8>> {
    let mut header = Vec::new();
    Lines::new(BufReader::new(run.read(file)?))
        .next(&mut header)
        .with_context(|| format!("reading {file}"))?;
    Ok(header)
}

/// Every row of a file of the run, as replays have changed it, with its id.
pub fn each_row(run: &RunDir, export: &Export, file: &str, mut take: impl FnMut(i64, &[u8])) -> Result<()> {
    let reader = open(run, export, file)?;
    let (mut lines, mut row) = (Lines::new(BufReader::with_capacity(1 << 16, reader)), Vec::new());
    lines.next(&mut row)?;
    while lines.next(&mut row).with_context(|| format!("reading {file}"))? {
        take(id_of(&row, file)?, &row);
    }
    Ok(())
}

/// Single rows of a file of the run, as replays and passes have changed it.
pub struct RowsById {
    places: RowPlaces,
    layers: Layers,
}

pub fn by_id(run: &RunDir, export: &Export, file: &str) -> Result<RowsById> {
    Ok(RowsById { places: RowPlaces::of(&run.file(file))?, layers: layers(run, export, file)? })
}

impl RowsById {
    /// In order.
    pub fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.places.ids().collect();
        if !self.layers.is_empty() {
            ids.retain(|id| !self.layers.replaces(*id));
            ids.extend(self.layers.rows.keys());
            ids.sort_unstable();
        }
        ids
    }

    /// The row as it is, with its line break.
    pub fn row(&mut self, id: i64) -> Result<Option<Vec<u8>>> {
        match self.layers.rows.get(&id) {
            Some(row) => Ok(Some(row.clone())),
            None if self.layers.left.contains(&id) => Ok(None),
            None => self.places.row(id),
        }
    }

    /// From now on it is as another pass has changed it.
    pub fn then(&mut self, left: BTreeSet<i64>, rows: BTreeMap<i64, Vec<u8>>) {
        self.layers.then(left, rows);
    }
}

/// The uid in a row of `user_id_mapping.csv`.
pub fn uid_of(mapping: &[u8]) -> Option<String> {
    let uid = csv_text::fields(mapping).into_iter().nth(1)??;
    Some(String::from_utf8_lossy(&uid).into_owned())
}

/// Users of the run that have no uid, whatever became of them.
pub fn users_without_uid(run: &RunDir, export: &Export) -> Result<BTreeSet<i64>> {
    let mut users = BTreeSet::new();
    each_row(run, export, MAPPING, |id, row| {
        if uid_of(row).is_none() {
            users.insert(id);
        }
    })?;
    Ok(users)
}

/// A row's id.
pub fn id_of(row: &[u8], file: &str) -> Result<i64> {
    csv_text::id(row).with_context(|| format!("{file} has a row that does not begin with an id"))
}

/// A file and those of its replays, as far as the manifest knows them.
pub fn files(export: &Export, file: &str) -> BTreeMap<String, FileInfo> {
    let names = [file.to_string()].into_iter().chain(export.replays_of(file));
    names.filter_map(|name| Some((name.clone(), export.files.get(&name)?.clone()))).collect()
}

impl Overlay {
    /// Size and hash of the export's own file: read to the end first.
    pub fn finish(self) -> FileInfo {
        match self {
            Overlay::Plain(base) => base.finish(),
            Overlay::Changed(changed) => changed.lines.into_inner().into_inner().finish(),
        }
    }
}

impl Read for Overlay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Overlay::Plain(base) => base.read(buffer),
            Overlay::Changed(changed) => changed.read(buffer),
        }
    }
}

pub struct Changed {
    lines: Lines<BufReader<Base>>,
    /// Its rows are those that have not been given out yet, once the file has ended; before that, all of them.
    layers: Layers,
    header: bool,
    /// The row that is given out now, from `at` on.
    row: Vec<u8>,
    at: usize,
}

impl Changed {
    /// Whether there is another row.
    fn next(&mut self) -> io::Result<bool> {
        self.at = 0;
        while self.lines.next(&mut self.row)? {
            if std::mem::take(&mut self.header) {
                return Ok(true);
            }
            if csv_text::id(&self.row).is_none_or(|id| !self.layers.replaces(id)) {
                return Ok(true);
            }
        }
        match self.layers.rows.pop_first() {
            Some((_, row)) => {
                self.row = row;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl Read for Changed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.row.len() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let n = buffer.len().min(self.row.len() - self.at);
        buffer[..n].copy_from_slice(&self.row[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerInfo;
    use crate::run::manifest::{Pass, SnapshotInfo};
    use crate::sql::{HashFn, Reading};

    fn export(files: BTreeMap<String, FileInfo>, passes: &[bool]) -> Export {
        let server = ServerInfo { major: 15, version: "15".into(), encoding: "UTF8".into(), bytes: 0 };
        let hash = HashFn::Md5Utf8;
        let snapshot =
            SnapshotInfo { id: "1".into(), taken: String::new(), server, hash, reading: Reading::default() };
        let replay = |is_pass: &bool| Replay {
            at: String::new(),
            snapshot: snapshot.clone(),
            tables: BTreeMap::new(),
            source: BTreeMap::new(),
            pass: is_pass.then(Pass::default),
        };
        let replays = passes.iter().map(replay).collect();
        Export { snapshot: snapshot.clone(), files, tables: BTreeMap::new(), seconds: 0.0, replays }
    }

    #[test]
    fn rows_of_replays_take_the_place_of_the_files_own() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path()).unwrap();
        run.write("manifest.json", "{}").unwrap();
        let mut files = BTreeMap::new();
        for (name, text) in [
            ("a.csv", "id,text\n1,one\n2,\"two\n2,2\"\n3,three\n"),
            ("replay/1/a.csv", "id,text\n2,zwei\n7,\"sieben\n\"\n"),
            ("replay/3/a.csv", "id,text\n7,sept\n"),
            ("b.csv", "id\n"),
        ] {
            files.insert(name.to_string(), run.write(name, text).unwrap());
        }
        let export = export(files, &[false, false, false]);
        let read = |file: &str| {
            let mut expected = open(&run, &export, file).unwrap();
            let mut text = String::new();
            expected.read_to_string(&mut text).unwrap();
            assert_eq!(expected.finish().sha256, export.files[file].sha256);
            text
        };
        assert_eq!(read("a.csv"), "id,text\n1,one\n3,three\n2,zwei\n7,sept\n");
        assert_eq!(read("b.csv"), "id\n");
        run.write("replay/3/a.csv", "id,text\n7,SEPT\n").unwrap();
        let error = open(&run, &export, "a.csv").err().unwrap().to_string();
        assert!(error.contains("replay/3/a.csv is not the file that was written"), "{error}");
    }

    #[test]
    fn what_a_pass_has_changed_or_taken_away_is_as_it_says() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path()).unwrap();
        run.write("manifest.json", "{}").unwrap();
        let mut files = BTreeMap::new();
        for (name, text) in [
            ("a.csv", "id,text\n1,one\n2,two\n3,three\n4,four\n"),
            ("outcomes/a.csv", "id,outcome\n8,excluded:user_deleted\n9,quarantined:user_missing\n"),
            ("pass/1/a.csv", "id,text\n2,zwei\n9,neun\n"),
            (
                "pass/1/outcomes/a.csv",
                "id,outcome\n2,migrated\n3,gone\n4,excluded:user_deleted\n9,migrated\n",
            ),
            ("pass/2/a.csv", "id,text\n3,trois\n"),
            ("pass/2/outcomes/a.csv", "id,outcome\n2,gone\n3,migrated\n8,gone\n"),
            (MAPPING, "id,firebase_uid,outcome\n1,u1,migrated\n2,u2,migrated\n"),
            ("pass/1/user_id_mapping.csv", "id,firebase_uid,outcome\n2,u2,excluded:user_deleted\n"),
            ("pass/1/outcomes/users.csv", "id,outcome\n1,gone\n2,excluded:user_deleted\n"),
        ] {
            files.insert(name.to_string(), run.write(name, text).unwrap());
        }
        let export = export(files, &[true, true]);
        let read = |file: &str| {
            let mut text = String::new();
            open(&run, &export, file).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("a.csv"), "id,text\n1,one\n3,trois\n9,neun\n");
        assert_eq!(read(MAPPING), "id,firebase_uid,outcome\n2,u2,excluded:user_deleted\n");
        let mut rows = by_id(&run, &export, "a.csv").unwrap();
        assert_eq!(rows.ids(), [1, 3, 9]);
        assert_eq!([1, 2, 3, 4].map(|id| rows.row(id).unwrap().is_some()), [true, false, true, false]);
        let moved = moved_since(&run, &export, "a").unwrap();
        let moved: Vec<(i64, &str)> = moved.iter().map(|(id, outcome)| (*id, outcome.as_str())).collect();
        let excluded = "excluded:user_deleted";
        assert_eq!(moved, [(2, GONE), (3, MIGRATED), (4, excluded), (8, GONE), (9, MIGRATED)]);
    }
}
