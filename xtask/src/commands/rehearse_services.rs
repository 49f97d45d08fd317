//! The shop's services in a rehearsal: started on the old database or on the new stores, smoked, stopped.

use crate::checks::smoke::{Plan, Side, load};
use crate::commands::smoke;
use crate::effects::cleanup::Cleanup;
use crate::lab::shop_services::{ShopServices, program};
use crate::run::ctx::Ctx;
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// They have said already that they listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// `home`: a directory that goes with the rehearsal's servers.
///
/// # Errors
/// `Stop::Differs` where a check has failed.
pub async fn smoked(ctx: &Arc<Ctx>, side: Side, home: &Path) -> Result<()> {
    ctx.terminal.phase(&format!("Rehearsal: the services on the {} stores", side.name()));
    let shop = ShopServices::start(&program()?, &ctx.settings, side, home).await?;
    let plan = Plan {
        side,
        scenarios: load(&ctx.workspace.join("xtask/smoke"), &[])?,
        services: shop.services.clone(),
        token: Some(shop.token.clone()),
        wait: PATIENCE,
        keep: false,
    };
    // Services and servers go with the rehearsal: where that is cut off, nobody is left to take anything back.
    let outcome = smoke::run(ctx, &plan, &Cleanup::default()).await?;
    ctx.terminal.always(outcome.text(ctx.values).trim_end());
    shop.stop().await?;
    outcome.judge()
}
