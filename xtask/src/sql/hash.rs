//! The hash of a row, as SQL: the same on both sides, and one-to-one with the row's values: two values
//! with different texts have different hashes.
//!
//! What was learnt: nearly all of a digest's cost is a row's text, half of that is quoting; hashing the
//! bytes that PostgreSQL sends of a value is twice as fast. Its hashes of the values themselves are not
//! to be used: that of a number does not see its sign, NULL and NaN are alike, and 64 bits of an integer
//! or a time stamp are folded to 32. Nor are the bytes of arrays and records, which hold the server's own
//! numbers of types, nor text under its column's collation, which may ignore case: they are hashed as
//! text under "C". And PostgreSQL's hash of a row is linear in its columns' hashes: summed as it is, it
//! would not see two rows with a column exchanged. So it is hashed once more.

use crate::model::Column;
use crate::sql_text::ident;
use serde::{Deserialize, Serialize};

/// Which hash a run uses; the manifest names it (DESIGN rule 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashFn {
    /// PostgreSQL's own (14 and newer) of every value's bytes, the fastest. Its result depends on the
    /// server's encoding and is not promised to be the same in every major version.
    ValueBytes,
    /// The first 64 bits of the MD5 of the text in UTF-8: the same on every server.
    Md5Utf8,
    /// The same of the bytes as they are, where their encoding is not known: for the source alone.
    Md5Bytes,
    /// What earlier versions of this tool used: it does not see a number's sign. Digests that were taken
    /// with it prove nothing.
    HashRecordExtended,
}

impl HashFn {
    /// `servers`: each one's major version and encoding.
    pub fn for_servers<'a>(servers: impl IntoIterator<Item = (u32, &'a str)>) -> HashFn {
        let mut servers = servers.into_iter();
        let first = servers.next();
        let same = servers.all(|s| Some(s) == first);
        if same && first.is_none_or(|(major, encoding)| major >= 14 && encoding == "UTF8") {
            HashFn::ValueBytes
        } else {
            HashFn::Md5Utf8
        }
    }

    /// For whole rows of the source as they are, beside a run that uses this hash: text that does not
    /// convert has a digest, too. For UTF-8 the bytes are what would be converted to.
    pub fn for_raw(self, encoding: &str) -> HashFn {
        match (self, encoding) {
            (HashFn::Md5Utf8, "UTF8" | "SQL_ASCII") => HashFn::Md5Bytes,
            _ => self,
        }
    }

    /// Whether equal digests mean equal rows.
    pub fn is_exact(self) -> bool {
        self != HashFn::HashRecordExtended
    }

    /// Whether every server computes it alike, whatever its version and encoding.
    pub fn is_portable(self) -> bool {
        matches!(self, HashFn::Md5Utf8 | HashFn::Md5Bytes)
    }

    /// The SQL expression (bigint) for a text expression.
    pub fn of_text(self, text: &str) -> String {
        match self {
            HashFn::ValueBytes | HashFn::HashRecordExtended => {
                format!("hashtextextended({text} COLLATE \"C\", 0)")
            }
            HashFn::Md5Utf8 => {
                format!("('x' || substr(md5(convert_to({text}, 'UTF8')), 1, 16))::bit(64)::bigint")
            }
            HashFn::Md5Bytes => format!("('x' || substr(md5({text}), 1, 16))::bit(64)::bigint"),
        }
    }

    /// The SQL expression (bigint) for these columns of `alias`, which have the given types or ones that
    /// are cast to them.
    pub fn of_row(self, alias: &str, columns: &[Column]) -> String {
        let values = columns.iter().map(|c| (format!("{alias}.{}", ident(&c.name)), c.kind.as_str()));
        self.of_values(values)
    }

    /// The same for expressions, each with the type that is hashed.
    pub fn of_values<'k>(self, values: impl IntoIterator<Item = (String, &'k str)>) -> String {
        let list = |hashed: fn(&str, &str) -> String| {
            values.into_iter().map(|(value, kind)| hashed(&value, kind)).collect::<Vec<_>>().join(", ")
        };
        match self {
            HashFn::ValueBytes | HashFn::HashRecordExtended => {
                self.of_text(&format!("hash_record_extended(ROW({}), 0)::text", list(bytes)))
            }
            // Not a row's text: whether that quotes a value is decided byte by byte by the server's locale.
            HashFn::Md5Utf8 | HashFn::Md5Bytes => {
                self.of_text(&format!("ARRAY[{}]::text[]::text", list(exact_text)))
            }
        }
    }
}

/// The bytes of a value where they are its own, else its text.
fn bytes(value: &str, kind: &str) -> String {
    match kind {
        "int2" | "int4" | "int8" => format!("int8send({value}::int8)"),
        // One without zone has got one by now.
        "timestamptz" | "timestamp" => format!("timestamptz_send({value}::timestamptz)"),
        // Its sign, its digits and its scale; NaN and infinity are values of their own.
        "numeric" => format!("numeric_send({value}::numeric)"),
        "float4" | "float8" => format!("{kind}send({value}::{kind})"),
        "bool" => format!("boolsend({value}::bool)"),
        "inet" => format!("inet_send({value}::inet)"),
        _ => exact_text(value, kind),
    }
}

fn exact_text(value: &str, kind: &str) -> String {
    match kind {
        // A cast to text would drop the blanks at its end.
        "char" | "bpchar" => format!("textin(bpcharout({value}::bpchar)) COLLATE \"C\""),
        _ => format!("{value}::text COLLATE \"C\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_differ_get_the_portable_hash() {
        assert_eq!(HashFn::for_servers([(15, "UTF8"), (15, "UTF8")]), HashFn::ValueBytes);
        assert_eq!(HashFn::for_servers([(15, "UTF8"), (16, "UTF8")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(15, "LATIN1"), (15, "UTF8")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(15, "LATIN1"), (15, "LATIN1")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(13, "UTF8"), (13, "UTF8")]), HashFn::Md5Utf8);
    }
}
