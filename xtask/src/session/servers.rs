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
