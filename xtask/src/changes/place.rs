//! Where a table is.

/// A table, by the names that the catalogue has now.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub schema: &'a str,
    pub table: &'a str,
    pub children: Children,
}

/// Whether what inherits from a table belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    Included,
    /// Each is a table of its own: `ONLY`.
    Apart,
}

impl Children {
    /// As it stands before a table's name.
    pub(super) fn keyword(self) -> &'static str {
        match self {
            Children::Included => "",
            Children::Apart => "ONLY ",
        }
    }
}
