//! The targets' tables, remembered as they were proven, so that it can be told at the price of a count whether
//! they still are (DESIGN rule 24).

use crate::changes::{self, Children, Place, Since, Then, Written};
use crate::effects::postgres::Connection;
use crate::remembered::{Remembered, TableThen, Unbroken};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, TableExport};
use anyhow::{Context, Result};
use datapath::digest::Digest;
use std::collections::BTreeMap;

/// A table in place, with whatever inherits from it.
pub fn place(table: &str) -> Place<'_> {
    Place { schema: "public", table, children: Children::Included }
}

/// Tables that have just been put into place, as far as nobody has written there since they were proven.
pub async fn loaded(
    ctx: &Ctx,
    connection: &mut Connection,
    export: &Export,
    proven: &BTreeMap<&str, Written>,
) -> Result<Remembered> {
    let mut remembered = Remembered::default();
    let history = changes::history(connection).await?;
    for (table, written) in proven {
        let content = record(export, table)?.content.total();
        let place = place(table);
        changes::begin(connection, place).await?;
        let same = changes::still_written(connection, place, written, content.rows).await?;
        let then = match history.clone() {
            Ok(history) if same => changes::remember(connection, place, history, content).await?,
            Ok(_) => Err("another client has written to it since it was loaded".to_string()),
            Err(why) => Err(why),
        };
        connection.run("COMMIT").await?;
        remembered.extend(kept(ctx, table, then).map(|then| (table.to_string(), then)));
    }
    marked(ctx, connection, remembered).await
}

/// A table whose content the open transaction has just proven by digest.
pub async fn proven(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &str,
    content: Digest,
) -> Result<Option<TableThen>> {
    let then = changes::remember_now(connection, place(table), content).await?;
    connection.run("COMMIT").await?;
    let then = match then {
        Ok(then) => changes::flushed(connection).await?.map(|_| then),
        Err(why) => Err(why),
    };
    Ok(kept(ctx, table, then))
}

/// Says why, where a table cannot be remembered.
fn kept(ctx: &Ctx, table: &str, then: Then) -> Option<TableThen> {
    then.inspect_err(|why| ctx.terminal.detail(format!("{table} will be digested again: {why}"))).ok()
}

/// Tables into which one transaction of a pass has written, as far as nobody else has since they were remembered
/// before it: by what they hold now. The others stay as they were remembered.
pub async fn caught_up(
    ctx: &Ctx,
    connection: &mut Connection,
    export: &Export,
    before: &BTreeMap<&str, TableThen>,
    transaction: u32,
) -> Result<Remembered> {
    let mut remembered = Remembered::default();
    for (table, then) in before {
        let content = record(export, table)?.content.total();
        let place = place(table);
        changes::begin(connection, place).await?;
        let ours = changes::only_written_by(connection, place, then, transaction, content.rows).await?;
        let now = match ours {
            true => changes::remember(connection, place, then.history.clone(), content).await?,
            false => Err("others have written to it during the pass".to_string()),
        };
        connection.run("COMMIT").await?;
        remembered.extend(kept(ctx, table, now).map(|then| (table.to_string(), then)));
    }
    marked(ctx, connection, remembered).await
}

/// They are known after a restart of the server, too: a row is left behind.
pub async fn marked(
    ctx: &Ctx,
    connection: &mut Connection,
    mut remembered: Remembered,
) -> Result<Remembered> {
    let nonce = format!("{:032x}", fastrand::u128(..));
    let marked = changes::marked(connection, &nonce).await?;
    if let Err(why) = &marked {
        ctx.terminal.detail(format!("the tables will be digested again: {why}"));
        return Ok(Remembered::default());
    }
    remembered.values_mut().for_each(|then| then.history.unbroken = Unbroken::Nonce(nonce.clone()));
    Ok(remembered)
}

/// How many rows a table holds, if it is still what it was proven to be, and that is what it must be now.
pub async fn unchanged(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &str,
    record: &TableExport,
    then: &TableThen,
) -> Result<Option<u64>> {
    if then.content != record.content.total() {
        return Ok(None);
    }
    changes::begin(connection, place(table)).await?;
    let since = changes::since(connection, place(table), then).await?;
    connection.run("COMMIT").await?;
    match since {
        Since::Unchanged { rows } => return Ok(Some(rows)),
        Since::Changed { .. } => {}
        Since::Unknown(why) => ctx.terminal.detail(format!("{table} is digested again: {why}")),
    }
    Ok(None)
}

fn record<'e>(export: &'e Export, table: &str) -> Result<&'e TableExport> {
    export.tables.get(table).with_context(|| format!("the run's manifest does not know {table}"))
}
