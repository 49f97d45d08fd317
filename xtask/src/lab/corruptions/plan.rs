//! Which corruptions there are, and which of them a campaign does: every place and every way first, then
//! every way with every place, then any of them again. The seed decides; a number alone brings one of them back.

use super::corruption::Corruption;
use super::definitions::Definition;
use super::documents::{self, DocumentWay, FieldWay};
use super::files::{self, FileWay};
use super::rows::{self, RowWay};
use super::values::Twist;
use super::world::World;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use datapath::document::Collection;
use fastrand::Rng;
use std::collections::BTreeSet;

/// A way to change something, and where.
#[derive(Clone, Debug)]
pub enum Site {
    Value(&'static str, String, Twist),
    Exchanged(&'static str, String),
    Scale(&'static str, String),
    Row(&'static str, RowWay),
    Field(&'static Collection, &'static str, FieldWay),
    Document(&'static Collection, DocumentWay),
    /// By its place in the list.
    Definition(usize),
    File(String, FileWay),
}

pub struct Plan {
    seed: u64,
    sites: Vec<Site>,
    kinds: BTreeSet<String>,
    /// So many of them bring every place and every kind once.
    all: usize,
}

impl Site {
    /// What a site is about: a column, a field, a part of a definition, a file.
    pub fn place(&self, world: &World) -> String {
        match self {
            Site::Value(table, column, _) | Site::Exchanged(table, column) | Site::Scale(table, column) => {
                format!("{table}.{column}")
            }
            Site::Row(table, _) => format!("{table}.id"),
            Site::Field(collection, field, _) => format!("{}.{field}", collection.name),
            Site::Document(collection, _) => format!("{} as a whole", collection.name),
            Site::Definition(number) => {
                world.definitions.get(*number).map(Definition::place).unwrap_or_default()
            }
            Site::File(name, _) => name.clone(),
        }
    }

    /// The change; None where nothing that is there can be changed in this way.
    fn draw(&self, world: &World, rng: &mut Rng) -> Option<Corruption> {
        match self {
            Site::Value(table, column, twist) => rows::value(world, table, column, *twist, rng),
            Site::Exchanged(table, column) => rows::exchanged(world, table, column, rng),
            Site::Scale(table, column) => rows::scale(world, table, column, rng),
            Site::Row(table, way) => rows::row(world, table, *way, rng),
            Site::Field(collection, field, way) => documents::field(world, collection, field, *way, rng),
            Site::Document(collection, way) => documents::document(world, collection, *way, rng),
            Site::Definition(number) => world.definitions.get(*number).map(Definition::corruption),
            Site::File(name, way) => files::corruption(world, name, *way, rng),
        }
    }

    /// All that can be done to something, each with its kind.
    fn all(world: &World) -> Vec<(Site, String)> {
        let mut sites = Vec::new();
        for shape in &world.shapes {
            let table = shape.table.name;
            for column in shape.columns.iter().filter(|c| c.name != "id") {
                let name = &column.name;
                let values = Twist::of(&column.kind).into_iter().map(|t| Site::Value(table, name.clone(), t));
                sites.extend(values);
                sites.extend([Site::Exchanged(table, name.clone()), Site::Scale(table, name.clone())]);
            }
            sites.extend(RowWay::ALL.map(|way| Site::Row(table, way)));
        }
        for collection in TABLES.iter().filter_map(|t| t.collection()) {
            for field in collection.fields {
                let ways = FieldWay::of(field.kind).into_iter();
                sites.extend(ways.map(|way| Site::Field(collection, field.name, way)));
            }
            sites.extend(DocumentWay::ALL.map(|way| Site::Document(collection, way)));
        }
        sites.extend((0..world.definitions.len()).map(Site::Definition));
        let files = world.files.keys().flat_map(|name| FileWay::ALL.map(|way| Site::File(name.clone(), way)));
        sites.extend(files);
        let kind = |site: &Site| Some(site.draw(world, &mut Rng::with_seed(0))?.kind);
        sites.into_iter().filter_map(|site| kind(&site).map(|kind| (site, kind))).collect()
    }
}

impl Plan {
    pub fn new(world: &World, seed: u64) -> Plan {
        let mut sites = Site::all(world);
        Rng::with_seed(seed).shuffle(&mut sites);
        let kinds = sites.iter().map(|(_, kind)| kind.clone()).collect();
        let (mut places, mut met) = (BTreeSet::new(), BTreeSet::new());
        let (first, rest): (Vec<_>, Vec<_>) = sites.into_iter().partition(|(site, kind)| {
            // Both are looked at: one site can be the first of its place and of its kind.
            let (new_place, new_kind) = (places.insert(site.place(world)), met.insert(kind.clone()));
            new_place || new_kind
        });
        let all = first.len();
        Plan { seed, kinds, all, sites: first.into_iter().chain(rest).map(|(site, _)| site).collect() }
    }

    /// Ways and places.
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Corruptions until every place and every kind has been met.
    pub fn all(&self) -> usize {
        self.all
    }

    pub fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }

    /// The corruption of this number, counted from 1, and how many differences are shown of it. It does not
    /// depend on those before it.
    pub fn corruption(&self, world: &World, number: usize) -> Result<(Corruption, usize, &Site)> {
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let site = match self.sites.get(number.wrapping_sub(1)) {
            Some(site) => site,
            None => rng.choice(&self.sites).context("there is nothing to corrupt")?,
        };
        let max_diffs = if rng.u8(..4) == 0 { 0 } else { 10 };
        // What can be changed with one draw may not be with another: rows differ.
        let drawn = (0..100).find_map(|_| site.draw(world, &mut rng));
        let corruption = drawn.with_context(|| format!("{site:?} cannot be drawn"))?;
        Ok((corruption, max_diffs, site))
    }
}
