//! The run's own files, changed on purpose. Pure: what they hold then.

use super::corruption::{Change, Corruption};
use super::world::World;
use crate::findings::Store;
use fastrand::Rng;

/// A way to change a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileWay {
    Bit,
    Byte,
    Truncated,
    Empty,
    Longer,
    LineGone,
    LinesExchanged,
    Another,
    Removed,
}

impl FileWay {
    pub const ALL: [FileWay; 9] = [
        FileWay::Bit,
        FileWay::Byte,
        FileWay::Truncated,
        FileWay::Empty,
        FileWay::Longer,
        FileWay::LineGone,
        FileWay::LinesExchanged,
        FileWay::Another,
        FileWay::Removed,
    ];

    fn name(self) -> &'static str {
        match self {
            FileWay::Bit => "file: one bit",
            FileWay::Byte => "file: one byte",
            FileWay::Truncated => "file: its end gone",
            FileWay::Empty => "file: empty",
            FileWay::Longer => "file: longer",
            FileWay::LineGone => "file: a row gone",
            FileWay::LinesExchanged => "file: two rows exchanged",
            FileWay::Another => "file: another one's content",
            FileWay::Removed => "file: removed",
        }
    }
}

pub fn corruption(world: &World, name: &str, way: FileWay, rng: &mut Rng) -> Option<Corruption> {
    let old = world.files.get(name)?;
    let bytes = match way {
        FileWay::Removed => None,
        way => Some(changed(world, old, way, rng).filter(|new| new != old)?),
    };
    let change = Change::File { name: name.to_string(), bytes };
    let (kind, place) = (way.name().to_string(), name.to_string());
    Some(Corruption { kind, store: Store::Run, place, change, only: None })
}

fn changed(world: &World, old: &[u8], way: FileWay, rng: &mut Rng) -> Option<Vec<u8>> {
    let mut bytes = old.to_vec();
    let mut lines: Vec<&[u8]> = old.split_inclusive(|b| *b == b'\n').collect();
    match way {
        FileWay::Bit => *rng.choice(&mut bytes)? ^= 1 << rng.u8(..8),
        FileWay::Byte => *rng.choice(&mut bytes)? = rng.u8(..),
        FileWay::Truncated => bytes.truncate(rng.usize(..old.len().max(1))),
        FileWay::Empty => bytes.clear(),
        FileWay::Longer => bytes.push(b'\n'),
        FileWay::LineGone => {
            lines.remove(rng.usize(..lines.len().max(1)).min(lines.len().checked_sub(1)?));
            bytes = lines.concat();
        }
        FileWay::LinesExchanged => {
            let one = rng.usize(..lines.len().max(1));
            let other = (0..lines.len()).find(|other| lines.get(one) != lines.get(*other))?;
            lines.swap(one, other);
            bytes = lines.concat();
        }
        FileWay::Another => bytes.clone_from(rng.choice(world.files.values())?),
        FileWay::Removed => return None,
    }
    Some(bytes)
}
