//! One scenario, step by step. The first step that fails ends it; what was made until then is taken back.

use super::result::{Checked, Verdict};
use super::scenario::{Request, Rows, Scenario, Side, Step, What, captured, filled, filled_json, plain};
use super::undo::{self, Undo};
use super::world::World;
use super::{logs, masking};
use crate::effects::cleanup::Pending;
use crate::effects::http::{Answered, Call};
use crate::effects::postgres::{self, Connection};
use crate::effects::wait::{self, Patience, State};
use crate::model::Service;
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::Result;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long what was answered may take to be seen in its database: some gateways write their log later.
const SEEN: Patience = Patience { deadline: Duration::from_secs(5), interval: Duration::from_millis(50) };

struct Flow<'a> {
    world: &'a World<'a>,
    scenario: &'a Scenario,
    request_id: String,
    values: BTreeMap<String, Value>,
    checks: Vec<Checked>,
    /// What has been made, each with what a person types to take it back; noted to be undone unless it is kept.
    made: Vec<(Option<Pending>, String)>,
    /// What was looked for in databases, and must not be there in the end.
    looked: Vec<Looked>,
}

/// Rows in a database.
#[derive(Clone)]
struct Looked {
    name: String,
    server: Server,
    /// 1 while it is there.
    query: String,
    /// 0 once it is not.
    gone: String,
}

/// The checks, and what was left there.
pub(super) async fn run(world: &World<'_>, scenario: &Scenario) -> Result<(Vec<Checked>, Vec<String>)> {
    let mut flow = Flow::begin(world, scenario);
    let played = flow.play().await;
    // Also where we could not look any further.
    let cleaned = flow.end().await;
    if let (Err(_), Some(Checked { why: Some(why), .. })) = (&played, flow.checks.last()) {
        // Nobody sees the checks then.
        world.ctx.terminal.warn(why);
    }
    played?;
    Ok((flow.checks, cleaned?))
}

