//! What the stores must hold, row by row: the files of a run as replays have changed them. Everybody who
//! compares a store with the run reads here.

use crate::model::Stop;
use crate::run::dir::RunDir;
use crate::run::manifest::Export;
use crate::tables::MAPPING;
use anyhow::{Context, Result};
use datapath::csv_text::{self, Lines};
use datapath::files::{FileInfo, HashedReader, RowPlaces};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};

/// A file of the run, read with its hash taken on the way.
type Base = HashedReader<BufReader<File>>;

/// A CSV file as replays have changed it: their rows take the place of those with the same id, and come
/// last. Without replays, the file byte for byte.
pub enum Overlay {
    Plain(Base),
    Changed(Changed),
}

/// Opens a file of the run with what its replays have to say.
///
/// # Errors
/// `Stop::Differs` where a file of a replay is not the one that was written.
pub fn open(run: &RunDir, export: &Export, file: &str) -> Result<Overlay> {
    let base = run.read(file)?;
    let replays = export.replays_of(file);
    if replays.is_empty() {
        return Ok(Overlay::Plain(base));
    }
    let mut rows = BTreeMap::new();
    for name in replays {
        rows.extend(replayed(run, export, &name)?);
    }
    Ok(Overlay::Changed(Changed {
        lines: Lines::new(BufReader::with_capacity(1 << 16, base)),
        rows,
        header: true,
        row: Vec::new(),
        at: 0,
    }))
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

/// Single rows of a file of the run, as replays have changed it.
pub struct RowsById {
    places: RowPlaces,
    replayed: BTreeMap<i64, Vec<u8>>,
}

pub fn by_id(run: &RunDir, export: &Export, file: &str) -> Result<RowsById> {
    let mut rows = BTreeMap::new();
    for name in export.replays_of(file) {
        rows.extend(replayed(run, export, &name)?);
    }
    Ok(RowsById { places: RowPlaces::of(&run.file(file))?, replayed: rows })
}

impl RowsById {
    /// In order.
    pub fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.places.ids().collect();
        if !self.replayed.is_empty() {
            ids.extend(self.replayed.keys());
            ids.sort_unstable();
            ids.dedup();
        }
        ids
    }

    /// The row as it is, with its line break.
    pub fn row(&mut self, id: i64) -> Result<Option<Vec<u8>>> {
        match self.replayed.get(&id) {
            Some(row) => Ok(Some(row.clone())),
            None => self.places.row(id),
        }
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
    /// Those of the replays that have not been given out yet, once the file has ended; before that,
    /// all of them.
    rows: BTreeMap<i64, Vec<u8>>,
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
            if csv_text::id(&self.row).is_none_or(|id| !self.rows.contains_key(&id)) {
                return Ok(true);
            }
        }
        match self.rows.pop_first() {
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
    use crate::run::manifest::{Replay, SnapshotInfo};
    use crate::sql::{HashFn, Reading};

    fn export(files: BTreeMap<String, FileInfo>, replays: usize) -> Export {
        let server = ServerInfo { major: 15, version: "15".into(), encoding: "UTF8".into(), bytes: 0 };
        let hash = HashFn::Md5Utf8;
        let snapshot =
            SnapshotInfo { id: "1".into(), taken: String::new(), server, hash, reading: Reading::default() };
        let replay = Replay {
            at: String::new(),
            snapshot: snapshot.clone(),
            tables: BTreeMap::new(),
            source: BTreeMap::new(),
        };
        Export { snapshot, files, tables: BTreeMap::new(), seconds: 0.0, replays: vec![replay; replays] }
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
        let export = export(files, 3);
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
}
