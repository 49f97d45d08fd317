//! The only modules that touch the world: each is thin, and none knows the migration.
//! Docker's engine gets its place here (`docker.rs`, on bollard) with the containers.

pub mod cleanup;
pub mod disk;
pub mod dump;
pub mod faults;
pub mod firestore;
pub mod host;
pub mod native;
pub mod postgres;
pub mod process;
pub mod surroundings;
pub mod terminal;
pub mod throttle;
pub mod usage;
