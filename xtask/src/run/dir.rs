//! A run's directory: `database-backups/<YYYYMMDD_HHMMSS>/`, 0700, its files 0600 (DESIGN §5).

pub use crate::effects::clock::now;
use crate::journal::Journal;
use crate::model::Stop;
use crate::run::dir;
use crate::run::journal_file::{JournalFile, Recorded};
use crate::run::manifest::{FORMAT, Manifest, Proof, ToolVersion};
use crate::steps::{CommandName, StepName};
use anyhow::{Context, Result, bail};
use datapath::files::{FileInfo, HashedFile, HashedReader};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub const MANIFEST: &str = "manifest.json";
pub const JOURNAL: &str = "journal.jsonl";
/// What a run is called: when it began, in UTC.
const NAME: &str = "%Y%m%d_%H%M%S";
/// What is under way, while something is.
pub const PROGRESS: &str = "progress.json";

/// A run that is under way or has been.
pub struct RunDir {
    path: PathBuf,
    id: String,
    /// `None`: a run that only looks, and leaves nothing.
    journal: Option<JournalFile>,
}

impl Drop for RunDir {
    /// A run that was refused before it began leaves nothing.
    fn drop(&mut self) {
        if self.journal.is_some() && !self.file(MANIFEST).exists() {
            for name in [JOURNAL, PROGRESS] {
                let _ = fs::remove_file(self.file(name));
            }
            // Only where it is empty.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Which run a person means who says `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latest {
    /// The newest, whatever became of it.
    Any,
    /// The newest whose files are all there: it can be imported and verified.
    WithExport,
    /// The newest whose backup is complete: it can be restored.
    WithBackup,
    /// The newest migration that has not come to a green proof.
    Unfinished,
}

impl RunDir {
    /// A new run under `parent`, named by the time. Two runs that begin in one second get two names.
    pub fn create(parent: &Path) -> Result<RunDir> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .with_context(|| format!("creating {}", parent.display()))?;
        let parent = parent.canonicalize().with_context(|| format!("finding {}", parent.display()))?;
        let mut at = after_the_newest(&parent)?;
        loop {
            let id = at.strftime(NAME).to_string();
            let path = parent.join(&id);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return RunDir::at(path, id),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => at += jiff::Span::new().seconds(1),
                Err(e) => return Err(e).with_context(|| format!("creating {}", path.display())),
            }
        }
    }

    /// A run by its id, or the newest one (`latest`).
    pub fn open(parent: &Path, run: &str) -> Result<RunDir> {
        let (path, id) = find(parent, run, None)?;
        RunDir::at(path, id)
    }

    /// A run that only looks: it has a name for its sessions, and nothing on disk.
    pub fn dry_run_dir(parent: &Path) -> RunDir {
        let id = jiff::Timestamp::now().strftime(NAME).to_string();
        RunDir { path: parent.join(&id), id, journal: None }
    }

    fn at(path: PathBuf, id: String) -> Result<RunDir> {
        let journal = Some(JournalFile::open(path.join(JOURNAL))?);
        Ok(RunDir { path, id, journal })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of runs that it is in.
    pub fn runs(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Where a file of the run stands, by its name in the manifest.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file of the run for writing, 0600, its folder made where needed.
    pub fn create_file(&self, name: &str) -> Result<HashedFile> {
        let path = self.file(name);
        anyhow::ensure!(
            self.journal.is_some(),
            "{} must not be written: nothing may be touched",
            path.display()
        );
        if let Some(folder) = path.parent().filter(|f| !f.is_dir()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .with_context(|| format!("creating {}", folder.display()))?;
        }
        HashedFile::create(path)
    }

    /// Writes a file whole that is in memory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<FileInfo> {
        let mut file = self.create_file(name)?;
        file.write(content.as_ref())?;
        file.finish(None)
    }

    /// Makes an empty private file for a program that writes it by itself.
    pub fn reserve(&self, name: &str) -> Result<PathBuf> {
        Ok(self.create_file(name)?.path().to_path_buf())
    }

    /// Size and SHA-256 of a file as it stands on disk, and makes sure that it is on disk.
    pub fn measure(&self, name: &str) -> Result<FileInfo> {
        let path = self.file(name);
        let context = || format!("reading {}", path.display());
        let file = File::open(&path).with_context(context)?;
        file.sync_all().with_context(context)?;
        let (mut reader, mut piece) = (HashedReader::new(file), vec![0; 1 << 18]);
        while reader.read(&mut piece).with_context(context)? > 0 {}
        Ok(reader.finish())
    }

    /// A file of the run, read with its hash taken on the way.
    pub fn read(&self, name: &str) -> Result<HashedReader<BufReader<File>>> {
        let path = self.file(name);
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(HashedReader::new(BufReader::with_capacity(1 << 18, file)))
    }

    /// A part of a file of the run.
    pub fn read_part(&self, name: &str, start: u64, bytes: u64) -> Result<impl Read + Send + use<>> {
        let path = self.file(name);
        let mut file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        file.seek(SeekFrom::Start(start)).with_context(|| format!("reading {}", path.display()))?;
        Ok(file.take(bytes))
    }

    pub fn new_manifest(&self, command: CommandName, environment: &str, tool: ToolVersion) -> Manifest {
        Manifest {
            format: FORMAT,
            run: self.id.clone(),
            environment: environment.to_string(),
            tool,
            started: now(),
            command,
            ..Manifest::default()
        }
    }

    pub fn load_manifest(&self) -> Result<Manifest> {
        load_manifest(&self.path)
    }

    /// Removes what was exported and dumped: files of two snapshots are never mixed. Returns how many files.
    pub fn clear(&self) -> Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.path).with_context(|| format!("reading {}", self.path.display()))? {
            let path = entry.with_context(|| format!("reading {}", self.path.display()))?.path();
            if [MANIFEST, JOURNAL, PROGRESS].iter().any(|keep| path.ends_with(keep)) {
                continue;
            }
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.with_context(|| format!("removing {}", path.display()))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// What is under way now, for who looks from elsewhere: replaced as a whole, not kept for ever.
    pub fn save_progress(&self, json: &str) -> Result<()> {
        let (new, path) = (self.file("progress.json.new"), self.file(PROGRESS));
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
        let written =
            file.and_then(|mut f| f.write_all(json.as_bytes())).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("writing {}", path.display()))
    }

