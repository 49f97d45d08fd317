//! What a collection has received, as rows of its table's file: a document is the row that it would be read from.

use super::received::Delta;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, TableExport};
use crate::run::overlay;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::csv_text::{self, row_of};
use datapath::document::{self, Collection, Document, DocumentReader, Kind, NULL_FIELDS, NullPolicy, Value};
use datapath::firestore::{Address, Fields, Firestore, Instant, Since};
use datapath::ids::IdSet;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// Documents in one call.
const PIECE: usize = 300;

/// What the collection has received since `then`; without an instant every document is read.
pub async fn delta(
    ctx: &Arc<Ctx>,
    export: &Export,
    record: &TableExport,
    (table, collection): (&'static Table, &Collection),
    then: Option<Instant>,
) -> Result<Delta> {
    let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
    let (mut there, mut written) = (IdSet::default(), BTreeSet::new());
    let take = |id: String, since: Since| {
        there.insert(&id);
        if since == Since::Written {
            written.insert(id);
        }
        Ok(())
    };
    match then {
        Some(then) => firestore.since(collection.name, then, take).await?,
        None => {
            let mut take = take;
            let page = |ids: Vec<String>| ids.into_iter().try_for_each(|id| take(id, Since::Written));
            firestore.ids(collection.name, page).await?;
        }
    }
    // What nobody has written, and of which nothing is gone, is what the run wrote.
    if written.is_empty() && there.len() as u64 == record.content.total().rows {
        return Ok(Delta::new(table, record));
    }
    let policy = ctx.settings.policy.null_policy;
    let mut received =
        Received { delta: Delta::new(table, record), collection, policy, base: BTreeMap::new() };
    received.read_base(ctx, export, |id| !there.contains(id) || written.contains(id))?;
    let written: Vec<String> = written.into_iter().collect();
    for piece in written.chunks(PIECE) {
        for (id, fields) in firestore.read(collection.name, piece).await? {
            if let Some(fields) = fields {
                received.take(&id, &fields)?;
            }
        }
    }
    Ok(received.finish())
}

/// A collection's delta as it grows.
struct Received<'a> {
    delta: Delta,
    collection: &'a Collection,
    policy: NullPolicy,
    /// By the document's id: the row that the run wrote, and the document that it became.
    base: BTreeMap<String, (Vec<u8>, Document)>,
}

