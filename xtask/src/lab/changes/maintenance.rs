//! Vacuums and rewrites beside the writers: none of them changes a row.

use super::round::Shape;
use super::writers::{Tally, is_conflict};
use crate::effects::postgres::{self, Connection};
use crate::settings::Server;
use crate::sql_text::SqlFile;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use fastrand::Rng;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One after the other would leave the writers no time.
const PAUSE: Duration = Duration::from_millis(8);

pub struct Maintenance {
    over: watch::Sender<bool>,
    working: JoinHandle<Result<Tally>>,
}

impl Maintenance {
    pub fn start(server: &Server, shape: Shape, seed: u64) -> Maintenance {
        let (over, end) = watch::channel(false);
        let (server, mut rng) = (server.clone(), Rng::with_seed(seed));
        let working = tokio::spawn(async move {
            let (mut connection, mut tally) = (connect(&server).await?, Tally::new());
            let statements = statements();
            while !*end.borrow() {
                let statement = statements[rng.usize(..statements.len())];
                let part = shape.parts()[rng.usize(..shape.parts().len())];
                one(&mut connection, statement, part, &mut tally).await?;
                tokio::time::sleep(PAUSE).await;
            }
            connection.close().await?;
            Ok(tally)
        });
        Maintenance { over, working }
    }

    pub async fn stop(self) -> Result<Tally> {
        self.over.send_replace(true);
        self.working.await.context("the maintenance ended unexpectedly")?
    }
}

async fn connect(server: &Server) -> Result<Connection> {
    let mut connection = postgres::connect(server, "maintenance").await?;
    connection.run(sql_file!("chaos/changes/hurried.sql").text).await?;
    Ok(connection)
}

/// Each a line of its own.
fn statements() -> Vec<SqlFile> {
    let SqlFile { path, text } = sql_file!("chaos/changes/maintenance.sql");
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    lines.map(|text| SqlFile { path, text }).collect()
}

async fn one(connection: &mut Connection, statement: SqlFile, part: &str, tally: &mut Tally) -> Result<()> {
    let index = format!("{part}_id_idx");
    let statement = sql::bind(statement, &[("part", part), ("index", &index)]);
    let what = match connection.run(&statement).await {
        Ok(()) if statement.contains("FULL") || statement.contains("CLUSTER") => "rewritten",
        Ok(()) => "vacuumed, analysed, altered",
        Err(error) if is_conflict(&error) => "in the way of rewriting",
        Err(error) => return Err(error),
    };
    *tally.entry(what).or_default() += 1;
    Ok(())
}

/// Every statement once, to every part.
pub async fn all(server: &Server, shape: Shape) -> Result<Tally> {
    let (mut connection, mut tally) = (connect(server).await?, Tally::new());
    for part in shape.parts() {
        for statement in statements() {
            one(&mut connection, statement, part, &mut tally).await?;
        }
    }
    connection.close().await?;
    Ok(tally)
}
