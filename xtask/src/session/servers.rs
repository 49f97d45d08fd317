//! What a command says of the servers that it works on.

/// The servers of an environment that a command works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// None, or it finds them by itself.
    None,
    /// Those that run.
    Running,
    /// Those that run; local ones that were asked for are started.
    Started,
}

/// What a command needs of the old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldDatabase {
    /// Nothing: it goes on when that has been decommissioned; or it finds out by itself.
    NotNeeded,
    /// A server to restore it on.
    ItsServer,
    Needed,
}
