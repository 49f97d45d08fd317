//! A fresh emulator is a fresh JVM: for its first seconds it runs uncompiled code, which real Firestore
//! never does, and a short import would be mostly that. So before each measured run both clients have
//! written some documents into other projects of the same emulator, in the same way as they do later.

use crate::lab::bench::measured::GuideStep;
use crate::lab::bench::references::{Node, References, succeeded};
use crate::lab::bench::servers::Shop;
use crate::lab::usage;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use datapath::document::{Collection, Kind, Layout, NullPolicy};
use datapath::firestore::{Address, Firestore, Pace};
use tokio::sync::mpsc;

/// Documents of each collection and client at scale 25: then twice as many change nothing any more.
const MOST: usize = 10_000;

/// Writes the files that both clients read.
pub fn prepare(shop: &Shop, scale: u32) -> Result<()> {
    let documents = (400 * scale as usize).clamp(100, MOST);
    for table in TABLES {
        if let Some(collection) = table.collection() {
            shop.write(&format!("warm/{}", table.file()), &csv(collection, documents))?;
        }
    }
    Ok(())
}

fn csv(collection: &Collection, documents: usize) -> String {
    let mut text: String = collection.fields.iter().map(|f| format!("{},", f.name)).collect();
    text += "null_fields\n";
    for n in 0..documents {
        for field in collection.fields {
            text += &match field.kind {
                Kind::Text(_) => format!("warm-{n}-{},", field.name),
                Kind::Integer(_) => format!("{n},"),
                Kind::Boolean(_) => "t,".to_string(),
                Kind::Time => "2026-01-02 03:04:05.678901+00,".to_string(),
            };
        }
        text += "\n";
    }
    text
}

pub async fn up(shop: &Shop, references: &References) -> Result<()> {
    ours(shop).await.context("warming the emulator up")?;
    if let Node::Ready(_) = references.node {
        let script = references.script("guide.sh", &GuideStep::Firestore.to_string(), shop)?;
        let script =
            script.env("FIRESTORE_PROJECT", "demo-warm-guide").env("BACKUP_DIR", shop.work.join("warm"));
        succeeded("warming the emulator up", usage::run(script).await?)?;
    }
    Ok(())
}

/// Writes, reads back and counts.
async fn ours(shop: &Shop) -> Result<()> {
    let mut address = Address::from(&shop.settings.firestore);
    address.project = "demo-warm-ours".into();
    let firestore = Firestore::connect(&address).await?;
    for table in TABLES {
        let Some(collection) = table.collection() else { continue };
        let path = shop.work.join("warm").join(table.file());
        let mut reader = csv::Reader::from_path(&path).with_context(|| path.display().to_string())?;
        let mut layout = Layout::new(reader.headers()?, collection, NullPolicy::Default)?;
        let documents = reader.records().map(|r| layout.document(&r?)).collect::<Result<Vec<_>>>()?;
        let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
        let (sender, receiver) = mpsc::channel(documents.len() / 500 + 1);
        for piece in documents.chunks(500) {
            sender.send(piece.to_vec()).await.context("nobody takes the documents")?;
        }
        drop(sender);
        firestore.write(collection.name, receiver, &Pace::for_emulator(), |_| ()).await?;
        for ids in ids.chunks(500) {
            firestore.read(collection.name, ids).await?;
        }
        firestore.count(collection.name).await?;
    }
    Ok(())
}
