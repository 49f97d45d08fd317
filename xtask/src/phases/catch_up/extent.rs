//! How much of the source and of the stores a pass looks at.

/// How much a pass looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The changed rows and their dependents; documents are counted.
    Changes,
    /// The same without counting documents: a pass soon after one that has counted them.
    Brief,
    /// The same in a freeze: what is looked at besides is left to the full proof that follows.
    LastPass,
    /// The changed rows and every other: it is an error where the changed rows and their dependents were not all that
    /// differ.
    Audit,
}

impl Extent {
    /// Nothing follows it, and nobody else uses the source.
    pub fn is_last(self) -> bool {
        self == Extent::LastPass
    }

    pub fn counts_documents(self) -> bool {
        matches!(self, Extent::Changes | Extent::Audit)
    }
}
