//! The guide's checklists and troubleshooting as data, each line with what shows that it is done, or what is wrong
//! and what repairs it.
//! May import: operations and all below them.

mod afterwards;
pub mod by_hand;
pub mod checklist;
mod evidence;
mod facts;
pub mod items;
mod masked;
pub mod mentions;
pub mod service_settings;
pub mod troubleshoot;