impl Received<'_> {
    /// The run's rows of these documents.
    fn read_base(&mut self, ctx: &Ctx, export: &Export, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let columns = &self.delta.columns;
        let key =
            columns.iter().position(|c| c.name == self.collection.id).context("no column for the id")?;
        let names = columns.iter().map(|c| Some(Cow::Borrowed(c.name.as_bytes())));
        let header = row_of(names.chain([Some(Cow::Borrowed(NULL_FIELDS.as_bytes()))]));
        let mut rows: Vec<(String, Vec<u8>)> = Vec::new();
        overlay::each_row(&ctx.run, export, &self.delta.table.file(), |_, row| {
            let id = csv_text::fields(row).into_iter().nth(key).flatten();
            let id = id.map(|id| String::from_utf8_lossy(&id).into_owned()).unwrap_or_default();
            if wanted(&id) {
                rows.push((id, row.to_vec()));
            }
        })?;
        let csv: Vec<u8> = header.into_iter().chain(rows.iter().flat_map(|(_, row)| row.clone())).collect();
        let mut csv = &csv[..];
        let documents = DocumentReader::open(&mut csv, self.collection, self.policy)?.next(rows.len())?;
        for ((id, row), document) in rows.into_iter().zip(documents) {
            self.base.insert(id, (row, document));
        }
        Ok(())
    }

    /// A document that has been written since.
    fn take(&mut self, id: &str, fields: &Fields) -> Result<()> {
        let before = self.base.get(id).cloned();
        if let Some((_, document)) = &before
            && document::differences(document, fields).is_empty()
        {
            self.base.remove(id);
            return Ok(());
        }
        match before {
            None => self.delta.counts.added += 1,
            Some(_) => self.delta.counts.changed += 1,
        }
        let known = |name: &String| self.collection.fields.iter().any(|field| field.name == name);
        for name in fields.keys().filter(|name| !known(name)) {
            *self.delta.counts.without_a_place.entry(name.clone()).or_default() += 1;
        }
        let row = match self.row(id, fields, before.as_ref()) {
            Ok(row) => row,
            Err(why) => {
                self.delta.refused.insert(id.to_string(), why);
                self.base.remove(id);
                return Ok(());
            }
        };
        self.delta.theirs.extend(row);
        let whole = self.collection.fields.iter().map(|field| {
            let found = fields.get(field.name).filter(|value| **value != Value::Null).cloned();
            (field.name.to_string(), found.unwrap_or_else(|| field.default(self.policy)))
        });
        self.delta.hashes.insert(id.to_string(), document::hash(id, &whole.collect()));
        Ok(())
    }

    /// The row that such a document would be read from; or why there is none.
    fn row(
        &self,
        id: &str,
        fields: &Fields,
        before: Option<&(Vec<u8>, Document)>,
    ) -> Result<Vec<u8>, String> {
        let key = fields.get(self.collection.id);
        if key.is_some_and(|key| *key != Value::Text(id.to_string())) {
            return Err(format!("{} is not its id", self.collection.id));
        }
        let before_row = before.map(|(row, _)| csv_text::fields(row)).unwrap_or_default();
        let mut out = Vec::new();
        for (at, column) in self.delta.columns.iter().enumerate() {
            let field = self.collection.fields.iter().find(|field| field.name == column.name);
            let as_it_was = before_row.get(at).cloned().flatten();
            let Some(field) = field else {
                out.push(as_it_was);
                continue;
            };
            let found = fields.get(field.name).unwrap_or(&Value::Null);
            let was = before.and_then(|(_, was)| was.fields.iter().find(|(name, _)| *name == field.name));
            if was.is_some_and(|(_, was)| was == found) {
                out.push(as_it_was);
                continue;
            }
            let text =
                text_of(field.kind, &column.kind, found).map_err(|why| format!("{} {why}", field.name))?;
            out.push(text.map(|text| Cow::Owned(text.into_bytes())));
        }
        // The id of a document is one of its fields, whether it says so or not.
        if let Some(at) = self.delta.columns.iter().position(|column| column.name == self.collection.id) {
            out[at] = Some(Cow::Borrowed(id.as_bytes()));
        }
        Ok(row_of(out))
    }

    fn finish(mut self) -> Delta {
        for (id, (row, _)) in &self.base {
            self.delta.counts.deleted += u64::from(!self.delta.hashes.contains_key(id));
            let mut fields = csv_text::fields(row);
            // The names of the fields that are NULL: what is NULL is not quoted, that is enough here.
            fields.truncate(self.delta.columns.len());
            self.delta.base.extend(row_of(fields));
        }
        self.delta
    }
}

/// A field's value as PostgreSQL reads it; `None`: NULL.
fn text_of(kind: Kind, column: &str, value: &Value) -> Result<Option<String>, String> {
    let text = match (kind, value) {
        (_, Value::Null) => return Ok(None),
        (Kind::Text(_), Value::Text(text)) => text.clone(),
        (Kind::Integer(_), Value::Integer(number)) => number.to_string(),
        (Kind::Boolean(_), Value::Boolean(flag)) => flag.to_string(),
        (Kind::Time, Value::Time(micros)) => document::format_time(*micros),
        _ => return Err("is of another type".to_string()),
    };
    if text.contains('\0') {
        return Err("holds a character that PostgreSQL does not".to_string());
    }
    let fits = match column {
        // What the guide writes for none.
        "inet" if text.is_empty() => return Ok(None),
        "inet" => is_address(&text),
        "int2" => text.parse::<i16>().is_ok(),
        "int4" => text.parse::<i32>().is_ok(),
        _ => true,
    };
    match fits {
        true => Ok(Some(text)),
        false => Err(format!("is no {column}")),
    }
}

/// An address, with or without the length of its network.
fn is_address(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = IpAddr::from_str(address) else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}
