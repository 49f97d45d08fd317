//! What tables are, changed on purpose: the catalogue says in which ways (`sql/chaos/definitions.sql`).

use super::corruption::{Change, Corruption};
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::sql_file;
use anyhow::Result;
use sqlx::Row;

/// One way to change what a table is.
#[derive(Clone, Debug)]
pub struct Definition {
    pub database: Database,
    pub kind: String,
    pub table: String,
    pub part: String,
    /// Others that change with it: table and part.
    also: Vec<(String, String)>,
    damage: String,
    undo: String,
}

/// All ways for the tables of a database.
pub async fn read(connection: &mut Connection, database: Database) -> Result<Vec<Definition>> {
    let rows = connection.rows(sql_file!("chaos/definitions.sql").text).await?;
    let definitions = rows.iter().map(|row| {
        let also: String = row.try_get("also")?;
        let part =
            |line: &str| line.split_once(' ').map(|(table, part)| (table.to_string(), part.to_string()));
        Ok(Definition {
            database,
            kind: row.try_get("kind")?,
            table: row.try_get("table")?,
            part: row.try_get("part")?,
            also: also.lines().filter_map(part).collect(),
            damage: row.try_get("damage")?,
            undo: row.try_get("undo")?,
        })
    });
    definitions.collect()
}

impl Definition {
    /// What it is about.
    pub fn place(&self) -> String {
        format!("{}: {}", self.table, self.part)
    }

    pub fn corruption(&self) -> Corruption {
        let mut structure = vec![(self.table.clone(), self.part.clone())];
        structure.extend(self.also.iter().cloned());
        let hides = self.kind == "row security: enabled and forced";
        Corruption {
            kind: self.kind.clone(),
            store: self.database.into(),
            place: self.place(),
            change: Change::Database {
                database: self.database,
                statements: self.damage.clone(),
                undo: self.undo.clone(),
                structure,
                hidden: hides.then(|| self.table.clone()),
            },
            only: None,
        }
    }
}
