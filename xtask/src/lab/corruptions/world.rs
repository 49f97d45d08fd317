//! What a campaign draws from: everything that can be changed, undisturbed.

use super::definitions::Definition;
use super::held::{ForeignKey, Held, Shape};
use crate::tables::TABLES;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

pub struct World {
    /// What the stores hold.
    pub held: Held,
    pub shapes: Vec<Shape>,
    /// Those inside databases.
    pub foreign_keys: Vec<ForeignKey>,
    pub definitions: Vec<Definition>,
    /// The run's own files, by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl World {
    pub fn shape(&self, table: &str) -> Result<&Shape> {
        self.shapes.iter().find(|s| s.table.name == table).with_context(|| format!("no table {table}"))
    }

    /// Every column and every field: `orders.status`, `users.email`.
    pub fn columns_and_fields(&self) -> BTreeSet<String> {
        let columns = self.shapes.iter().flat_map(|shape| {
            shape.columns.iter().map(|column| format!("{}.{}", shape.table.name, column.name))
        });
        let fields = TABLES.iter().filter_map(|t| t.collection()).flat_map(|collection| {
            collection.fields.iter().map(|field| format!("{}.{}", collection.name, field.name))
        });
        columns.chain(fields).collect()
    }
}
