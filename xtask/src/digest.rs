//! Digests of rows: order-independent sums of a 64-bit hash of each row, taken in SQL on both sides. A
//! sum, not xor: xor cancels pairs. 64 bits are enough against damage, which is not chosen by an
//! adversary; sums are 128 bits wide and cannot overflow.
//!
//! What was learnt: nearly all of a digest's cost is a row's text, half of that is quoting. Hashing the
//! values is twice as fast. But two values that are equal can have different texts (an array's bounds,
//! a number in JSON), so all types but those with one text a value are hashed by their text; 1.0 and
//! 1.00 are told apart by their scale. And
//! PostgreSQL's hash of a row is linear in its columns' hashes: summed as it is, it would not see two
//! rows with a column exchanged. So it is hashed once more.

use crate::model::Column;
use crate::sql::ident;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which hash a run uses; the manifest names it (DESIGN rule 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashFn {
    /// PostgreSQL's own (14 and newer), the fastest. Its result depends on the server's encoding and is
    /// not promised to be the same in every major version.
    HashRecordExtended,
    /// The first 64 bits of the MD5 of the text in UTF-8: the same on every server.
    Md5Utf8,
    /// The same of the bytes as they are, where nobody vouches for their encoding: for the source alone.
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

/// Rows and digest of one bucket of ids, or of a whole table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    pub rows: u64,
    /// The sum of the rows' hashes.
    #[serde(with = "as_text")]
    pub sum: i128,
}

impl Digest {
    /// As PostgreSQL returns it: `sum` is NULL where there is no row.
    pub fn new(rows: i64, sum: Option<&str>) -> anyhow::Result<Digest> {
        let sum = match sum {
            Some(text) => text.parse().map_err(|e| anyhow::anyhow!("not a digest: {text:?}: {e}"))?,
            None => 0,
        };
        Ok(Digest { rows: rows.try_into()?, sum })
    }

    pub fn add(&mut self, other: Digest) {
        self.rows += other.rows;
        self.sum += other.sum;
    }

    /// Of all these rows.
    pub fn of<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> Digest {
        let mut sum = Digest::default();
        digests.into_iter().for_each(|digest| sum.add(*digest));
        sum
    }

    /// Without rows that are in it.
    pub fn without(self, other: Digest) -> Digest {
        Digest { rows: self.rows.saturating_sub(other.rows), sum: self.sum - other.sum }
    }
}

/// A table's content: one digest for each bucket of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub buckets: BTreeMap<i64, Digest>,
}

impl Content {
    pub fn total(&self) -> Digest {
        Digest::of(self.buckets.values())
    }

    pub fn add(&mut self, other: &Content) {
        for (bucket, digest) in &other.buckets {
            self.buckets.entry(*bucket).or_default().add(*digest);
        }
    }

    /// Takes away rows that are in it. A bucket without rows is no bucket.
    pub fn remove(&mut self, other: &Content) {
        for (bucket, digest) in &other.buckets {
            let rest = self.buckets.entry(*bucket).or_default();
            *rest = rest.without(*digest);
        }
        self.buckets.retain(|_, digest| *digest != Digest::default());
    }

    /// Buckets whose rows are not the same, including those which only one side has.
    pub fn differing(&self, other: &Content) -> Vec<i64> {
        let mut buckets: Vec<i64> = self.buckets.keys().chain(other.buckets.keys()).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets.retain(|b| self.buckets.get(b) != other.buckets.get(b));
        buckets
    }
}

/// JSON numbers are not exact beyond 2^53 in most readers.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(sum: &i128, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(sum)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<i128, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_finds_changed_missing_and_extra_buckets() {
        let digest = |sum| Digest { rows: 1, sum };
        let a = Content { buckets: [(0, digest(1)), (1, digest(2)), (2, digest(3))].into() };
        let b = Content { buckets: [(0, digest(1)), (1, digest(9)), (3, digest(3))].into() };
        assert_eq!(a.differing(&b), [1, 2, 3]);
        assert_eq!(a.differing(&a.clone()), [0i64; 0]);
    }

    #[test]
    fn what_is_taken_away_and_put_back_leaves_nothing_behind() {
        let digest = |rows, sum| Digest { rows, sum };
        let before = Content { buckets: [(0, digest(2, 5)), (4, digest(1, -7))].into() };
        let (gone, come) = (
            Content { buckets: [(4, digest(1, -7))].into() },
            Content { buckets: [(0, digest(1, 3)), (9, digest(1, 1))].into() },
        );
        let mut content = before.clone();
        content.remove(&gone);
        content.add(&come);
        assert_eq!(content.buckets, [(0, digest(3, 8)), (9, digest(1, 1))].into());
        content.remove(&come);
        content.add(&gone);
        assert_eq!(content, before);
    }

    #[test]
    fn a_digest_survives_json() {
        let digest = Digest { rows: 7, sum: -170_141_183_460_469_231_731 };
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn servers_that_differ_get_the_portable_hash() {
        assert_eq!(HashFn::for_servers([(15, "UTF8"), (15, "UTF8")]), HashFn::HashRecordExtended);
        assert_eq!(HashFn::for_servers([(15, "UTF8"), (16, "UTF8")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(15, "LATIN1"), (15, "UTF8")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(15, "LATIN1"), (15, "LATIN1")]), HashFn::Md5Utf8);
        assert_eq!(HashFn::for_servers([(13, "UTF8"), (13, "UTF8")]), HashFn::Md5Utf8);
    }
}
