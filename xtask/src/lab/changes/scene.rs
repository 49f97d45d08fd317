//! A round as it is played: the subject is filled and churned, remembered while writers run, changed and looked
//! at again.

use super::judge::{Verdict, judge, not_remembered};
use super::looks::{self, Truth};
use super::maintenance::{self, Maintenance};
use super::operation::{Operation, far, range_of, window};
use super::round::{After, Instant, Older, Round, Shape};
use super::testbed::Testbed;
use super::writers::{Ends, Tally, Writers, add, is_conflict};
use crate::effects::postgres::Connection;
use crate::remembered::TableThen;
use crate::sql_file;
use anyhow::{Context, Result};
use fastrand::Rng;

/// How often a change is tried again that others are in the way of; each try waits for them.
const TRIES: usize = 100;
/// Half of the sparse rounds have one change, the others as many at most.
const SPARSE: usize = 3;

/// Who works on the subject beside us.
struct Beside {
    writers: Option<Writers>,
    maintenance: Maintenance,
    older: Option<Connection>,
    done: Tally,
}

pub async fn play(bed: &Testbed, round: &Round) -> Result<(Verdict, Tally)> {
    let mut rng = Rng::with_seed(round.seed);
    let mut connection = bed.connect().await?;
    let mut beside = Beside::begin(bed, &mut connection, round).await?;
    let recent = before(&mut connection, &beside, round, &mut rng).await?;
    if round.instant == Instant::AtRest {
        beside.stop_writers().await?;
    }
    let nonce = format!("{}-{}", round.number, round.seed);
    let (then, truth) = looks::first(&mut connection, round.shown, &nonce).await.context("the first look")?;
    let verdict = match then {
        Ok(then) => {
            after(bed, &mut connection, &mut beside, round, recent, &mut rng).await?;
            look_again(bed, &mut connection, round, &then, &truth).await?
        }
        Err(why) => not_remembered(round, why),
    };
    connection.close().await?;
    Ok((verdict, beside.stop().await?))
}

async fn look_again(
    bed: &Testbed,
    connection: &mut Connection,
    round: &Round,
    then: &TableThen,
    truth: &Truth,
) -> Result<Verdict> {
    let second = looks::second(bed, connection, then, truth).await.context("the second look")?;
    Ok(judge(round, truth, &second))
}

/// Until shortly before the instant. Returns ids that were written while the older transaction was open.
async fn before(
    connection: &mut Connection,
    beside: &Beside,
    round: &Round,
    rng: &mut Rng,
) -> Result<Option<(i64, i64)>> {
    beside.go_on(round.transactions.0).await?;
    if round.after == After::Busy {
        return Ok(None);
    }
    beside.end(Ends::RolledBack).await;
    let recent = window(rng, round.ids);
    change(connection, Operation::Update, recent, rng).await?;
    Ok(round.older.map(|_| recent))
}

/// From the instant until the second look.
async fn after(
    bed: &Testbed,
    connection: &mut Connection,
    beside: &mut Beside,
    round: &Round,
    recent: Option<(i64, i64)>,
    rng: &mut Rng,
) -> Result<()> {
    if beside.writers.is_none() {
        let ends = if round.after == After::Busy { Ends::InEveryWay } else { Ends::RolledBack };
        beside.writers = Some(Writers::start(&bed.server, round, ends, rng.u64(..)));
    }
    beside.go_on(round.transactions.1).await?;
    if rng.bool() {
        beside.end_older(round.after).await?;
    }
    match round.after {
        After::Busy => {}
        After::Sparse => sparse(connection, round, recent, rng).await?,
        After::Quiet => {
            beside.end_older(round.after).await?;
            beside.stop_writers().await?;
            add(&mut beside.done, maintenance::all(&bed.server, round.shape).await?);
        }
    }
    Ok(())
}

/// Few changes and nothing else: what was just written once more, or a row or a whole range that goes, or what is
/// new.
async fn sparse(
    connection: &mut Connection,
    round: &Round,
    recent: Option<(i64, i64)>,
    rng: &mut Rng,
) -> Result<()> {
    let changes = if rng.bool() { 1 } else { rng.usize(2..=SPARSE) };
    for _ in 0..changes {
        let id = rng.i64(round.ids.0..round.ids.1);
        let (operation, ids) = match (recent, rng.u32(..7)) {
            (Some(recent), 0..3) => (Operation::Update, recent),
            (_, 0 | 3) => (Operation::Delete, (id, id)),
            (_, 1 | 4) => (Operation::Delete, range_of(id)),
            (_, 2 | 5) => (Operation::Insert, (round.ids.1 + 1, round.ids.1 + 3)),
            _ => (Operation::draw(rng), window(rng, round.ids)),
        };
        change(connection, operation, ids, rng).await?;
    }
    Ok(())
}

/// Makes a change, once others let it.
async fn change(
    connection: &mut Connection,
    operation: Operation,
    ids: (i64, i64),
    rng: &mut Rng,
) -> Result<()> {
    let mark = format!("change {}", rng.u32(..));
    connection.run(sql_file!("chaos/changes/hurried.sql").text).await?;
    for tried in 1.. {
        match connection.run(&operation.statement(ids, far(rng), &mark)).await {
            Ok(()) => break,
            Err(error) if is_conflict(&error) && tried < TRIES => {}
            Err(error) => return Err(error.context(format!("{operation:?} of {ids:?}"))),
        }
    }
    connection.run("RESET lock_timeout").await
}

impl Beside {
    async fn begin(bed: &Testbed, connection: &mut Connection, round: &Round) -> Result<Beside> {
        bed.renew(connection, round).await?;
        let older = async |older: Option<Older>| match older {
            Some(older) => bed.older(older).await.map(Some),
            None => Ok(None),
        };
        let first = if round.crowded { older(round.older).await? } else { None };
        bed.fill(connection, round).await?;
        if round.shape == Shape::WithoutKey {
            // Each row twice.
            bed.fill(connection, round).await?;
        }
        let older = if first.is_some() { first } else { older(round.older).await? };
        let writers = Some(Writers::start(&bed.server, round, Ends::InEveryWay, round.seed));
        let maintenance = Maintenance::start(&bed.server, round.shape, round.seed);
        Ok(Beside { writers, maintenance, older, done: Tally::new() })
    }

    async fn go_on(&self, transactions: u64) -> Result<()> {
        match &self.writers {
            Some(writers) => writers.go_on(transactions).await,
            None => Ok(()),
        }
    }

    async fn end(&self, ends: Ends) {
        if let Some(writers) = &self.writers {
            writers.end(ends).await;
        }
    }

    async fn end_older(&mut self, after: After) -> Result<()> {
        if let Some(mut older) = self.older.take() {
            older.run(if after == After::Busy { "COMMIT" } else { "ROLLBACK" }).await?;
            older.close().await?;
        }
        Ok(())
    }

    async fn stop_writers(&mut self) -> Result<()> {
        if let Some(writers) = self.writers.take() {
            add(&mut self.done, writers.stop().await?);
        }
        Ok(())
    }

    async fn stop(mut self) -> Result<Tally> {
        self.stop_writers().await?;
        self.end_older(After::Quiet).await?;
        let Beside { maintenance, mut done, .. } = self;
        add(&mut done, maintenance.stop().await?);
        Ok(done)
    }
}
