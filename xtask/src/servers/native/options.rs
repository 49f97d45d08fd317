//! How a stack is to be started.

/// How to start a stack.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The four PostgreSQL servers, all or none.
    pub postgres: bool,
    pub emulator: EmulatorChoice,
    /// `false` (quicker) where losing the data in a power cut does not matter: in a rehearsal.
    pub fsync: bool,
    /// How many transactions may be prepared at a time; a plain server's 0 otherwise.
    pub prepared_transactions: u32,
}

/// Where the Firestore emulator comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EmulatorChoice {
    Start,
    /// Use a running one (`host:port`); it is asked whether it answers, and left alone at the end.
    Running(String),
    #[default]
    None,
}
