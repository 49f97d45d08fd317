//! The only modules that touch the world: each is thin, and none knows the migration.
//! May import: words, settings, sql.

pub mod chores;
pub mod cleanup;
pub mod clock;
pub mod disk;
pub mod dump;
pub mod host;
pub mod http;
pub mod idle;
pub mod own_sessions;
pub mod postgres;
pub mod process;
pub mod random;
pub mod raw_words;
pub mod secret_file;
pub mod shell;
pub mod silence;
pub mod surroundings;
pub mod terminal;
pub mod throttle;
pub mod tls;
pub mod wait;
pub mod whole;
