//! An environment's settings: `xtask/environments/<env>.toml`, filled in from what the file names:
//! variables, files with secrets, libpq's password and service files. Pure: the world is asked through
//! [`Surroundings`].
//! May import: words.
//!
//! A key is added in three places: its field in `settings/parts.rs`, the line in `settings/file.rs` that reads it, and
//! its row in `docs/environments.md`.

mod afterwards;
mod environment;
mod file;
mod google;
mod libpq;
mod nearest;
mod parts;
mod reader;
mod resolve;
mod secrets;
mod shown;
mod surroundings;
#[cfg(test)]
mod tests;
mod token;
mod values;

pub use crate::forecast::Prices;
pub use afterwards::{Decommission, Limits, Monitor, Worse};
pub use environment::{Environment, Flags, Variables};
pub use file::keys;
pub use nearest::nearest;
pub use parts::{Firestore, Policy, Server, Services, Settings, Tls};
pub use secrets::readable_by_others;
pub use shown::{Entry, Origin, Shown};
pub use surroundings::{Found, Surroundings};
pub use values::{human, span};
