//! How a run that was cut came to its end.

use crate::journal::Command as CountedApart;
use crate::lab::chaos::fault::Cut;
use crate::lab::chaos::point::{Point, points};
use crate::steps::Event;
use std::collections::BTreeSet;
use std::process::ExitStatus;

/// How a run that was cut ended.
#[derive(Default)]
pub struct End {
    /// The cuts that met it: those that came too late are not among them.
    pub cuts: Vec<Cut>,
    /// Steps that a cut kept from their end.
    pub steps: BTreeSet<Point>,
    /// How each attempt ended.
    pub how: Vec<String>,
    pub differences: Vec<String>,
    pub gaps: Vec<String>,
}

/// How one call of the tool ended.
pub struct Attempt {
    /// None: it had to be killed, because it did not end.
    pub status: Option<ExitStatus>,
    pub struck: bool,
    /// Its part of the journal, where it came so far.
    pub told: Option<CountedApart>,
}

/// The steps that had begun and were kept from their end.
pub(super) fn not_done(told: &CountedApart) -> impl Iterator<Item = Point> {
    let cut = |event: &Event| !matches!(event, Event::Done | Event::Note);
    points(told).filter(move |(_, event)| cut(event)).map(|(point, _)| point)
}

/// An exit in words.
pub(super) fn described(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "done".into(),
        Some(code) => format!("ended with {code}"),
        None => "killed".into(),
    }
}
