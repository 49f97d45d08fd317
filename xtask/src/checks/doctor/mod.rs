//! Every prerequisite of the migration, looked at without changing anything but one probe document,
//! which is removed again. All looks run in parallel, and all run even when one fails; what
//! depends on something that is not met is not looked at.

pub mod connectivity;
mod firestore;
mod look;
mod machine;
mod server;
mod source;
mod target;

use crate::health::{Line, Lines};
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::lock;
pub use firestore::PROBE;
pub use look::Wanted;
use std::sync::Arc;

/// Firestore alone.
pub async fn firestore(ctx: &Arc<Ctx>) -> Vec<Line> {
    firestore::look(ctx).await
}

/// While a run is at work, that is the one line: most of what else would be found is the run itself.
async fn at_work(ctx: &Ctx) -> Option<Vec<Line>> {
    // Servers that do not answer get lines of their own.
    let (holder, servers) = lock::at_work(ctx).await.ok()??;
    let mut lines = Lines::of("the servers");
    let found = format!("a run is at work: {holder} on {}", servers.join(", "));
    lines.not_met("lock", found, holder.fix("then look again"));
    Some(lines.lines)
}

pub async fn run(ctx: &Arc<Ctx>, wanted: Wanted) -> Vec<Line> {
    if let Some(line) = at_work(ctx).await {
        return line;
    }
    let tools = machine::versions(ctx).await;
    let pg_dump = tools.pg_dump();
    let (compose, source, product, order, gateway, firestore) = tokio::join!(
        machine::compose(),
        source::look(ctx, wanted, pg_dump),
        target::look(ctx, Database::Product, pg_dump),
        target::look(ctx, Database::Order, pg_dump),
        target::look(ctx, Database::Gateway, pg_dump),
        firestore::look(ctx),
    );
    let mut lines = machine::lines(ctx, &tools, compose, source.info.as_ref());
    for part in [source.lines, product.lines, order.lines, gateway.lines, firestore] {
        lines.extend(part);
    }
    lines
}
