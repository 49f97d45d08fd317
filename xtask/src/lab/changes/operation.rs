//! What is done to rows of the subject.

use crate::sql_text::SqlFile;
use crate::{sql, sql_file};
use fastrand::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Update,
    /// The same values again.
    Same,
    Delete,
    Insert,
    /// Deleted and inserted with what it was filled with.
    Again,
    /// Another key.
    Rekey,
    /// Another kind.
    Move,
    Lock,
}

/// Of a hundred.
const OFTEN: [(Operation, u32); 8] = [
    (Operation::Update, 32),
    (Operation::Same, 12),
    (Operation::Delete, 14),
    (Operation::Insert, 14),
    (Operation::Again, 8),
    (Operation::Rekey, 8),
    (Operation::Move, 7),
    (Operation::Lock, 5),
];

/// Of so many one goes over a whole range in which ids are counted.
const WIDE: u32 = 100;
/// As wide as a range is.
const RANGE: i64 = 512;

impl Operation {
    pub fn draw(rng: &mut Rng) -> Operation {
        let mut drawn = rng.u32(..100);
        for (operation, often) in OFTEN {
            match drawn.checked_sub(often) {
                Some(rest) => drawn = rest,
                None => return operation,
            }
        }
        Operation::Update
    }

    fn file(self) -> SqlFile {
        match self {
            Operation::Update => sql_file!("chaos/changes/update.sql"),
            Operation::Same => sql_file!("chaos/changes/same.sql"),
            Operation::Delete => sql_file!("chaos/changes/delete.sql"),
            Operation::Insert => sql_file!("chaos/changes/insert.sql"),
            Operation::Again => sql_file!("chaos/changes/again.sql"),
            Operation::Rekey => sql_file!("chaos/changes/rekey.sql"),
            Operation::Move => sql_file!("chaos/changes/move.sql"),
            Operation::Lock => sql_file!("chaos/changes/lock.sql"),
        }
    }

    /// To the rows with ids from `first` to `last`. `far`: so much further are other keys.
    pub fn statement(self, (first, last): (i64, i64), far: i64, mark: &str) -> String {
        let (first, last, far) = (first.to_string(), last.to_string(), far.to_string());
        sql::bind(self.file(), &[("first", &first), ("last", &last), ("far", &far), ("mark", mark)])
    }
}

/// Ids next to each other: a few of those that the subject is filled with, or some beyond.
pub fn window(rng: &mut Rng, (first, last): (i64, i64)) -> (i64, i64) {
    let from = rng.i64(first - 20..last + 100);
    if rng.u32(..WIDE) == 0 { range_of(from) } else { (from, from + rng.i64(0..8)) }
}

/// All the ids that are counted together with this one.
pub fn range_of(id: i64) -> (i64, i64) {
    let first = id.div_euclid(RANGE) * RANGE;
    (first, first + RANGE - 1)
}

/// Another key is near, in the gap of a neighbour, or beyond all.
pub fn far(rng: &mut Rng) -> i64 {
    if rng.bool() { rng.i64(1..12) } else { rng.i64(3_000..9_000) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remembered::BUCKET_BITS;

    #[test]
    fn a_range_is_what_is_counted_together() {
        assert_eq!(1 << BUCKET_BITS, RANGE);
        assert_eq!([range_of(-1), range_of(-512), range_of(512)], [(-512, -1), (-512, -1), (512, 1023)]);
    }

    #[test]
    fn a_hundred_is_a_hundred() {
        assert_eq!(OFTEN.iter().map(|(_, often)| often).sum::<u32>(), 100);
    }
}
