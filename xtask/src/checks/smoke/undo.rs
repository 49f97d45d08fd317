//! What takes back what a scenario has made. Noted before it is made: a command that is interrupted is dropped while
//! the answer is still on its way, and the answer alone says the id.

use super::scenario::{Request, Side, captured, filled};
use crate::effects::http::{Answered, Call, Http};
use crate::effects::postgres;
use crate::run::ctx::Ctx;
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::{Context, Result, bail};
use reqwest::Url;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What came back of the request that makes it; `None`: not yet.
pub(super) type Made = watch::Receiver<Option<Result<Answered, String>>>;

/// One thing to take back.
#[derive(Clone)]
pub(super) struct Undo {
    pub http: Http,
    /// Of the request that makes it.
    pub call: Call,
    pub request: Request,
    pub values: BTreeMap<String, Value>,
    pub made: Made,
}

impl Undo {
    pub async fn run(mut self) -> Result<()> {
        let made = self.made.wait_for(Option::is_some).await.map(|made| made.clone());
        let id = &self.call.request_id;
        let answered = match made {
            Ok(Some(Ok(answered))) => answered,
            Ok(Some(Err(why))) => {
                bail!("{}: {why}: whether it was done is not known; its id is {id}", self.request)
            }
            Ok(None) | Err(_) => bail!("{}: its answer is lost; its id is {id}", self.request),
        };
        if !was_made(&answered) {
            return Ok(());
        }
        let Some((call, what)) = self.call_back(&answered)? else { return Ok(()) };
        match self.http.send(&call).await {
            Ok(answered) if was_made(&answered) || answered.status == 404 => Ok(()),
            Ok(answered) => bail!("{what}: status {}", answered.status),
            Err(why) => bail!("{what}: {why}"),
        }
    }

    /// The request that takes it back, and what a person types instead.
    pub fn call_back(&self, answered: &Answered) -> Result<Option<(Call, String)>> {
        let Some((method, path)) = &self.request.undo else { return Ok(None) };
        let mut values = self.values.clone();
        values.extend(captured(&self.request, &answered.body).map_err(anyhow::Error::msg)?);
        let url = self.url(&filled(path, &values))?;
        let typed = by_hand(method.as_str(), url.as_str());
        let call = Call { method: method.clone(), url, body: None, ..self.call.clone() };
        Ok(Some((call, typed)))
    }

    fn url(&self, path: &str) -> Result<Url> {
        self.call.url.join(path).with_context(|| format!("{path} is no path"))
    }
}

pub(super) fn was_made(answered: &Answered) -> bool {
    (200..300).contains(&answered.status)
}

pub(super) fn by_hand(method: &str, url: &str) -> String {
    format!("curl -X {method} -H \"Authorization: Bearer $TOKEN\" {url}")
}

/// The database that the gateway's log is in.
pub(super) fn log_server(ctx: &Ctx, side: Side) -> &Server {
    match side {
        Side::New => &ctx.settings.gateway,
        Side::Old => &ctx.settings.source,
    }
}

fn forgetting(side: Side, request_id: &str) -> String {
    let file = match side {
        Side::New => sql_file!("phases/smoke/forget.sql"),
        Side::Old => sql_file!("phases/smoke/forget_old.sql"),
    };
    sql::bind(file, &[("request_id", request_id)])
}

/// Takes the lines of one flow out of the gateway's log.
pub(super) async fn forget(ctx: Arc<Ctx>, side: Side, request_id: String) -> Result<()> {
    let mut connection = postgres::connect(log_server(&ctx, side), &ctx.purpose("smoke")).await?;
    connection.run(&forgetting(side, &request_id)).await?;
    connection.close().await
}

/// What a person types instead.
pub(super) fn forget_by_hand(ctx: &Ctx, side: Side, request_id: &str) -> String {
    let Server { host, port, user, database, .. } = log_server(ctx, side);
    let statement = forgetting(side, request_id).split_whitespace().collect::<Vec<_>>().join(" ");
    format!("psql -h {host} -p {port} -U {user} {database} -c \"{statement}\"")
}
