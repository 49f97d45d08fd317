//! What every statement is put together from: a file of `sql/`, a quoted name, a quoted value. Pure.

/// A file of `sql/`, compiled in; `path` is relative to `sql/`.
#[derive(Clone, Copy, Debug)]
pub struct SqlFile {
    pub path: &'static str,
    pub text: &'static str,
}

/// Compiles a file of `sql/` in: a missing file fails the build.
#[macro_export]
macro_rules! sql_file {
    ($path:expr) => {
        $crate::sql_text::SqlFile {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/", $path)),
        }
    };
}

/// An identifier, always quoted.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant, whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    if value.contains('\\') {
        format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// `schema.table`, quoted.
pub fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", ident(schema), ident(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
