//! What is to be looked at, and what a look at one server comes to.

use crate::health::Line;
use crate::model::ServerInfo;

/// What is to be looked at beside what every migration needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Also what holding the source back needs.
    pub freeze: bool,
    /// Also what the way back needs.
    pub rollback: bool,
}

/// What was found of one server.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub lines: Vec<Line>,
    /// `None`: it could not be reached.
    pub info: Option<ServerInfo>,
}
