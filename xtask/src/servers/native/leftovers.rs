//! Stacks that outlived the tool that started them: kept on purpose, or left behind by a killed one.

use crate::effects::wait::{Patience, State, for_state_blocking};
use crate::servers::native::connections::{Connections, canonical};
use crate::servers::native::home::{LOCK, NEW_PREFIX, STACK_JSON, STACK_PREFIX, is_ours, remove};
use crate::servers::native::{machine, processes};
use anyhow::{Context, Result, bail};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory without a lock is a leftover only after that long: a tool may be making it.
const MAKING: Duration = Duration::from_secs(60);
/// A cleaner looks at a kept stack under its lock, but not longer than that.
const LOOKING: Patience = Patience { deadline: Duration::from_secs(5), interval: Duration::from_millis(20) };

/// A stack that was kept on purpose.
pub struct KeptStack {
    pub connections: Connections,
    /// The PostgreSQL servers, then the emulator if it is ours.
    pub servers: Vec<ServerState>,
}

/// One server of a kept stack.
#[derive(Clone, Debug)]
pub struct ServerState {
    pub name: String,
    pub pid: u32,
    pub running: bool,
}

/// Whether a process has the lock of a stack.
pub enum Lock {
    Ours(File),
    Held,
    NoFile,
}

/// The kept stacks of this workspace, newest first, with whether each process still runs.
pub fn kept(workspace: &Path) -> Result<Vec<KeptStack>> {
    let workspace = canonical(workspace)?;
    let mut found = Vec::new();
    for dir in directories(STACK_PREFIX).into_iter().filter(|dir| is_kept(dir)) {
        let file = dir.join(STACK_JSON);
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("reading {}", file.display()))?,
        };
        let connections: Connections =
            serde_json::from_slice(&text).with_context(|| format!("understanding {}", file.display()))?;
        if connections.workspace == workspace {
            found.push(KeptStack { servers: states(&connections), connections });
        }
    }
    found.sort_by(|a, b| b.connections.started.cmp(&a.connections.started));
    Ok(found)
}

fn states(connections: &Connections) -> Vec<ServerState> {
    let running: Vec<u32> = processes::of(&connections.dir).iter().map(|process| process.pid).collect();
    let postgres = connections.postgres.iter().map(|server| (server.name.clone(), server.pid));
    let emulator =
        connections.emulator.iter().filter_map(|server| Some(("emulator".to_owned(), server.pid?)));
    (postgres.chain(emulator))
        .map(|(name, pid)| ServerState { name, pid, running: running.contains(&pid) })
        .collect()
}

/// Stops a kept stack and removes its directory; nothing to do where that is gone. Blocking.
pub fn take_down(kept: &Connections) -> Result<()> {
    let dir = &kept.dir;
    if !dir.exists() {
        return Ok(());
    }
    if !is_ours(dir, STACK_PREFIX) {
        bail!("{} is no stack of this user", dir.display());
    }
    let _lock = for_state_blocking(format!("the lock of {}", dir.display()), LOOKING, || {
        Ok(match lock(dir)? {
            Lock::Ours(file) => State::Ready(Some(file)),
            Lock::NoFile => State::Ready(None),
            Lock::Held => State::NotYet("a running tool has it"),
        })
    })?;
    // if we are killed half-way, the next start finishes it
    Connections { keep: false, ..kept.clone() }.write()?;
    processes::end(dir, &mut Vec::new())?;
    remove(dir)
}

/// Removes what killed tools of this user left behind, of any workspace; a line for each. All are tried
/// before an error says which could not be removed. Blocking.
pub fn remove_leftovers() -> Result<Vec<String>> {
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for dir in [directories(STACK_PREFIX), directories(NEW_PREFIX)].concat() {
        match remove_leftover(&dir) {
            Ok(None) => {}
            Ok(Some(line)) => lines.push(line),
            Err(error) => {
                failures.push(format!("could not remove the leftover {}: {error:#}", dir.display()))
            }
        }
    }
    if failures.is_empty() { Ok(lines) } else { bail!("{}", [lines, failures].concat().join("\n")) }
}

/// `None`: in use, kept, or being removed by another.
fn remove_leftover(dir: &Path) -> Result<Option<String>> {
    // asked without the lock first, because holding it would be in the way of `take_down`
    if is_kept_and_runs(dir) || is_ours(dir, NEW_PREFIX) && !is_older(dir, MAKING) {
        return Ok(None);
    }
    let _lock = match lock(dir)? {
        Lock::Ours(file) => Some(file),
        Lock::NoFile if is_older(dir, MAKING) => None,
        Lock::NoFile | Lock::Held => return Ok(None),
    };
    if is_kept_and_runs(dir) || !dir.exists() {
        return Ok(None);
    }
    let running = processes::of(dir).len();
    processes::end(dir, &mut Vec::new())?;
    remove(dir)?;
    let what = if running == 0 { String::new() } else { format!(" and ended its {running} processes") };
    Ok(Some(format!("removed the leftover {}{what}", dir.display())))
}

fn directories(prefix: &str) -> Vec<PathBuf> {
    let all = machine::temp_roots().into_iter().flat_map(|root| machine::entries(&root));
    all.filter(|dir| is_ours(dir, prefix)).collect()
}

pub fn lock(dir: &Path) -> Result<Lock> {
    let path = dir.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lock::NoFile),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    match file.try_lock() {
        Ok(()) => Ok(Lock::Ours(file)),
        Err(TryLockError::WouldBlock) => Ok(Lock::Held),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// After a reboot nothing of a kept stack runs any more: a leftover like others.
fn is_kept_and_runs(dir: &Path) -> bool {
    is_kept(dir) && !processes::of(dir).is_empty()
}

/// Looks at that one field only, so that a stack of another version of this tool is kept as well.
fn is_kept(dir: &Path) -> bool {
    fs::read(dir.join(STACK_JSON))
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .is_some_and(|stack| stack["keep"] == true)
}

pub fn is_older(dir: &Path, age: Duration) -> bool {
    let modified = fs::metadata(dir).and_then(|found| found.modified()).ok();
    modified.and_then(|time| time.elapsed().ok()).is_some_and(|passed| passed > age)
}