    /// Nothing is under way any more; what stays of it only says what was once.
    pub fn remove_progress(&self) {
        let _ = fs::remove_file(self.file(PROGRESS));
    }

    /// Replaces the manifest: at any moment there is the old one or the new one.
    pub fn save_manifest(&self, manifest: &Manifest) -> Result<()> {
        let json = serde_json::to_string_pretty(manifest).context("writing the manifest")?;
        self.replace(MANIFEST, &json)
    }

    /// Replaces a file that is in memory: at any moment, also after a power cut, it is the old or the new one.
    pub fn replace(&self, name: &str, text: &str) -> Result<()> {
        let (new, path) = (format!("{name}.new"), self.file(name));
        self.write(&new, text)?;
        fs::rename(self.file(&new), &path).with_context(|| format!("writing {}", path.display()))?;
        let folder = File::open(&self.path).and_then(|d| d.sync_all());
        folder.with_context(|| format!("writing {}", self.path.display()))
    }

    /// Changes part of what the run knows: read again and written under a lock, so that what another command
    /// has added meanwhile stays. Returns all of it.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Manifest) -> Result<()>) -> Result<Manifest> {
        let folder = File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        // Until the folder is closed.
        folder.lock().with_context(|| format!("locking {}", self.path.display()))?;
        let mut manifest = self.load_manifest()?;
        change(&mut manifest)?;
        self.save_manifest(&manifest)?;
        Ok(manifest)
    }

    /// Notes that a step begins; what it returns notes how it ended, also when it is dropped.
    ///
    /// # Errors
    /// Where no command of this process has begun: whoever reads the journal could not say whose the step is.
    pub fn step(&self, step: StepName) -> Result<Recorded<'_>> {
        self.journal.as_ref().map_or_else(|| Ok(Recorded::nowhere()), |journal| journal.step(&step))
    }

    /// Notes that a command begins, as a step around its steps, and which process it is.
    pub fn command(&self, command: &CommandName) -> Result<Recorded<'_>> {
        self.journal.as_ref().map_or_else(|| Ok(Recorded::nowhere()), |journal| journal.command(command))
    }

    /// Notes something that has happened.
    ///
    /// # Errors
    /// As for a step.
    pub fn note(&self, step: &StepName, detail: &str) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.note(step, detail))
    }
}

/// Now, or where the clock was set back the second after the newest run: `latest` goes by names.
fn after_the_newest(parent: &Path) -> Result<jiff::Timestamp> {
    let now = jiff::Timestamp::now();
    let newest = ids(parent)?.into_iter().rev().find_map(|id| time_of(&id));
    Ok(newest.map_or(now, |newest| now.max(newest + jiff::Span::new().seconds(1))))
}

