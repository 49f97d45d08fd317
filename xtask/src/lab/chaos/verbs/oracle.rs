//! What must hold after a scene, whoever typed what: no write of a service is lost or undone, nothing is green
//! that differs by a comparison of its own, and the source is not left frozen in silence.

use super::scene::{Call, Scene, Start};
use super::services::{Written, lost};
use super::stage::Stage;
use super::verb::Verb;
use crate::lab::corruptions::held::{Held, changed_documents, changed_rows};
use crate::tables::TABLES;
use anyhow::Result;
use std::process::ExitStatus;
use std::time::Instant;

/// How a call ended.
pub struct Ended {
    pub call: Call,
    /// Its place among the calls.
    pub place: usize,
    /// None: it had to be killed, because it did not end.
    pub status: Option<ExitStatus>,
    pub started: Instant,
    pub at: Instant,
}

impl Ended {
    fn green(&self) -> bool {
        matches!(self.call.verb, Verb::Verify | Verb::Cutover) && self.done()
    }

    pub fn done(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    fn was_killed(&self) -> bool {
        self.status.is_some_and(|status| status.code().is_none())
    }
}

/// What is wrong after a scene: a line each.
pub async fn judge(stage: &Stage, scene: &Scene, ended: &[Ended], written: &Written) -> Result<Vec<String>> {
    let now = stage.held().await?;
    let was = stage.was(scene.start)?;
    let mut lines = lost(&now, written);
    let hanging = ended.iter().filter(|ended| ended.status.is_none());
    lines.extend(hanging.map(|ended| format!("HANGS: {} did not end", ended.call)));
    if scene.start == Start::CutOver {
        let changed = differences(was, &now, written);
        lines.extend(changed.into_iter().map(|line| format!("UNDONE: after the cut-over, {line}")));
    }
    for call in ended.iter().filter(|call| call.green() && judged(call, ended)) {
        // A cut-over says that the stores are what the source is now; a verification, what it was.
        let allowed: &[&Held] = match (scene.start, call.call.verb) {
            (Start::RepairedSource, Verb::Cutover) => &[&stage.repaired],
            (Start::RepairedSource, _) => &[was, &stage.repaired],
            _ => &[was],
        };
        let found: Vec<_> = allowed.iter().map(|held| differences(held, &now, written)).collect();
        if let Some(least) = found.into_iter().min_by_key(Vec::len).filter(|least| !least.is_empty()) {
            lines.push(format!("FALSE GREEN: {} ended with 0, and {}", call.call, least.join(", ")));
        }
    }
    if scene.start != Start::CutOver && stage.frozen().await? {
        lines.extend(in_silence(stage, ended).await?);
    }
    Ok(lines)
}

/// What was green may have been changed by another call since: then nothing can be said of it.
fn judged(green: &Ended, all: &[Ended]) -> bool {
    let others = || all.iter().filter(|other| other.place != green.place);
    others().all(|other| !other.call.verb.writes() || other.at <= green.at)
}

/// What differs, less what the services have written.
fn differences(was: &Held, now: &Held, written: &Written) -> Vec<String> {
    let mut lines = Vec::new();
    for table in TABLES {
        let own = |id: &String| written.contains_key(&(table.name, id.clone()));
        let changed = changed_rows(was.rows_of(table.name), now.rows_of(table.name));
        let ids = changed.keys().map(i64::to_string).filter(|id| !own(id));
        lines.extend(ids.map(|id| format!("{} {id} differs", table.name)));
        let Some(collection) = table.collection() else { continue };
        let own = |id: &String| written.contains_key(&(collection.name, id.clone()));
        let changed = changed_documents(was, now, collection.name);
        let ids = changed.iter().filter(|id| !own(id));
        lines.extend(ids.map(|id| format!("document {}/{id} differs", collection.name)));
    }
    let more = lines.len().saturating_sub(5);
    lines.truncate(5);
    lines.extend((more > 0).then(|| format!("{more} more")));
    lines
}

/// The source is frozen: somebody has to have said so in the last line, or was killed and cannot have; then
/// `unfreeze` has to bring it back.
async fn in_silence(stage: &Stage, ended: &[Ended]) -> Result<Vec<String>> {
    let mut freezing: Vec<&Ended> = ended.iter().filter(|ended| ended.call.verb.freezes()).collect();
    freezing.sort_by_key(|ended| ended.at);
    let said = |ended: &&&Ended| {
        let line = stage.last_line(ended.place);
        ["frozen", "read-only", "unfreeze"].iter().any(|word| line.contains(word))
    };
    if freezing.iter().any(|ended| said(&ended)) {
        return Ok(Vec::new());
    }
    let Some(killed) = freezing.iter().find(|ended| ended.was_killed()) else {
        let last = ended.iter().map(|e| format!("{}: {}", e.call, stage.last_line(e.place)));
        return Ok(vec![format!("FROZEN in silence; {}", last.collect::<Vec<_>>().join("; "))]);
    };
    let undo = Call { verb: Verb::Unfreeze, named: false, copy: killed.call.copy };
    stage.call(&undo, ended.len())?.wait().await?;
    let said = stage.said(ended.len());
    // A cut-over that was recorded before it was killed stays.
    Ok(match stage.frozen().await? && !said.contains("was cut over") {
        true => vec![format!("FROZEN for good: {} was killed, and unfreeze says: {said}", killed.call)],
        false => Vec::new(),
    })
}
