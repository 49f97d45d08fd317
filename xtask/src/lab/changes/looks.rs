//! What is read of the subject at two instants, each in one transaction: what the versions tell, and the truth.

use super::round::Shown;
use super::testbed::Testbed;
use crate::changes::{self, Children, Key, Pieces, Place, Since, Then};
use crate::effects::postgres::{self, Connection};
use crate::remembered::{History, TableThen, Unbroken};
use crate::{sql, sql_file};
use anyhow::{Result, anyhow, ensure};
use datapath::digest::Digest;
use futures_util::FutureExt;
use sqlx::Row;
use std::collections::BTreeMap;

const SUBJECT: Place<'static> = Place { schema: "public", table: "subject", children: Children::Included };

/// Pages that one of several sessions reads.
const PIECE: u64 = 7;

/// Every row by its id: a hash of all its values. Without a key an id may have several, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth(pub BTreeMap<i64, Vec<String>>);

impl Truth {
    pub fn rows(&self) -> u64 {
        self.0.values().map(|values| values.len() as u64).sum()
    }

    fn ids(&self, first: i64, last: i64) -> Vec<i64> {
        self.0.range(first..=last).map(|(id, _)| *id).collect()
    }
}

async fn truth(connection: &mut Connection) -> Result<Truth> {
    let mut truth = Truth::default();
    for row in connection.rows(sql_file!("chaos/changes/truth.sql").text).await? {
        truth.0.entry(row.try_get("id")?).or_default().push(row.try_get("value")?);
    }
    Ok(truth)
}

/// The subject at the instant: as it was remembered, or why it was not; and the truth.
pub async fn first(
    connection: &mut Connection,
    shown: Shown,
    nonce: &str,
) -> Result<(Result<TableThen, String>, Truth)> {
    changes::begin(connection, SUBJECT).await?;
    let history = changes::history(connection).await?.map_err(|why| anyhow!("no history: {why}"))?;
    let history = match shown {
        Shown::ByTheServersStart => history,
        Shown::ByANonce => History { unbroken: Unbroken::Nonce(nonce.to_string()), ..history },
    };
    let then = changes::remember(connection, SUBJECT, history, Digest::default()).await?;
    let truth = truth(connection).await?;
    connection.run("COMMIT").await?;
    let sure = match shown {
        Shown::ByTheServersStart => changes::flushed(connection).await?.map(drop),
        Shown::ByANonce => changes::marked(connection, nonce).await?,
    };
    Ok((then.and_then(|then| sure.map(|()| then)), truth))
}

/// The subject looked at again.
pub struct Second {
    pub since: Since,
    /// Or why they cannot be told.
    pub keys: Result<Vec<Key>, String>,
    pub truth: Truth,
}

pub async fn second(
    bed: &Testbed,
    connection: &mut Connection,
    then: &TableThen,
    truth_then: &Truth,
) -> Result<Second> {
    changes::begin(connection, SUBJECT).await?;
    let since = changes::since(connection, SUBJECT, then).await?;
    let mut keys = Vec::new();
    let ids_then = |first, last| Ok(truth_then.ids(first, last));
    let tell = |key| {
        keys.push(key);
        Ok(())
    };
    let told = changes::changed_keys(connection, SUBJECT, then, None, ids_then, tell).await?;
    let piecemeal = by_pieces(bed, connection, then, truth_then).await?;
    let as_one = told.clone().map(|now| (keys.clone(), as_of_now(&now)));
    ensure!(piecemeal == as_one, "by pieces {piecemeal:?}, in one scan {as_one:?}");
    if let Ok(now) = &told {
        // What the keys' own scan remembers is what a look at all of it would.
        let history = changes::history(connection).await?.map_err(|why| anyhow!(why))?;
        let again = changes::remember(connection, SUBJECT, history, Digest::default()).await?;
        ensure!(as_of_now(&again) == as_of_now(now), "remembered as {now:?}, and as {again:?}");
    }
    let truth = truth(connection).await?;
    connection.run("COMMIT").await?;
    Ok(Second { since, keys: told.map(|_| keys), truth })
}

fn as_of_now(then: &Then) -> Then {
    then.clone().map(|then| TableThen { at: String::new(), ..then })
}

/// The changed keys, and the subject remembered, by sessions that read some pages each; or why they cannot be told.
async fn by_pieces(
    bed: &Testbed,
    connection: &mut Connection,
    then: &TableThen,
    truth_then: &Truth,
) -> Result<Result<(Vec<Key>, Then), String>> {
    let id: String = connection.row("SELECT pg_export_snapshot()").await?.try_get(0)?;
    let answer = |query: String| {
        let (server, id) = (bed.server.clone(), id.clone());
        async move {
            let mut session = postgres::connect(&server, "pieces").await?;
            session.run(&sql::in_snapshot(&id)).await?;
            let rows = session.rows(&query).await?;
            session.close().await?;
            Ok(rows)
        }
        .boxed()
    };
    let (pieces, mut keys) = (Pieces { pages: PIECE, answer: &answer }, Vec::new());
    let ids_then = |first, last| Ok(truth_then.ids(first, last));
    let tell = |key| {
        keys.push(key);
        Ok(())
    };
    let told = changes::changed_keys(connection, SUBJECT, then, Some(&pieces), ids_then, tell).await?;
    Ok(told.map(|now| (keys, as_of_now(&now))))
}