/// When a run of this name began; `None`: no run is called so.
pub fn time_of(id: &str) -> Option<jiff::Timestamp> {
    let time = jiff::civil::DateTime::strptime(NAME, id).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Whether a run has begun in this directory: before that nothing is written elsewhere.
pub fn has_begun(run: &Path) -> bool {
    run.join(MANIFEST).is_file()
}

/// The manifest of the run in this directory.
pub fn load_manifest(run: &Path) -> Result<Manifest> {
    let path = run.join(MANIFEST);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: Manifest =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    if manifest.format != FORMAT {
        bail!("{} has format {}, this tool reads {FORMAT}", path.display(), manifest.format);
    }
    Ok(manifest)
}

/// The journal of the run in this directory, which may be under way.
pub fn load_journal(run: &Path) -> Result<Journal> {
    let path = run.join(JOURNAL);
    // Bytes: a line that is not whole may end within a letter.
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Journal::read(&String::from_utf8_lossy(&bytes)))
}

/// Where a run is, by its id or as the newest one (`latest`), and its id.
pub fn find(parent: &Path, run: &str, environment: Option<&str>) -> Result<(PathBuf, String)> {
    let id = resolve(parent, run, Latest::Any, environment)?;
    let path = parent.join(&id);
    if !path.join(MANIFEST).is_file() {
        let known = ids(parent)?;
        crate::refuse!(
            "there is no run {id} in {} (found: {}): name one with --run, or the place with --backup-dir",
            parent.display(),
            if known.is_empty() { "none".to_string() } else { known.join(", ") }
        );
    }
    let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
    Ok((path, id))
}

/// The run that is meant: `latest`, of this environment where one is said, or its name as it is.
///
/// # Errors
/// Refuses where there is none, saying what there is.
pub fn resolve(parent: &Path, run: &str, latest: Latest, environment: Option<&str>) -> Result<String> {
    if run != "latest" {
        return Ok(run.to_string());
    }
    let ids = ids(parent)?;
    if let Some(gone) = without_manifest(parent)?.into_iter().rev().find(|gone| ids.last() < Some(gone)) {
        crate::refuse!(
            "the newest run, {gone}, has lost its manifest: put {MANIFEST} back into {}, or name another run with \
             --run",
            parent.join(&gone).display()
        );
    }
    let (mut newest, mut elsewhere) = (None, None);
    for id in ids.iter().rev() {
        let manifest = load_manifest(&parent.join(id)).map_err(|error| {
            Stop::Refused(format!("the newest run, {id}, cannot be read: name the one you mean ({error:#})"))
        })?;
        if environment.is_some_and(|environment| manifest.environment != environment) {
            elsewhere.get_or_insert(format!("the newest, {id}, is of `{}`: say --env", manifest.environment));
            continue;
        }
        newest.get_or_insert(id);
        let green = manifest.proof.as_ref().is_some_and(Proof::is_green);
        let meant = match latest {
            Latest::Any => true,
            Latest::WithExport => manifest.export.is_some(),
            Latest::WithBackup => manifest.backup.is_some(),
            Latest::Unfinished => manifest.command == CommandName::Migrate && !green,
        };
        if meant {
            return Ok(id.clone());
        }
    }
    let parent = parent.display();
    match (latest, newest) {
        (_, None) if elsewhere.is_some() => crate::refuse!(
            "no run in {parent} is of environment `{}` ({})",
            environment.unwrap_or_default(),
            elsewhere.unwrap_or_default()
        ),
        (_, None) => crate::refuse!("there is no run in {parent}: `cargo xtask migrate` makes one"),
        (Latest::Unfinished, Some(newest)) => crate::refuse!(
            "no migration in {parent} is unfinished (the newest run is {newest}): \
             `cargo xtask verify --run {newest}` looks at it again, `cargo xtask migrate` begins a new one"
        ),
        (Latest::WithBackup, Some(_)) => {
            crate::refuse!("no run in {parent} has a complete backup: `cargo xtask backup` makes one")
        }
        (_, Some(newest)) => crate::refuse!(
            "the newest run in {parent}, {newest}, has no complete export, nor has another: start over with \
             `cargo xtask export` or `migrate`; `cargo xtask status --run {newest}` shows how far it came"
        ),
    }
}

/// The ids of the runs under `parent`, oldest first.
pub fn ids(parent: &Path) -> Result<Vec<String>> {
    folders(parent, |path| path.join(MANIFEST).is_file())
}

/// The same of those that have begun, which their files show, and have no manifest any more.
fn without_manifest(parent: &Path) -> Result<Vec<String>> {
    let kept = |name: &OsStr| [JOURNAL, PROGRESS].iter().any(|kept| name == *kept);
    folders(parent, |path| {
        let mut files = fs::read_dir(path).into_iter().flatten().flatten();
        path.file_name().and_then(OsStr::to_str).and_then(time_of).is_some()
            && !path.join(MANIFEST).exists()
            && files.any(|file| !kept(&file.file_name()))
    })
}

fn folders(parent: &Path, meant: impl Fn(&Path) -> bool) -> Result<Vec<String>> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("reading {}", parent.display())),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", parent.display()))?;
        if meant(&entry.path()) {
            ids.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    ids.sort();
    Ok(ids)
}

