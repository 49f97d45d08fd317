//! What is done with the new databases and the old one after the cut-over: they are hardened, backed up and
//! drilled, and the old one is taken out of service.
//! May import: checks and everything below.

pub mod decommission;
pub mod harden;
pub mod monitor;
pub mod report;
pub mod restore_drill;
pub mod schedule;
pub mod store_backups;
