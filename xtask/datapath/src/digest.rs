//! Digests of rows: order-independent sums of a 64-bit hash of each row, taken in SQL on both sides. A
//! sum, not xor: xor cancels pairs. 64 bits are enough against damage, which is not chosen by an
//! adversary; sums are 128 bits wide and cannot overflow.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ids are digested in buckets of this many, so that a difference is narrowed down cheaply.
pub const BUCKET: i64 = 10_000;

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

    /// Every bucket that one of the two has.
    pub fn all_buckets(&self, other: &Content) -> Vec<i64> {
        let mut buckets: Vec<i64> = self.buckets.keys().chain(other.buckets.keys()).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    /// Of all rows that are in none of these buckets.
    pub fn outside(&self, buckets: &[i64]) -> Digest {
        Digest::of(
            self.buckets.iter().filter(|(bucket, _)| !buckets.contains(bucket)).map(|(_, digest)| digest),
        )
    }

    /// Buckets whose rows are not the same, including those which only one side has.
    pub fn differing(&self, other: &Content) -> Vec<i64> {
        let mut buckets = self.all_buckets(other);
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
}
