//! Whether the services have begun to write: it decides what an unexpected row means.

/// Who owns unexpected rows in a target (DESIGN rule 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverState {
    /// Only this tool has written: they are damage.
    Before,
    /// The services: their work is counted. What is missing is lost, then as before: whether a service
    /// meant to delete it cannot be seen.
    After,
}
