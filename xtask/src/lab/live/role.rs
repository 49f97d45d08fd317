//! The role as which the shop's clients log in to the old database.

use crate::effects::postgres::{self, Connection};
use crate::settings::{Server, Settings};
use crate::{sql, sql_file};
use anyhow::Result;
use secrecy::ExposeSecret;

/// The role of the clients, which a freeze keeps from logging in where the environment's `freeze_roles` name it.
pub const SHOP: &str = "live_shop";

/// Makes that role, which may write to every table.
pub async fn role_of_the_shop(settings: &Settings) -> Result<()> {
    let mut connection = make_role(settings, SHOP).await?;
    connection.run(&sql::bind(sql_file!("live/rights.sql"), &[("role", SHOP)])).await?;
    connection.close().await
}

/// The old database, as its clients enter it.
pub fn as_shop(settings: &Settings) -> Server {
    Server { user: SHOP.to_string(), ..settings.source.clone() }
}

/// A role of the old database with the password of the tool's own. Returns the session that has made it.
pub async fn make_role(settings: &Settings, role: &str) -> Result<Connection> {
    let mut connection = postgres::connect(&settings.source, "rehearse").await?;
    let password = settings.source.password.expose_secret();
    connection.run_secret("creating the role of a service", &sql::create_role(role, password)).await?;
    Ok(connection)
}