/// Whether the files of a backup are still what they were: a finding for each that is not.
pub fn damaged_files(run: &dir::RunDir, files: &BTreeMap<String, FileInfo>) -> Vec<String> {
    let line =
        |(name, expected): (&String, &FileInfo)| Some(format!("{name}{}", damage(run, name, expected)?));
    files.iter().filter_map(line).collect()
}

/// How a file is not what was written, to follow its name.
pub fn damage(run: &dir::RunDir, name: &str, expected: &FileInfo) -> Option<String> {
    match run.measure(name) {
        Err(error) => Some(format!(": {error:#}")),
        Ok(found) if found.sha256 != expected.sha256 => Some(format!(
            " is not the file that was written: {} bytes, SHA-256 {} (expected {} bytes, {})",
            found.bytes, found.sha256, expected.bytes, expected.sha256
        )),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Findings;
    use crate::run::manifest::{Check, TableProof};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_run_is_private_and_its_files_are_hashed() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(&parent.path().join("runs")).unwrap();
        let info = run.write("notes/x.csv", "abc").unwrap();
        assert_eq!(info.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(run.measure("notes/x.csv").unwrap(), info);
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(run.path()), 0o700);
        assert_eq!(mode(&run.file("notes")), 0o700);
        assert_eq!(mode(&run.file("notes/x.csv")), 0o600);
        assert_eq!(mode(&run.file("journal.jsonl")), 0o600);
    }

    #[test]
    fn a_run_that_only_looks_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let runs = parent.path().join("runs");
        let run = RunDir::dry_run_dir(&runs);
        run.step(StepName::Verify).unwrap().done("").unwrap();
        assert!(run.write("x.csv", "abc").is_err());
        drop(run);
        assert!(!runs.exists());
    }

    #[test]
    fn two_runs_in_one_second_are_two() {
        let parent = tempfile::tempdir().unwrap();
        let a = RunDir::create(parent.path()).unwrap();
        let b = RunDir::create(parent.path()).unwrap();
        assert_ne!(a.id(), b.id());
    }

    fn tool() -> ToolVersion {
        ToolVersion { version: "0".into(), sql: String::new() }
    }

    #[test]
    fn a_torn_journal_goes_on_in_a_line_of_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path()).unwrap();
        run.save_manifest(&run.new_manifest(CommandName::Migrate, "local", tool())).unwrap();
        drop(run.command(&CommandName::Migrate).unwrap());
        let (path, id) = (run.file(JOURNAL), run.id().to_string());
        drop(run);
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 9]).unwrap();
        let run = RunDir::open(parent.path(), &id).unwrap();
        run.command(&CommandName::Resume).unwrap().done("").unwrap();
        let journal = load_journal(run.path()).unwrap();
        assert_eq!((journal.torn, journal.commands.len()), (1, 2));
        let ended: Vec<bool> = journal.commands.iter().map(|c| c.whole.ended.is_some()).collect();
        assert_eq!(ended, [false, true]);
    }

    fn green_proof() -> Proof {
        let checks = vec![Check::new("files", "1 file", Findings::default())];
        Proof { tables: [("orders".to_string(), TableProof::default())].into(), checks, ..Proof::default() }
    }

    #[test]
    fn latest_is_one_that_can_be_meant() {
        let parent = tempfile::tempdir().unwrap();
        let run = |command: CommandName, exported: bool, green: bool| {
            let run = RunDir::create(parent.path()).unwrap();
            let mut manifest = run.new_manifest(command, "local", tool());
            let export = "{\"snapshot\":{\"id\":\"\",\"taken\":\"\",\"server\":{\"major\":15,\"version\":\"\",\
                          \"encoding\":\"\",\"bytes\":0},\"hash\":\"md5_utf8\"},\"files\":{},\"tables\":{},\"seconds\":0}";
            manifest.export = exported.then(|| serde_json::from_str(export).unwrap());
            manifest.proof = green.then(green_proof);
            run.save_manifest(&manifest).unwrap();
            run.id().to_string()
        };
        let latest = |wanted| resolve(parent.path(), "latest", wanted, None);
        assert!(latest(Latest::Any).unwrap_err().to_string().contains("cargo xtask migrate"));
        let green = run(CommandName::Migrate, true, true);
        assert!(latest(Latest::Unfinished).unwrap_err().to_string().contains(&green));
        let cut = run(CommandName::Migrate, false, false);
        let exported = run(CommandName::Export, true, false);
        let backup = run(CommandName::Backup, false, false);
        assert_eq!(latest(Latest::Any).unwrap(), backup);
        assert_eq!(latest(Latest::WithExport).unwrap(), exported);
        assert_eq!(latest(Latest::Unfinished).unwrap(), cut);
    }
}
