//! Files of a run, written and read with size, hash and rows taken on the way.

use crate::csv_text::{self, Lines, RowCounter};
use crate::sha256::Sha256;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes that are written at once.
const WRITE: usize = 256 * 1024;

/// Bytes that are loaded at once, at least, where there are as many.
const PIECE: u64 = 8 * 1024 * 1024;

/// A file of the run directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    pub bytes: u64,
    pub sha256: String,
    /// Rows of a CSV file, its header not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub bytes: u64,
    pub rows: u64,
}

/// Where each row of a CSV file begins, by the number that it begins with: single rows are read from there.
pub struct RowPlaces {
    file: BufReader<File>,
    /// By number.
    places: Vec<(i64, u64)>,
}

impl RowPlaces {
    /// Reads the whole file once; its header is no row.
    pub fn of(path: &Path) -> Result<RowPlaces> {
        let open = || File::open(path).with_context(|| format!("opening {}", path.display()));
        let mut lines = Lines::new(BufReader::with_capacity(1 << 18, open()?));
        let (mut at, mut row, mut places) = (0, Vec::new(), Vec::new());
        let mut header = true;
        while lines.next(&mut row).with_context(|| format!("reading {}", path.display()))? {
            if !std::mem::take(&mut header) {
                let id = csv_text::id(&row);
                let id =
                    id.with_context(|| format!("{}, byte {at}: a row without a number", path.display()))?;
                places.push((id, at));
            }
            at += row.len() as u64;
        }
        places.sort_unstable();
        Ok(RowPlaces { file: BufReader::new(open()?), places })
    }

    /// In order.
    pub fn ids(&self) -> impl Iterator<Item = i64> {
        self.places.iter().map(|(id, _)| *id)
    }

    /// The row as it is, with its line break.
    pub fn row(&mut self, id: i64) -> Result<Option<Vec<u8>>> {
        let Ok(found) = self.places.binary_search_by_key(&id, |(id, _)| *id) else { return Ok(None) };
        self.file.seek(SeekFrom::Start(self.places[found].1))?;
        let mut row = Vec::new();
        Lines::new(&mut self.file).next(&mut row)?;
        Ok(Some(row))
    }
}

/// A file being written, hashed and counted on the way.
pub struct HashedFile {
    file: File,
    path: PathBuf,
    hash: Sha256,
    bytes: u64,
}

impl HashedFile {
    /// An empty file that only its owner can read; what stood there before is gone.
    pub fn create(path: PathBuf) -> Result<HashedFile> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        Ok(HashedFile { file, path, hash: Sha256::new(), bytes: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).with_context(|| format!("writing {}", self.path.display()))
    }

    /// Makes sure that it is on disk.
    pub fn finish(self, rows: Option<u64>) -> Result<FileInfo> {
        self.file.sync_all().with_context(|| format!("writing {}", self.path.display()))?;
        Ok(FileInfo { bytes: self.bytes, sha256: self.hash.hex(), rows })
    }
}

/// A reader that takes size and hash of what passes through it.
pub struct HashedReader<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> HashedReader<R> {
    pub fn new(inner: R) -> HashedReader<R> {
        HashedReader { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Of what has been read so far: read to the end first.
    pub fn finish(self) -> FileInfo {
        FileInfo { bytes: self.bytes, sha256: self.hash.hex(), rows: None }
    }
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// A CSV file of the run, whose rows are counted from its own bytes: not from what was meant to be
/// written (DESIGN rule 2).
pub struct CountedFile {
    file: HashedFile,
    /// Whole rows that are not written yet.
    unwritten: Vec<u8>,
    rows: RowCounter,
    /// Those that have ended, and the one that has not.
    pieces: Vec<Piece>,
    piece: Piece,
}

impl CountedFile {
    pub fn new(file: HashedFile) -> CountedFile {
        CountedFile {
            file,
            unwritten: Vec::with_capacity(WRITE + 64 * 1024),
            rows: RowCounter::default(),
            pieces: Vec::new(),
            piece: Piece::default(),
        }
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
