//! The services' queries on a new database alone, once each: that they run on what a drill has restored, and find
//! rows.

use super::measure::{LIMIT, Seen, measure};
use super::parameters::choose;
use super::queries::QUERIES;
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::sql;
use std::collections::BTreeMap;

/// What came of a query: its rows; `None`: there is no row to ask for. An error in words.
pub type Ran = Result<Option<u64>, String>;

/// By query: every one that the services ask of this database.
pub async fn on_new(connection: &mut Connection, database: Database) -> BTreeMap<&'static str, Ran> {
    let mut ran = BTreeMap::new();
    for query in QUERIES.iter().filter(|query| query.database() == Some(database)) {
        let asked = async {
            let Some(values) = choose(connection, query.parameters_new).await? else { return Ok(None) };
            let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (&**name, &**value)).collect();
            anyhow::Ok(Some(measure(connection, &sql::bind(query.new, &values), 1).await?))
        };
        let seen = match asked.await {
            Ok(None) => Ok(None),
            Ok(Some(Seen::Measured(measured))) => Ok(Some(measured.rows)),
            Ok(Some(Seen::CutOff)) => Err(format!("it did not end within {} s", LIMIT.as_secs())),
            Err(error) => {
                // In the middle of its transaction.
                let _ = connection.run("ROLLBACK").await;
                Err(format!("{error:#}"))
            }
        };
        ran.insert(query.name, seen);
    }
    ran
}
