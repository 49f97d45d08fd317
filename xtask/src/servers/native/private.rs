//! Private directories with a lock, for others that leave things running.

pub use super::emulator::answers;
pub use super::home::{is_ours, locked_directory, private_file as file, remove};
pub use super::leftovers::{Lock, is_older, lock};
pub use super::machine::{entries, temp_roots};
