//! Whether a run's files are what was written: by the hashes of its manifest, and the chain of its journal.

use super::story::JSON;
use crate::journal::Chain;
use crate::journal::chain;
use crate::model::Stop;
use crate::run::dir::{JOURNAL, RunDir, damaged_files};
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;

/// What was looked at, and what is not as it was written.
#[derive(Clone, Debug, Serialize)]
pub struct Sound {
    pub run: String,
    pub files: usize,
    pub lines: usize,
    /// Lines of the journal that an earlier version has written, without the hash of the line before.
    pub unlinked: usize,
    pub findings: Vec<String>,
}

pub fn sound(run: &RunDir) -> Result<Sound> {
    let manifest = run.load_manifest()?;
    let backup = manifest.backup.iter().flat_map(|backup| &backup.files);
    let export = manifest.export.iter().flat_map(|export| &export.files);
    let files = backup.chain(export).map(|(name, info)| (name.clone(), info.clone())).collect();
    let mut findings = damaged_files(run, &files);
    let text = fs::read(run.file(JOURNAL)).with_context(|| format!("reading {JOURNAL}"))?;
    let text = String::from_utf8_lossy(&text);
    let now = chain(&text);
    findings.extend(now.broken.iter().map(|line| {
        format!("{JOURNAL}: line {line} does not follow what stood before it when it was written: that was changed")
    }));
    findings.extend(cut_off(run, &text)?);
    Ok(Sound {
        run: run.id().to_string(),
        files: files.len(),
        lines: now.lines,
        unlinked: now.lines - now.linked,
        findings,
    })
}

/// The last lines have nothing after them that vouches for them, but the report that was written then.
fn cut_off(run: &RunDir, journal: &str) -> Result<Option<String>> {
    #[derive(serde::Deserialize)]
    struct Written {
        journal: Chain,
    }
    let text = match fs::read_to_string(run.file(JSON)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {JSON}")),
    };
    let written: Written = match serde_json::from_str(&text) {
        Ok(written) => written,
        Err(why) => return Ok(Some(format!("{JSON} cannot be read: {why}"))),
    };
    let then = written.journal;
    let begin: String = journal.split_inclusive('\n').take(then.lines).collect();
    let found = chain(&begin);
    let is_it = found.lines == then.lines && found.head == then.head;
    Ok((!is_it)
        .then(|| format!("{JOURNAL}: its first {} lines are not those that {JSON} was made of", then.lines)))
}

impl Sound {
    pub fn text(&self) -> String {
        let Sound { run, files, lines, unlinked, findings } = self;
        let looked = format!("{files} files by SHA-256, {lines} lines of the journal by their chain");
        let mut out = match findings.len() {
            0 => format!("✓ run {run} is what was written: {looked}\n"),
            n => format!("✗ run {run} is not what was written: {n} findings; {looked}\n"),
        };
        findings.iter().for_each(|finding| out += &format!("  ✗ {finding}\n"));
        if *unlinked > 0 {
            out += &format!("  {unlinked} lines of the journal are of an earlier version, and not linked\n");
        }
        out
    }

    /// # Errors
    /// `Stop::Differs` where something was changed.
    pub fn judge(&self) -> Result<()> {
        match self.findings.len() {
            0 => Ok(()),
            n => Err(Stop::Differs(format!("{n} findings in the files of run {}", self.run)).into()),
        }
    }
}
