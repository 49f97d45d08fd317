//! For ourselves: what the migration costs, and whether it survives what is broken on purpose.
//! May import: everything but commands and the command line.

pub mod bench;
pub mod chaos;
pub mod compare;
pub mod faults;
pub mod usage;
