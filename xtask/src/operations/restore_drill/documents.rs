//! Firestore's backup restored into a scratch project of a scratch emulator.

use super::scratch::Scratch;
use super::seen::Seen;
use crate::operations::store_backups::{DocumentsContent, DrillFinding, Goal, Guard, restore_documents};
use crate::run::ctx::Ctx;
use anyhow::Result;

/// `ctx`: its run is the backup's directory.
///
/// # Errors
/// Where the emulator cannot be started; what is wrong with the backup is a finding.
pub async fn drill(ctx: &Ctx, content: &DocumentsContent, scratch: &Scratch) -> Result<Seen> {
    let firestore = scratch.firestore(&ctx.settings.firestore)?;
    let goal = Goal { firestore: &firestore, guard: Guard::Scratch };
    let mut seen = Seen { restored_on: Some("the Firestore emulator".to_string()), ..Seen::default() };
    match restore_documents(ctx, content, &goal).await {
        Ok(restored) => {
            seen.findings.extend(restored.differences.into_iter().map(|line| DrillFinding::Content { line }));
            seen.content = restored.content;
        }
        Err(error) => seen.findings.push(DrillFinding::Restore { line: format!("{error:#}") }),
    }
    Ok(seen)
}
