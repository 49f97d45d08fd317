//! A point at which the journal says where a run is.

use crate::journal;
use crate::steps::{CommandName, Event, StepName};
use serde::Serialize;
use std::fmt;

/// Where a run can be cut: a command, or a step in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Point {
    Command(CommandName),
    Step(StepName),
}

/// A command and all of its steps, each with what has become of it.
pub fn points(told: &journal::Command) -> impl Iterator<Item = (Point, &Event)> {
    let whole = (Point::Command(told.whole.step.clone()), &told.whole.event);
    told.steps.iter().map(|step| (Point::Step(step.step.clone()), &step.event)).chain([whole])
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Command(command) => command.fmt(f),
            Point::Step(step) => step.fmt(f),
        }
    }
}
