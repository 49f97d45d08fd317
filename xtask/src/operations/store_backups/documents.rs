//! Firestore whole: every document of every collection as of one time, a line each in a file per collection, read
//! back and counted by the server besides.

use super::manifest::{Collected, DocumentsContent};
use crate::identity::FirestoreIdentity;
use crate::run::ctx::Ctx;
use crate::run::dir::RunDir;
use crate::shown::utc;
use anyhow::{Context, Result, ensure};
use datapath::digest::Digest;
use datapath::files::{FileInfo, HashedFile, HashedReader};
use datapath::firestore::{Address, Firestore, Whole};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// Any collection: what is asked for is the server's time.
const ANY: &str = "users";

/// # Errors
/// Fails where what was written is not what is read back, or not as much as the server counts.
pub async fn back_up(ctx: &Ctx) -> Result<DocumentsContent> {
    let settings = &ctx.settings.firestore;
    let firestore = Firestore::connect(&Address::from(settings)).await?;
    let at = firestore.instant(ANY).await?;
    let task = ctx.terminal.task("read", "every document", 0);
    let mut writing = Writing { run: &ctx.run, root: firestore.documents_root(), files: BTreeMap::new() };
    let read = firestore.whole(at, |documents| {
        task.add(documents.len() as u64);
        documents.into_iter().try_for_each(|document| writing.take(document))
    });
    read.await?;
    let (collections, files) = writing.finish()?;
    task.done(collections.values().map(|c| c.content.rows).sum());
    for (collection, expected) in &collections {
        let path = ctx.run.file(&expected.file);
        let (found, info) = content_of(&path, collection, firestore.documents_root())?;
        ensure!(
            found == expected.content && Some(&info.sha256) == files.get(&expected.file).map(|f| &f.sha256),
            "{} does not read back as what was written: {} documents, {} were read from Firestore",
            path.display(),
            found.rows,
            expected.content.rows
        );
    }
    for collection in firestore.root_collections_at(at).await? {
        let counted = firestore.count_at(&collection, at).await?;
        let read = collections.get(&collection).map(|c| c.content.rows).unwrap_or_default();
        ensure!(
            counted == read,
            "{collection}: {read} documents were read as of {}, and the server counts {counted}",
            utc(&at.to_string())
        );
    }
    let firestore =
        FirestoreIdentity { project: settings.project.clone(), database: settings.database.clone() };
    Ok(DocumentsContent { firestore, read_time: at.to_string(), collections, files })
}

/// `projects/…/documents` of a database.
pub fn root_of(firestore: &FirestoreIdentity) -> String {
    format!("projects/{}/databases/{}/documents", firestore.project, firestore.database)
}

/// The files of the collections, as they are written.
struct Writing<'a> {
    run: &'a RunDir,
    root: &'a str,
    /// By collection.
    files: BTreeMap<String, CollectionFile>,
}

struct CollectionFile {
    name: String,
    lines: GzEncoder<Hashed>,
    content: Digest,
}

impl Writing<'_> {
    fn take(&mut self, document: Whole) -> Result<()> {
        let collection = document.collection();
        if !self.files.contains_key(&collection) {
            let name = file_name(&collection, self.files.len());
            let lines = GzEncoder::new(Hashed(self.run.create_file(&name)?), Compression::fast());
            self.files.insert(collection.clone(), CollectionFile { name, lines, content: Digest::default() });
        }
        let file = self.files.get_mut(&collection).context("a collection without its file")?;
        let context = || format!("writing {}", file.name);
        let line = document.to_line()?;
        file.lines
            .write_all(line.as_bytes())
            .and_then(|()| file.lines.write_all(b"\n"))
            .with_context(context)?;
        file.content.add(Digest { rows: 1, sum: document.hash(self.root)?.into() });
        Ok(())
    }

    fn finish(self) -> Result<(BTreeMap<String, Collected>, BTreeMap<String, FileInfo>)> {
        let (mut collections, mut files) = (BTreeMap::new(), BTreeMap::new());
        for (collection, CollectionFile { name, lines, content }) in self.files {
            let Hashed(file) = lines.finish().with_context(|| format!("writing {name}"))?;
            files.insert(name.clone(), file.finish(Some(content.rows))?);
            collections.insert(collection, Collected { file: name, content });
        }
        Ok((collections, files))
    }
}

/// Like the collection where that is a plain name, else numbered, with a blank that no plain name has.
fn file_name(collection: &str, number: usize) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '*');
    match collection.len() <= 100 && collection.chars().all(plain) {
        true => format!("{}.ndjson.gz", collection.replace("/*/", ".")),
        false => format!("collection {number}.ndjson.gz"),
    }
}

/// Of which size and hash are taken as it is written.
struct Hashed(HashedFile);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file of documents whole, one after the other.
///
/// # Errors
/// With the number of the line, where it is damaged or cut off.
pub fn read(path: &Path, mut take: impl FnMut(Whole) -> Result<()>) -> Result<FileInfo> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut packed = BufReader::with_capacity(1 << 18, HashedReader::new(file));
    let mut lines = BufReader::with_capacity(1 << 18, GzDecoder::new(&mut packed));
    let (mut line, mut number) = (String::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        let place = || format!("{}, line {number}", path.display());
        if lines.read_line(&mut line).with_context(place)? == 0 {
            break;
        }
        take(Whole::from_line(line.trim_end_matches('\n')).with_context(place)?)?;
    }
    drop(lines);
    let mut rest = Vec::new();
    packed.read_to_end(&mut rest).with_context(|| format!("reading {}", path.display()))?;
    ensure!(rest.is_empty(), "{} goes on after its end", path.display());
    Ok(packed.into_inner().finish())
}

/// Count and digest of the documents in a file, all of which are of this collection.
pub fn content_of(path: &Path, collection: &str, root: &str) -> Result<(Digest, FileInfo)> {
    let mut content = Digest::default();
    let info = read(path, |document| {
        let found = document.collection();
        ensure!(found == collection, "{} holds a document of {found}", path.display());
        content.add(Digest { rows: 1, sum: document.hash(root)?.into() });
        Ok(())
    })?;
    Ok((content, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collection_has_a_file_of_its_own() {
        assert_eq!(file_name("users", 0), "users.ndjson.gz");
        assert_eq!(file_name("users/*/addresses", 1), "users.addresses.ndjson.gz");
        assert_eq!(file_name("Großkunden", 2), "collection 2.ndjson.gz");
        assert_eq!(file_name("..", 3), "collection 3.ndjson.gz");
    }
}