impl<'a> Flow<'a> {
    fn begin(world: &'a World<'a>, scenario: &'a Scenario) -> Flow<'a> {
        let request_id = format!("{}-{}", world.id, scenario.name);
        // The column holds no more.
        let request_id: String = request_id.chars().take(100).collect();
        let mark = format!("made by {request_id}");
        let values = [("request_id", request_id.clone()), ("mark", mark)];
        let values = values.map(|(name, value)| (name.to_string(), Value::from(value))).into_iter().collect();
        let (checks, made, looked) = Default::default();
        let mut flow = Flow { world, scenario, request_id, values, checks, made, looked };
        if scenario.asks(Service::Gateway) {
            flow.forget_at_the_end();
        }
        flow
    }

    /// The first to be noted, so the last to be undone: taking back is logged as well.
    fn forget_at_the_end(&mut self) {
        let (ctx, side) = (self.world.ctx.clone(), self.world.plan.side);
        let id = self.request_id.clone();
        let by_hand = undo::forget_by_hand(&ctx, side, &id);
        let pending = (!self.world.plan.keep).then(|| {
            let forget = move || undo::forget(ctx.clone(), side, id.clone());
            self.world.cleanup.add("what the gateway has logged of smoke is there", by_hand.clone(), forget)
        });
        self.made.push((pending, by_hand));
    }

    async fn play(&mut self) -> Result<()> {
        let side = self.world.plan.side;
        let mut ended: Option<String> = None;
        for step in self.scenario.steps.iter().filter(|step| step.only.is_none_or(|only| only == side)) {
            let blank = Checked::new(&self.scenario.name, &step.name);
            let checked = match &ended {
                Some(why) => blank.not_looked_at(why.clone()),
                None => Box::pin(self.step(step, blank)).await?,
            };
            let goes_on = checked.verdict == Verdict::Pass || matches!(step.what, What::Log(..));
            if ended.is_none() && !goes_on {
                ended = Some(format!("it comes after `{}`", step.name));
            }
            self.checks.push(checked);
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step, blank: Checked) -> Result<Checked> {
        match &step.what {
            What::Request(request) => self.request(request, blank).await,
            What::Rows(rows, with) => self.rows(*rows, with, &step.name, blank).await,
            What::Log(service, holds) => self.log(*service, holds, blank).await,
        }
    }

    async fn request(&mut self, request: &Request, blank: Checked) -> Result<Checked> {
        let url = match self.world.silent.get(&request.service) {
            Some(why) => Err(why.clone()),
            None => self.world.url(request.service, &filled(&request.path, &self.values)),
        };
        let url = match url {
            Ok(url) => url,
            Err(why) => return Ok(blank.not_looked_at(why)),
        };
        let call = Call {
            method: request.method.clone(),
            url,
            request_id: self.request_id.clone(),
            token: self.world.plan.token.clone().filter(|_| request.token),
            body: request.body.as_ref().map(|body| filled_json(body, &self.values).to_string()),
        };
        let began = Instant::now();
        let answered = match request.undo {
            Some(_) => self.made_by(request, call).await?,
            None => self.world.http.send(&call).await,
        };
        let checked = blank.took(began.elapsed());
        Ok(match self.judged(request, &answered, checked) {
            checked if checked.verdict == Verdict::Fail => {
                checked.log(logs::last(self.world, request.service, Some(&self.request_id)).await)
            }
            checked => checked,
        })
    }

    /// The status that is wanted, and the values that the next steps need.
    fn judged(
        &mut self,
        request: &Request,
        answered: &Result<Answered, String>,
        checked: Checked,
    ) -> Checked {
        let answered = match answered {
            Ok(answered) => answered,
            Err(why) if request.undo.is_some() => {
                let id = &self.request_id;
                return checked
                    .fails(format!("{request}: {why}: whether it was done is not known; its id is {id}"));
            }
            Err(why) => return checked.fails(format!("{request}: {why}")),
        };
        let checked = checked.status(Some(answered.status));
        let shown = masking::body(&answered.body, self.world.plan.token.as_ref());
        if answered.status != request.status {
            let why = format!("{request}: status {} expected, {} found", request.status, answered.status);
            return checked.fails(why).response(shown);
        }
        match captured(request, &answered.body) {
            Ok(values) => {
                self.values.extend(values);
                checked
            }
            Err(why) if request.undo.is_some() => {
                let id = &self.request_id;
                let why =
                    format!("{why}: it was done, and cannot be taken back without that; its id is {id}");
                checked.fails(why).response(shown)
            }
            Err(why) => checked.fails(why).response(shown),
        }
    }

    /// Sends what makes something. Its undoing is noted before: on a task of its own, so that the answer is there
    /// also for whoever undoes it once this has been dropped.
    async fn made_by(&mut self, request: &Request, call: Call) -> Result<Result<Answered, String>> {
        let (told, made) = watch::channel(None);
        let undo = Undo {
            http: self.world.http.clone(),
            call: call.clone(),
            request: request.clone(),
            values: self.values.clone(),
            made: made.clone(),
        };
        let cleanup = self.world.cleanup;
        let note = |by_hand: String| {
            let undo = undo.clone();
            (!self.world.plan.keep)
                .then(|| cleanup.add("what smoke has made is there", by_hand, move || undo.clone().run()))
        };
        let unknown = request.undo.as_ref().map(|(method, path)| undo::by_hand(method.as_str(), path));
        let before = note(unknown.unwrap_or_default());
        let http = self.world.http.clone();
        let sent = tokio::spawn(async move { told.send_replace(Some(http.send(&call).await)) });
        sent.await?;
        let answered = made.borrow().clone().unwrap_or_else(|| Err("its answer is lost".to_string()));
        let back = match &answered {
            Ok(answered) if undo::was_made(answered) => undo.call_back(answered).ok().flatten(),
            _ => None,
        };
        if let Some((_, by_hand)) = back {
            let pending = note(by_hand.clone());
            if pending.is_none() {
                // Now: an interruption leaves nothing else that says it.
                self.world.ctx.terminal.line(format!("kept; what takes it away: {by_hand}"));
            }
            self.made.push((pending, by_hand));
        }
        before.into_iter().for_each(|pending| cleanup.keep(pending));
        Ok(answered)
    }

    async fn rows(
        &mut self,
        rows: Rows,
        with: &BTreeMap<String, String>,
        name: &str,
        blank: Checked,
    ) -> Result<Checked> {
        let looked = self.place(rows, with, name);
        let began = Instant::now();
        let mut connection = postgres::connect(&looked.server, &self.world.ctx.purpose("smoke")).await?;
        let state = wait::until(SEEN, async || {
            let found = count(&mut connection, &looked.query).await?;
            Ok(if found == 1 { State::Ready(()) } else { State::NotYet(found) })
        });
        let state = state.await?;
        connection.close().await?;
        let checked = blank.took(began.elapsed());
        self.looked.push(looked.clone());
        let State::NotYet(found) = state else { return Ok(checked) };
        let query = looked.query.split_whitespace().collect::<Vec<_>>().join(" ");
        let why = format!("1 row expected in {}, {found} found: {query}", looked.server);
        Ok(checked.fails(why).log(logs::last(self.world, service(rows), Some(&self.request_id)).await))
    }

    fn place(&self, rows: Rows, with: &BTreeMap<String, String>, name: &str) -> Looked {
        let (settings, side) = (&self.world.ctx.settings, self.world.plan.side);
        let file = match (rows, side) {
            (Rows::Order, _) => sql_file!("phases/smoke/order.sql"),
            (Rows::Review, _) => sql_file!("phases/smoke/review.sql"),
            (Rows::Log, Side::New) => sql_file!("phases/smoke/log.sql"),
            (Rows::Log, Side::Old) => sql_file!("phases/smoke/log_old.sql"),
        };
        let gone = match rows {
            Rows::Order => sql_file!("phases/smoke/gone_order.sql"),
            Rows::Review => sql_file!("phases/smoke/gone_review.sql"),
            Rows::Log => file,
        };
        let server = match (rows, side) {
            (_, Side::Old) => &settings.source,
            (Rows::Order, Side::New) => &settings.order,
            (Rows::Review, Side::New) => &settings.product,
            (Rows::Log, Side::New) => &settings.gateway,
        };
        let mut values: BTreeMap<&str, String> =
            self.values.iter().map(|(name, value)| (name.as_str(), plain(value))).collect();
        values.extend(with.iter().map(|(name, text)| (name.as_str(), filled(text, &self.values))));
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Looked {
            name: name.to_string(),
            server: server.clone(),
            query: sql::bind(file, &values),
            gone: sql::bind(gone, &values),
        }
    }

    async fn log(&mut self, service: Service, holds: &str, blank: Checked) -> Result<Checked> {
        let began = Instant::now();
        let lines = match logs::lines(self.world, service).await {
            Ok(Some(lines)) => lines,
            Ok(None) => {
                return Ok(blank.not_looked_at(format!(
                    "nobody says where its log is: [services.logs] {} = \"path\", or {0} = \"container:NAME\"",
                    service.key()
                )));
            }
            Err(error) => return Ok(blank.fails(format!("{error:#}"))),
        };
        let checked = blank.took(began.elapsed());
        if lines.iter().any(|line| line.contains(holds)) {
            return Ok(checked);
        }
        let why = format!("no line of the log of {service} holds {holds:?} ({} lines)", lines.len());
        Ok(checked.fails(why).log(logs::last(self.world, service, None).await))
    }

    /// Takes back what was made, the last first, and looks whether it is gone. Returns what is left there on purpose.
    async fn end(&mut self) -> Result<Vec<String>> {
        if self.world.plan.keep {
            return Ok(self.made.drain(..).rev().map(|(_, by_hand)| by_hand).collect());
        }
        let began = Instant::now();
        let log = usize::from(self.scenario.asks(Service::Gateway));
        let (made, mut wrong) = (self.made.len() - log, Vec::new());
        for (pending, by_hand) in self.made.drain(..).rev() {
            let Some(pending) = pending else { continue };
            if let Err(error) = self.world.cleanup.undo(pending).await {
                // Said here, with the command; not a second time at the end of the process.
                self.world.cleanup.keep(pending);
                wrong.push(format!("{error:#}; undo it with `{by_hand}`"));
            }
        }
        for looked in std::mem::take(&mut self.looked) {
            let mut connection = postgres::connect(&looked.server, &self.world.ctx.purpose("smoke")).await?;
            let found = count(&mut connection, &looked.gone).await?;
            connection.close().await?;
            if found != 0 {
                wrong.push(format!("`{}`: {found} rows are still in {}", looked.name, looked.server));
            }
        }
        let checked = Checked::new(&self.scenario.name, "what it made is taken back").took(began.elapsed());
        match (made, wrong.is_empty()) {
            (0, true) => {}
            (_, true) => self.checks.push(checked),
            (_, false) => self.checks.push(checked.fails(wrong.join("; "))),
        }
        Ok(Vec::new())
    }
}

async fn count(connection: &mut Connection, query: &str) -> Result<i64> {
    Ok(sqlx::Row::try_get(&connection.row(query).await?, "found")?)
}

/// Whose rows they are.
fn service(rows: Rows) -> Service {
    match rows {
        Rows::Order => Service::Order,
        Rows::Review => Service::Product,
        Rows::Log => Service::Gateway,
    }
}
