//! The stores against what an export says that they must hold, without the tool's own verification.

use crate::effects::postgres;
use crate::findings::Values;
use crate::model::Database;
use crate::run::manifest::Export;
use crate::settings::Settings;
use crate::stores::{rows, schema};
use crate::tables::{self, Home, TABLES};
use anyhow::{Context, Result};
use datapath::document::Collection;
use datapath::firestore::{Address, Fields, Firestore};
use std::collections::BTreeMap;

/// What differs in the three databases, definitions included: a line each.
pub async fn databases(settings: &Settings, export: &Export) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for database in Database::ALL {
        let server = settings.target(database);
        let mut connection = postgres::connect(server, "compare").await?;
        let expected = schema::expected_definition(&mut connection, database).await?;
        let found = schema::definition(&mut connection, "public").await?;
        let differences = schema::differences(database, &expected, &found);
        lines.extend(differences.iter().map(|finding| finding.text(Values::Masked)));
        for table in tables::of_database(TABLES, database) {
            let record = export.tables.get(table.name).context("a table is not in the export")?;
            let (columns, hash) = (&record.target_columns, export.snapshot.hash);
            let content = rows::content(&mut connection, "public", table.name, columns, hash).await?;
            if content != record.content {
                let (expected, found) = (record.content.total().rows, content.total().rows);
                lines.push(format!(
                    "{}: {found} rows, expected {expected}, or their content differs",
                    table.name
                ));
            }
        }
        connection.close().await?;
    }
    Ok(lines)
}

/// Collections that hold another number of documents: a line each.
pub async fn counts(settings: &Settings, export: &Export) -> Result<Vec<String>> {
    let firestore = Firestore::connect(&Address::from(&settings.firestore)).await?;
    let mut lines = Vec::new();
    for table in TABLES {
        let Home::Firestore(collection) = &table.home else { continue };
        let expected = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
        let found = firestore.count(collection.name).await?;
        if found != expected {
            lines.push(format!("{}: {found} documents, expected {expected}", collection.name));
        }
    }
    Ok(lines)
}

/// Every id of a collection. All in memory: for small shops.
pub async fn ids(firestore: &Firestore, collection: &Collection) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let page = |ids: Vec<String>| {
        all.extend(ids);
        Ok(())
    };
    firestore.ids(collection.name, page).await?;
    Ok(all)
}

/// Every document of our collections, by `collection/id`. All in memory: for small shops.
pub async fn documents(settings: &Settings) -> Result<BTreeMap<String, Fields>> {
    let firestore = Firestore::connect(&Address::from(&settings.firestore)).await?;
    let mut documents = BTreeMap::new();
    for collection in TABLES.iter().filter_map(|t| t.collection()) {
        for ids in ids(&firestore, collection).await?.chunks(500) {
            for (id, fields) in firestore.read(collection.name, ids).await? {
                let fields = fields.with_context(|| format!("{id} has gone while it was read"))?;
                documents.insert(format!("{}/{id}", collection.name), fields);
            }
        }
    }
    Ok(documents)
}
