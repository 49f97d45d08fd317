//! How far behind the source a run's stores are, and what a cut-over would cost now: as `status` and `monitor` say it.

use crate::effects::clock;
use crate::model::grouped;
use crate::run::manifest::{Manifest, NewestPass};
use crate::shown::{duration, utc};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A run that has been caught up with, and may be cut over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaughtUp {
    /// Passes that have brought something over.
    pub passes: usize,
    /// The instant of the source that the stores hold.
    pub as_of: String,
    pub lag: Lag,
    /// When the newest pass ended, the rows that had changed, and what it took.
    pub ended: String,
    pub rows: u64,
    pub seconds: f64,
    /// For how long a cut-over now would make the source read-only, in seconds; `None`: nothing was measured.
    pub freeze: Option<f64>,
}

/// An instant, in seconds since 1970; as JSON the seconds since then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag(pub f64);

impl Lag {
    /// At an instant. The source's clock may be ahead.
    pub fn at(self, now: f64) -> f64 {
        (now - self.0).max(0.0)
    }
}

impl Serialize for Lag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.at(clock::seconds_now()))
    }
}

impl CaughtUp {
    /// `None`: nobody has caught up with it, or it has been cut over.
    pub fn of(manifest: &Manifest) -> Result<Option<CaughtUp>> {
        let Some(newest) = newest(manifest) else { return Ok(None) };
        let instant: Timestamp =
            newest.as_of.parse().with_context(|| format!("{:?} is no instant", newest.as_of))?;
        Ok(Some(CaughtUp {
            passes: manifest.export.as_ref().map_or(0, |export| export.passes().count()),
            as_of: newest.as_of.clone(),
            lag: Lag(instant.as_microsecond() as f64 / 1e6),
            ended: newest.ended.clone(),
            rows: newest.rows,
            seconds: newest.seconds,
            freeze: newest.freeze(),
        }))
    }

    pub fn text(&self) -> String {
        let CaughtUp { passes, as_of, lag, ended, rows, seconds, freeze } = self;
        let behind = duration(lag.at(clock::seconds_now()));
        let mut out = format!("  the stores hold the source as of {}, {behind} ago\n", utc(as_of));
        out += &format!(
            "  {} with changes; the last ended {}: {} rows, {}\n",
            match passes {
                1 => "1 pass".to_string(),
                n => format!("{n} passes"),
            },
            utc(ended),
            grouped(*rows),
            duration(*seconds)
        );
        out + &freeze.map(to_expect).unwrap_or_default()
    }
}

/// The line about it, as everybody says it.
pub fn to_expect(freeze: f64) -> String {
    format!("  a cut-over now would make the source read-only for about {}\n", duration(freeze))
}

/// The newest pass of a run whose stores no service works on, or did.
pub fn newest(manifest: &Manifest) -> Option<&NewestPass> {
    let open = manifest.cutover.is_none() && manifest.rolled_back.is_empty();
    manifest.newest_pass.as_ref().filter(|_| open)
}
