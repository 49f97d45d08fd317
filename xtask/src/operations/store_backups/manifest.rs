//! What a store's backup holds, as its `manifest.json` says it. Written last and in one step: a directory without
//! one is no backup.

use super::target::Target;
use crate::identity::{DatabaseIdentity, FirestoreIdentity};
use crate::run::dir::MANIFEST;
use crate::run::manifest::{Backup, ToolVersion};
use anyhow::{Context, Result, bail, ensure};
use datapath::digest::Digest;
use datapath::files::FileInfo;
use datapath::sha256::Sha256;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The version of this file's shape.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreManifest {
    pub format: u32,
    pub target: Target,
    pub environment: String,
    pub tool: ToolVersion,
    /// `user@host`
    pub who: String,
    /// UTC, as in a run's journal.
    pub started: String,
    pub ended: String,
    pub seconds: f64,
    pub content: Content,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Database(Box<DatabaseContent>),
    Documents(DocumentsContent),
}

/// A PostgreSQL database, dumped from one snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatabaseContent {
    /// Where it was.
    pub server: DatabaseIdentity,
    /// The server's roles, by name: a dump speaks of them and holds none.
    pub roles: Vec<String>,
    /// As phase 1 writes it down of the source: here every table of the store, counted and digested in the
    /// snapshot that was dumped.
    pub backup: Backup,
}

/// A Firestore database, read at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentsContent {
    pub firestore: FirestoreIdentity,
    /// The server's time of which every document is, RFC 3339.
    pub read_time: String,
    /// By the collection's path, `*` for every document above it: `users`, `users/*/addresses`.
    pub collections: BTreeMap<String, Collected>,
    pub files: BTreeMap<String, FileInfo>,
}

/// A collection of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    pub file: String,
    /// Its documents, whatever their order.
    #[serde(flatten)]
    pub content: Digest,
}

impl StoreManifest {
    /// Every file of the backup, by its path in the directory.
    pub fn files(&self) -> &BTreeMap<String, FileInfo> {
        match &self.content {
            Content::Database(database) => &database.backup.files,
            Content::Documents(documents) => &documents.files,
        }
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.files().values().map(|file| file.bytes).sum()
    }

    /// Rows or documents.
    pub fn rows(&self) -> u64 {
        match &self.content {
            Content::Database(database) => database.backup.raw.values().map(|table| table.rows).sum(),
            Content::Documents(documents) => documents.collections.values().map(|c| c.content.rows).sum(),
        }
    }

    /// Tables or collections.
    pub fn parts(&self) -> usize {
        match &self.content {
            Content::Database(database) => database.backup.raw.len(),
            Content::Documents(documents) => documents.collections.len(),
        }
    }

    /// The instant that it holds.
    pub fn taken(&self) -> &str {
        match &self.content {
            Content::Database(database) => &database.backup.snapshot.taken,
            Content::Documents(documents) => &documents.read_time,
        }
    }

    pub fn database(&self) -> Result<&DatabaseContent> {
        match &self.content {
            Content::Database(database) => Ok(database),
            Content::Documents(_) => bail!("a backup of {} holds documents, not a database", self.target),
        }
    }

    pub fn documents(&self) -> Result<&DocumentsContent> {
        match &self.content {
            Content::Documents(documents) => Ok(documents),
            Content::Database(_) => bail!("a backup of {} holds a database, not documents", self.target),
        }
    }
}

/// The manifest of the backup in this directory.
///
/// # Errors
/// Where it is missing, damaged, or of another format.
pub fn load(backup: &Path) -> Result<StoreManifest> {
    let path = backup.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: StoreManifest =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let format = manifest.format;
    ensure!(format == FORMAT, "{} has format {format}, this tool reads {FORMAT}", path.display());
    Ok(manifest)
}

/// By which a drill names the backup that it has restored.
pub fn sha256_of_manifest(backup: &Path) -> Result<String> {
    let path = backup.join(MANIFEST);
    let mut hash = Sha256::new();
    hash.update(&fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    Ok(hash.hex())
}
