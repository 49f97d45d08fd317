//! Measurements as JSON has them: instants by RFC 3339, names without blanks.

use jiff::Timestamp;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Seconds since 1970.
pub fn instant<S: Serializer>(seconds: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&of(*seconds)?)
}

pub fn instant_if_any<S: Serializer>(seconds: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    seconds.map(of).transpose()?.serialize(serializer)
}

/// When something ended, and whether it was green.
pub fn ended<S: Serializer>(ended: &Option<(f64, bool)>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Ended {
        at: String,
        green: bool,
    }
    let ended = ended.map(|(at, green)| Ok(Ended { at: of(at)?, green })).transpose()?;
    ended.serialize(serializer)
}

/// By what they are for.
pub fn places<S: Serializer, T: Serialize>(
    places: &BTreeMap<String, T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(places.iter().map(|(name, place)| (name.replace(' ', "_"), place)))
}

fn of<E: Error>(seconds: f64) -> Result<String, E> {
    let at = Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(E::custom)?;
    Ok(format!("{at:.3}"))
}
