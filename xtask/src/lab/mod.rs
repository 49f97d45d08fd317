//! For ourselves: what the migration costs, and whether it survives what is broken on purpose.
//! May import: checks and all below them.

pub mod bench;
pub mod changes;
pub mod chaos;
pub mod compare;
pub mod corruptions;
mod emulator;
pub mod faults;
mod itself;
pub mod live;
pub mod rollbacks;
pub mod shop_services;
mod signal;
pub mod usage;
