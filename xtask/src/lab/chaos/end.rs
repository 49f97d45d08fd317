//! How a run that was cut came to its end.

use crate::journal::Command as CountedApart;
use crate::lab::chaos::fault::Cut;
use std::collections::BTreeSet;
use std::process::ExitStatus;

/// How a run that was cut ended.
#[derive(Default)]
pub struct End {
    /// The cuts that met it: those that came too late are not among them.
    pub cuts: Vec<Cut>,
    /// Steps that a cut kept from their end.
    pub steps: BTreeSet<String>,
    /// How each attempt ended.
    pub how: Vec<String>,
    pub differences: Vec<String>,
    pub gaps: Vec<String>,
}

/// The steps that had begun and were kept from their end.
pub(super) fn not_done(told: &CountedApart) -> impl Iterator<Item = String> {
    let steps = told.steps.iter().chain([&told.whole]);
    steps.filter(|step| !["done", "note"].contains(&step.event.as_str())).map(|step| step.step.clone())
}

/// An exit in words.
pub(super) fn described(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "done".into(),
        Some(code) => format!("ended with {code}"),
        None => "killed".into(),
    }
}
