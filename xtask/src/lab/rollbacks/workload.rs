//! What the services write between a cut-over and the way back: every kind, in all four stores.

use super::state::Stores;
use crate::effects::postgres;
use crate::model::Database;
use crate::settings::Settings;
use crate::{sql, sql_file};
use anyhow::Result;
use datapath::document::{Document, Value};
use datapath::firestore::{Address, Fields, Firestore, Unconditional};
use fastrand::Rng;
use sqlx::Row;
use std::collections::BTreeMap;

/// Of each kind, about.
const WRITES: usize = 6;

/// Whether some of it is what the old database does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collisions {
    Some,
    None,
}

/// `before`: what the stores hold.
pub async fn write(
    settings: &Settings,
    before: &Stores,
    rng: &mut Rng,
    collisions: Collisions,
) -> Result<()> {
    let firestore = Firestore::connect(&Address::from(&settings.firestore)).await?;
    let mut uids = users(settings, &firestore, before, (rng, collisions)).await?;
    sessions(&firestore, before, &uids, rng).await?;
    if collisions == Collisions::Some {
        uids.push("nobody-has-this".to_string());
    }
    for database in Database::ALL {
        let file = match database {
            Database::Product => sql_file!("chaos/rollbacks/product.sql"),
            Database::Order => sql_file!("chaos/rollbacks/order.sql"),
            Database::Gateway => sql_file!("chaos/rollbacks/gateway.sql"),
        };
        let seed = format!("{:.6}", rng.f64());
        let uids = sql::array(uids.iter().map(String::as_str));
        let values = [("seed", &*seed), ("writes", &*rng.usize(3..=WRITES).to_string()), ("uids", &uids)];
        let mut connection = postgres::connect(settings.target(database), "chaos").await?;
        connection.run(&sql::bind(file, &values)).await?;
        connection.close().await?;
    }
    Ok(())
}

/// New users, changed ones, some who are gone, and one who comes back; returns whom others may name.
async fn users(
    settings: &Settings,
    firestore: &Firestore,
    before: &Stores,
    (rng, collisions): (&mut Rng, Collisions),
) -> Result<Vec<String>> {
    let known = of(before, "users/");
    let mut uids: Vec<String> = Vec::new();
    for _ in 0..rng.usize(1..=3) {
        let uid = format!("uid-{:08x}", rng.u32(..));
        // The e-mail is somebody's already, now and then.
        let email = match rng.u32(..8) {
            0 if collisions == Collisions::Some => "same@example.com".to_string(),
            _ => format!("{uid}@example.com"),
        };
        let mut fields = vec![("firebase_uid", text(&uid)), ("created_at", Value::Time(rng.i64(0..1 << 50)))];
        match rng.u32(..8) {
            0 if collisions == Collisions::Some => {}
            1 if collisions == Collisions::Some => fields.push(("email", Value::Integer(7))),
            _ => fields.push(("email", text(&email))),
        }
        set(firestore, "users", &uid, fields).await?;
        uids.push(uid);
    }
    let mut connection = postgres::connect(&settings.source, "chaos").await?;
    let gone = connection.rows(sql_file!("chaos/rollbacks/deleted_uids.sql").text).await?;
    connection.close().await?;
    if let Some(row) = rng.choice(gone.iter()) {
        let uid: String = row.try_get("uid")?;
        let email = text(&format!("back-{:06x}@example.com", rng.u32(..1 << 24)));
        let created = ("created_at", Value::Time(0));
        set(firestore, "users", &uid, vec![("firebase_uid", text(&uid)), ("email", email), created]).await?;
        uids.push(uid);
    }
    for _ in 0..WRITES {
        let Some((uid, fields)) = rng.choice(known.iter()) else { break };
        let mut fields = (*fields).clone();
        match rng.u32(..4) {
            0 => fields.insert("login_count".into(), Value::Integer(rng.i64(0..1000))),
            1 => fields.insert("status".into(), Value::Null),
            2 => fields.insert("preferences".into(), text("dark")),
            _ => fields.insert("first_name".into(), text("J\u{f6} \"x\",\n")),
        };
        set(firestore, "users", uid, owned(fields)).await?;
        uids.push(uid.clone());
    }
    let leaves: Vec<String> = known.iter().take(200).map(|(uid, _)| uid.clone()).collect();
    if let Some(uid) = rng.choice(leaves.iter()).filter(|uid| !uids.contains(uid)) {
        firestore.delete("users", std::slice::from_ref(uid)).await?;
    }
    Ok(uids)
}

async fn sessions(firestore: &Firestore, before: &Stores, uids: &[String], rng: &mut Rng) -> Result<()> {
    let known = of(before, "user_sessions/");
    for _ in 0..rng.usize(1..=4) {
        let token = format!("token-{:08x}", rng.u32(..));
        let uid = rng.choice(uids.iter()).map_or("nobody", String::as_str);
        let address = text(if rng.bool() { "2001:db8::1" } else { "" });
        let fields = vec![("session_token", text(&token)), ("user_uid", text(uid)), ("ip_address", address)];
        let created = [("is_active", Value::Boolean(true)), ("created_at", Value::Time(1))];
        set(firestore, "user_sessions", &token, fields.into_iter().chain(created).collect()).await?;
    }
    for _ in 0..3 {
        let Some((token, fields)) = rng.choice(known.iter()) else { break };
        if rng.bool() {
            let mut fields = (*fields).clone();
            fields.insert("is_active".into(), Value::Boolean(rng.bool()));
            fields.insert("browser".into(), text(""));
            set(firestore, "user_sessions", token, owned(fields)).await?;
        } else {
            firestore.delete("user_sessions", std::slice::from_ref(token)).await?;
        }
    }
    Ok(())
}

fn of<'s>(stores: &'s Stores, prefix: &str) -> Vec<(String, &'s Fields)> {
    let own =
        stores.documents.iter().filter_map(|(name, f)| Some((name.strip_prefix(prefix)?.to_string(), f)));
    own.collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.to_string())
}

/// The names of fields live as long as the program: they are few.
fn owned(fields: BTreeMap<String, Value>) -> Vec<(&'static str, Value)> {
    fields.into_iter().map(|(name, value)| (&*name.leak(), value)).collect()
}

async fn set(
    firestore: &Firestore,
    collection: &str,
    id: &str,
    fields: Vec<(&'static str, Value)>,
) -> Result<()> {
    firestore.set(collection, &Document { id: id.to_string(), fields }).await
}
