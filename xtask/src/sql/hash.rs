//! The hash of a row, as SQL: the same on both sides.
//!
//! What was learnt: nearly all of a digest's cost is a row's text, half of that is quoting. Hashing the
//! values is twice as fast. But two values that are equal can have different texts (an array's bounds,
//! a number in JSON), so all types but those with one text a value are hashed by their text; 1.0 and
//! 1.00 are told apart by their scale. And
//! PostgreSQL's hash of a row is linear in its columns' hashes: summed as it is, it would not see two
//! rows with a column exchanged. So it is hashed once more.

use crate::model::Column;
use crate::sql_text::ident;
use serde::{Deserialize, Serialize};

/// Which hash a run uses; the manifest names it (DESIGN rule 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashFn {
    /// PostgreSQL's own (14 and newer), the fastest. Its result depends on the server's encoding and is
    /// not promised to be the same in every major version.
    HashRecordExtended,
    /// The first 64 bits of the MD5 of the text in UTF-8: the same on every server.
    Md5Utf8,
    /// The same of the bytes as they are, where their encoding is not known: for the source alone.
    Md5Bytes,
}

impl HashFn {
    /// `servers`: each one's major version and encoding.
    pub fn for_servers<'a>(servers: impl IntoIterator<Item = (u32, &'a str)>) -> HashFn {
        let mut servers = servers.into_iter();
        let first = servers.next();
        let same = servers.all(|s| Some(s) == first);
        if same && first.is_none_or(|(major, encoding)| major >= 14 && encoding == "UTF8") {
            HashFn::HashRecordExtended
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

    /// The SQL expression (bigint) for a text expression.
    pub fn of_text(self, text: &str) -> String {
        match self {
            HashFn::HashRecordExtended => format!("hashtextextended({text}, 0)"),
            HashFn::Md5Utf8 => {
                format!("('x' || substr(md5(convert_to({text}, 'UTF8')), 1, 16))::bit(64)::bigint")
            }
            HashFn::Md5Bytes => format!("('x' || substr(md5({text}), 1, 16))::bit(64)::bigint"),
        }
    }

    /// The SQL expression (bigint) for these columns of `alias`. Types are those that the columns have
    /// in the source, on both sides.
    pub fn of_row(self, alias: &str, columns: &[Column]) -> String {
        let name = |c: &Column| format!("{alias}.{}", ident(&c.name));
        let list =
            |value: &dyn Fn(&Column) -> String| columns.iter().map(value).collect::<Vec<_>>().join(", ");
        match self {
            HashFn::HashRecordExtended => {
                let values = list(&|c| hashed(&name(c), &c.kind));
                self.of_text(&format!("hash_record_extended(ROW({values}), 0)::text"))
            }
            // Not a row's text: whether that quotes a value is decided byte by byte by the server's locale.
            HashFn::Md5Utf8 | HashFn::Md5Bytes => {
                let texts = list(&|c| format!("{}::text", name(c)));
                self.of_text(&format!("ARRAY[{texts}]::text"))
            }
        }
    }
}

/// What is hashed of a value: itself where equal values have one text, else its text.
fn hashed(name: &str, kind: &str) -> String {
    match kind {
        "int2" | "int4" | "int8" => format!("{name}::int8"),
        // One without zone has got one by now.
        "timestamptz" | "timestamp" => format!("{name}::timestamptz"),
        "bool" | "inet" => format!("{name}::{kind}"),
        // Its text is its value and its scale; NaN has none, and is not NULL itself.
        "numeric" => format!("{name}::numeric, scale({name}::numeric)"),
        _ => format!("{name}::text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_differ_get_the_portable_hash() {
        assert_eq!(HashFn::for_servers([(15, "UTF8"), (15, "UTF8")]), HashFn::HashRecordExtended);
        assert_eq!(HashFn::for_servers([(15, "UTF8"), (16, "UTF8")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(15, "LATIN1"), (15, "UTF8")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(15, "LATIN1"), (15, "LATIN1")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(13, "UTF8"), (13, "UTF8")]), HashFn::Md5Utf8);
    }
}
