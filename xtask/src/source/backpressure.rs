//! Polite to the source: while it is busy without us, or its standby falls behind, nothing is exported
//! from it. What the policy allows is compared every two seconds.

use crate::effects::postgres::{self, Connection};
use crate::run::ctx::Ctx;
use crate::settings::Policy;
use crate::{refuse, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::time::Duration;

const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// What the source does beside us.
#[derive(Clone, Copy, Debug)]
struct Load {
    active: u64,
    lag: Duration,
}

/// Why nothing should be read now.
fn too_much(load: Load, policy: &Policy) -> Option<String> {
    let active = policy.max_active_sessions.filter(|allowed| load.active > *allowed);
    let active = active.map(|allowed| format!("{} active sessions (allowed: {allowed})", load.active));
    let lag = policy.max_replication_lag.filter(|allowed| load.lag > *allowed);
    let lag = lag.map(|allowed| {
        format!("a standby is {:.1} s behind (allowed: {} s)", load.lag.as_secs_f64(), allowed.as_secs_f64())
    });
    let why: Vec<String> = active.into_iter().chain(lag).collect();
    (!why.is_empty()).then(|| why.join(", "))
}

/// Does the work, held back while the source is busy.
///
/// # Errors
/// Refuses where this role is not shown what others do; fails where the source cannot be looked at any
/// more.
pub async fn under_backpressure<T>(ctx: &Ctx, work: impl Future<Output = Result<T>>) -> Result<T> {
    let policy = &ctx.settings.policy;
    if let Some(rate) = policy.source_rate {
        ctx.terminal.line(format!("the source is read at {rate} MB/s at most (source rate)"));
    }
    if policy.max_active_sessions.is_none() && policy.max_replication_lag.is_none() {
        return work.await;
    }
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("load")).await?;
    // Before the first row is read.
    look(ctx, &mut connection).await?;
    let watching = async {
        loop {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            if let Err(error) = look(ctx, &mut connection).await {
                return error.context("how busy the source is cannot be seen any more");
            }
        }
    };
    let done = tokio::select! {
        result = work => result,
        error = watching => Err(error),
    };
    // Nobody looks any more who would let the next reader go on.
    ctx.throttle.hold(None);
    done
}

async fn look(ctx: &Ctx, connection: &mut Connection) -> Result<()> {
    let row = connection.row(sql_file!("phases/2-export/load.sql").text).await?;
    if !row.try_get::<bool, _>("sees")? {
        let me = crate::sql_text::ident(&row.try_get::<String, _>("me")?);
        refuse!(
            "{me} is not shown what other sessions of {} do, which max_active_sessions and \
             max_replication_lag need: GRANT pg_read_all_stats TO {me}",
            ctx.settings.source
        );
    }
    let lag = row.try_get::<f64, _>("lag")?.max(0.0);
    let load = Load {
        active: row.try_get::<i64, _>("active")?.try_into()?,
        lag: Duration::try_from_secs_f64(lag).context("the standby's lag")?,
    };
    let why = too_much(load, &ctx.settings.policy);
    let words = why.as_ref().map(|why| format!("the source is busy, reading waits: {why}"));
    if ctx.throttle.hold(why) {
        ctx.terminal.line(words.unwrap_or_else(|| "the source has room again, reading goes on".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datapath::document::NullPolicy;

    #[test]
    fn what_is_above_the_policy_is_too_much() {
        let mut policy = Policy {
            confirm: false,
            emulator: true,
            rehearsal_max_age: None,
            source_encoding: None,
            accepted: Vec::new(),
            max_quarantine: None,
            freeze_roles: Vec::new(),
            source_rate: None,
            max_active_sessions: None,
            max_replication_lag: None,
            null_policy: NullPolicy::Default,
            source_zone: "UTC".into(),
        };
        let load = Load { active: 3, lag: Duration::from_millis(10_500) };
        assert_eq!(too_much(load, &policy), None);
        policy.max_active_sessions = Some(3);
        policy.max_replication_lag = Some(Duration::from_millis(10_500));
        assert_eq!(too_much(load, &policy), None);
        policy.max_active_sessions = Some(2);
        policy.max_replication_lag = Some(Duration::from_secs(10));
        let why = too_much(load, &policy).unwrap();
        assert_eq!(why, "3 active sessions (allowed: 2), a standby is 10.5 s behind (allowed: 10 s)");
    }
}
