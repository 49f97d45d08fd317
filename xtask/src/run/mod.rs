//! A run and its files: its directory, manifest, journal, locks and report.
//! May import: effects, sql, settings, words.

pub mod brief;
pub mod command;
pub mod ctx;
pub mod dir;
pub mod freeze_log;
pub mod join;
pub mod journal_file;
pub mod lines;
pub mod lock;
pub mod lock_waits;
pub mod manifest;
pub mod overlay;
pub mod pass;
pub mod permits;
pub mod privileges;
pub mod properties;
pub mod rehearsal_log;
pub mod report;
pub mod sequence;
pub mod servers;
mod source_check;
pub mod statements;
pub mod status;
pub mod taken_over;
pub mod terms;
