//! A file of `sql/` as text for a server: without comments, its `\ir` lines followed, its variables filled in.

use crate::sql_text::{SqlFile, ident, literal};
use crate::tables::Table;
use anyhow::{Context, Result};

/// The file's text with its `\ir` lines replaced by the files that they name.
pub(super) fn included(tables: &[Table], file: SqlFile) -> Result<String> {
    let mut text = String::with_capacity(file.text.len() * 2);
    for line in code(file.text).lines() {
        match line.trim().strip_prefix("\\ir ") {
            Some(path) => {
                let wanted = relative(file.path, path.trim());
                let file = tables
                    .iter()
                    .flat_map(|t| [t.export, t.audit].into_iter().chain(t.fragments.iter().copied()))
                    .find(|f| f.path == wanted)
                    .with_context(|| {
                        format!("sql/{}: no table has a file {wanted} for {}", file.path, line.trim())
                    })?;
                text.push_str(&included(tables, file)?);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    Ok(text)
}

/// A file's text without its comments: they may hold signs that a source in another encoding than UTF-8
/// does not take. For our files: they have neither escapes in strings nor other quotes.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut quoted, mut rest) = (false, text);
    while let Some(at) = rest.find(['\'', '-']) {
        let comment = !quoted && rest[at..].starts_with("--");
        quoted ^= rest[at..].starts_with('\'');
        let (before, after) = rest.split_at(if comment { at } else { at + 1 });
        out.push_str(before);
        rest = if comment { after.find('\n').map_or("", |end| &after[end..]) } else { after };
    }
    out.push_str(rest);
    out
}

/// `tables/orders/2-export.sql` + `../users/2-export.sql` = `tables/users/2-export.sql`.
fn relative(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// A file with psql's variables set: `:'name'` becomes a constant, `:"name"` an identifier, `:name` the
/// text as it is (numbers only).
pub fn bind(file: SqlFile, values: &[(&str, &str)]) -> String {
    let text = code(file.text);
    let (mut out, mut rest) = (String::with_capacity(text.len() * 2), &text[..]);
    // Once from left to right: what a value holds is not looked at again.
    while let Some(at) = rest.find(':') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(kind) = after.strip_prefix(':') {
            out.push_str("::");
            rest = kind;
        } else if let Some((value, length)) = variable(after, values) {
            out.push_str(&value);
            rest = &after[length..];
        } else {
            out.push(':');
            rest = after;
        }
    }
    out + rest
}

/// The value of the variable that the text begins with, quoted as it asks for, and the length of its name.
fn variable(text: &str, values: &[(&str, &str)]) -> Option<(String, usize)> {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    for (mark, quoted) in [('\'', literal as fn(&str) -> String), ('"', ident)] {
        if let Some(rest) = text.strip_prefix(mark) {
            let name = &rest[..rest.find(mark)?];
            return Some((quoted(value(name)?), name.len() + 2));
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    Some((value(&text[..end])?.to_string(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_holds_is_not_a_variable() {
        let file = SqlFile { path: "x.sql", text: "SELECT :a, :\"a\", :'b', :ab, x::b" };
        let bound = bind(file, &[("a", "\":b\""), ("b", "it's :a")]);
        assert_eq!(bound, "SELECT \":b\", \"\"\":b\"\"\", 'it''s :a', :ab, x::b");
    }

    #[test]
    fn comments_go_and_strings_stay() {
        assert_eq!(code("a -- it's\nb '--' - c--\n'x''--y' -- z"), "a \nb '--' - c\n'x''--y' ");
    }

    #[test]
    fn variables_are_quoted() {
        let file = SqlFile { path: "x", text: "SELECT :'t', :\"t\" LIMIT :n" };
        assert_eq!(bind(file, &[("t", "a'b"), ("n", "3")]), "SELECT 'a''b', \"a'b\" LIMIT 3");
    }
}
