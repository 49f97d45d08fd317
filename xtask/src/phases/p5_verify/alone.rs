//! What the verification looks at, a part at a time, before the cut-over: for bench, which measures them apart.

use super::cutover_state::CutoverState::Before;
use super::{checks, databases, end, references, sessions, table};
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::{Check, Export, TableProof};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the tables of the PostgreSQL targets hold, by table.
pub async fn content(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    remembered: &Remembered,
) -> Result<BTreeMap<String, TableProof>> {
    let tables = ctx.tables.iter().filter(|table| table.database().is_some());
    let idle = sessions();
    let proofs = tables.map(|one| {
        let (ctx, export, idle) = (ctx.clone(), export.clone(), idle.clone());
        let then = remembered.get(one.name).cloned();
        async move { Ok((one.name.to_string(), table(&ctx, &export, one, Before, (then, &idle)).await?.0)) }
    });
    let proofs = join::all(proofs).await?.into_iter().collect();
    end(&idle).await?;
    Ok(proofs)
}

/// The databases as such, what their tables are, and their sequences.
pub async fn structure(ctx: &Arc<Ctx>, export: &Export) -> Result<Vec<Check>> {
    let checks = tokio::try_join!(
        databases::check(ctx, Before),
        checks::structure(ctx, Before),
        checks::sequences_check(ctx, export)
    );
    let ((databases, _), structure, sequences) = checks?;
    Ok(vec![databases, structure, sequences])
}

/// References inside the databases, and those that leave them.
pub async fn references(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<Vec<Check>> {
    let (inside, mut all) = tokio::try_join!(checks::orphans(ctx), references::all(ctx, export, Before))?;
    all.push(inside);
    Ok(all)
}
