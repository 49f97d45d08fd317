//! What every statement is put together from: a file of `sql/`, a quoted name, a quoted value. Pure.

use crate::shown::is_unsafe;

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

/// An identifier, always quoted; in one line.
pub fn ident(name: &str) -> String {
    if !name.contains(is_unsafe) {
        return format!("\"{}\"", name.replace('"', "\"\""));
    }
    let escape = |c: char| match c {
        '"' => "\"\"".to_string(),
        '\\' => "\\\\".to_string(),
        c if is_unsafe(c) => format!("\\{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("U&\"{}\"", name.chars().map(escape).collect::<String>())
}

/// A string constant, whatever `standard_conforming_strings` says; in one line, and without signs that a
/// terminal obeys: people read statements before they are made.
pub fn literal(value: &str) -> String {
    if !value.contains(|c| c == '\\' || is_unsafe(c)) {
        return format!("'{}'", value.replace('\'', "''"));
    }
    let escape = |c: char| match c {
        '\'' => "''".to_string(),
        '\\' => "\\\\".to_string(),
        '\n' => "\\n".to_string(),
        '\r' => "\\r".to_string(),
        '\t' => "\\t".to_string(),
        c if is_unsafe(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("E'{}'", value.chars().map(escape).collect::<String>())
}

/// A string constant, or NULL.
pub fn nullable(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_string(), literal)
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
        assert_eq!(literal("a\n\u{1b}\u{202e}'"), r"E'a\n\u001b\u202e'''");
        assert_eq!(ident("a\n\"\\"), r#"U&"a\000a""\\""#);
        assert_eq!(nullable(None), "NULL");
    }
}
