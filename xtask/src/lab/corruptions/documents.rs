//! Documents changed on purpose: one field, or whole ones. Pure: what stands there then.

use super::corruption::{Change, Corruption, short};
use super::held;
use super::raw::{Fields, ValueType, value};
use super::values::{Assignment, Twist, twisted};
use super::world::World;
use crate::findings::Store;
use datapath::document::{Collection, Kind, format_time};
use fastrand::Rng;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::prost_types::Timestamp;

/// A way to change a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldWay {
    /// Of a text.
    Text(Twist),
    Sign,
    One,
    TwoTo32,
    Microsecond,
    TwoTo32Microseconds,
    Hour,
    Flip,
    Null,
    Nothing,
    AsText,
    AsDouble,
    AsInteger,
    AsBoolean,
    AsTime,
    AsBytes,
    AsMap,
    AsArray,
    Gone,
    OtherName,
    Exchanged,
}

use FieldWay::*;

impl FieldWay {
    pub fn of(kind: Kind) -> Vec<FieldWay> {
        use Twist::{Blank, Case, Character, Combining, Invisible, Shorter, Spelling};
        let own: &[FieldWay] = match kind {
            Kind::Text(_) => &[
                Text(Character),
                Text(Case),
                Text(Shorter),
                Text(Blank),
                Text(Combining),
                Text(Spelling),
                Text(Invisible),
                AsInteger,
                AsBytes,
            ],
            Kind::Integer(_) => &[Sign, One, TwoTo32, AsText, AsDouble, AsBoolean],
            Kind::Boolean(_) => &[Flip, AsText, AsInteger],
            Kind::Time => &[Microsecond, TwoTo32Microseconds, Hour, AsText, AsInteger],
        };
        let all = [Null, Nothing, AsTime, AsMap, AsArray, Gone, OtherName, Exchanged];
        own.iter().copied().chain(all).collect()
    }

    fn name(self) -> String {
        let name = match self {
            Text(twist) => return twist.name().replace("value:", "field:"),
            Sign => "field: a number's sign",
            One => "field: a number by one",
            TwoTo32 => "field: a number by 2^32",
            Microsecond => "field: a microsecond",
            TwoTo32Microseconds => "field: 2^32 microseconds",
            Hour => "field: an hour",
            Flip => "field: true and false",
            Null => "field: null for a value",
            Nothing => "field: '' for a value or null",
            AsText => "field: the same as string",
            AsDouble => "field: the same as double",
            AsInteger => "field: the same as integer",
            AsBoolean => "field: the same as boolean",
            AsTime => "field: a time for it",
            AsBytes => "field: the same as bytes",
            AsMap => "field: a map for it",
            AsArray => "field: an array with it",
            Gone => "field: gone",
            OtherName => "field: under another name beside",
            Exchanged => "field: two documents' values exchanged",
        };
        name.to_string()
    }
}

/// A way to change whole documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentWay {
    Removed,
    Copied,
    OtherId,
    IdsExchanged,
    Added,
    WithoutFields,
    FieldAdded,
}

impl DocumentWay {
    pub const ALL: [DocumentWay; 7] = [
        DocumentWay::Removed,
        DocumentWay::Copied,
        DocumentWay::OtherId,
        DocumentWay::IdsExchanged,
        DocumentWay::Added,
        DocumentWay::WithoutFields,
        DocumentWay::FieldAdded,
    ];

    fn name(self) -> &'static str {
        match self {
            DocumentWay::Removed => "document: removed",
            DocumentWay::Copied => "document: copied under another id",
            DocumentWay::OtherId => "document: another id",
            DocumentWay::IdsExchanged => "document: two ids exchanged",
            DocumentWay::Added => "document: added, empty",
            DocumentWay::WithoutFields => "document: all fields gone",
            DocumentWay::FieldAdded => "document: a field more",
        }
    }
}

fn corruption(
    collection: &'static Collection,
    kind: String,
    place: String,
    writes: Vec<(String, Option<Fields>)>,
) -> Corruption {
    let change = Change::Documents { collection: collection.name, writes };
    Corruption { kind, store: Store::Firestore, place, change, only: None }
}

type Found<'a> = Vec<(&'a String, &'a Fields)>;

fn shuffled<'a>(world: &'a World, collection: &Collection, rng: &mut Rng) -> Found<'a> {
    let mut all: Found = world.held.documents_of(collection.name).collect();
    // By id: their own order is that of a map.
    rng.shuffle(&mut all);
    all
}

/// One field.
pub fn field(
    world: &World,
    collection: &'static Collection,
    name: &'static str,
    way: FieldWay,
    rng: &mut Rng,
) -> Option<Corruption> {
    let all = shuffled(world, collection, rng);
    for (id, fields) in &all {
        let Some(old) = fields.get(name) else { continue };
        let place = |new: &str| {
            let change = format!("{:?} → {new}", old.value_type);
            format!("{}/{}.{name}: {}", collection.name, short(id), short(&change))
        };
        let mut changed = (*fields).clone();
        match way {
            Gone => drop(changed.remove(name)),
            OtherName => drop(changed.insert(format!("{name} "), old.clone())),
            Exchanged => {
                let (other, theirs) = all.iter().find(|(_, other)| other.get(name) != Some(old))?;
                let mut their = (*theirs).clone();
                changed.insert(name.to_string(), their.insert(name.to_string(), old.clone())?);
                let writes = vec![((*id).clone(), Some(changed)), ((*other).clone(), Some(their))];
                return Some(corruption(collection, way.name(), place(other), writes));
            }
            way => {
                let Some(new) = another(way, old, rng).filter(|new| new != old) else { continue };
                let place = place(&format!("{:?}", new.value_type));
                changed.insert(name.to_string(), new);
                let mut one = corruption(collection, way.name(), place, vec![((*id).clone(), Some(changed))]);
                one.only = Some((collection.name, (*id).clone(), name.to_string()));
                return Some(one);
            }
        }
        return Some(corruption(collection, way.name(), place(""), vec![((*id).clone(), Some(changed))]));
    }
    None
}

/// Another value in its place.
fn another(way: FieldWay, old: &fs::Value, rng: &mut Rng) -> Option<fs::Value> {
    use ValueType::*;
    let old = old.value_type.as_ref()?;
    let new = match (way, old) {
        (FieldWay::Text(twist), StringValue(text)) => StringValue(twisted_text(twist, text, rng)?),
        (Sign, IntegerValue(n)) => IntegerValue(n.checked_neg()?),
        (One, IntegerValue(n)) => IntegerValue(if *n == i64::MAX { n - 1 } else { n + 1 }),
        (TwoTo32, IntegerValue(n)) => IntegerValue(n + (1 << 32)),
        (Flip, BooleanValue(flag)) => BooleanValue(!flag),
        (Microsecond, TimestampValue(time)) => moved(time, 1),
        (TwoTo32Microseconds, TimestampValue(time)) => moved(time, 1 << 32),
        (Hour, TimestampValue(time)) => moved(time, 3_600_000_000),
        (Null, NullValue(_)) => return None,
        (Null, _) => NullValue(0),
        (Nothing, _) => StringValue(String::new()),
        (AsText, old) => StringValue(said(old)?),
        (AsDouble, IntegerValue(n)) => DoubleValue(*n as f64),
        (AsInteger, StringValue(text)) => IntegerValue(text.trim().parse().unwrap_or(0)),
        (AsInteger, BooleanValue(flag)) => IntegerValue(i64::from(*flag)),
        (AsInteger, TimestampValue(time)) => IntegerValue(time.seconds),
        (AsBoolean, IntegerValue(n)) => BooleanValue(*n != 0),
        (AsTime, TimestampValue(_)) => return None,
        (AsTime, _) => TimestampValue(Timestamp { seconds: 0, nanos: 0 }),
        (AsBytes, StringValue(text)) => BytesValue(text.clone().into_bytes()),
        (AsMap, _) => MapValue(fs::MapValue::default()),
        (AsArray, old) => ArrayValue(fs::ArrayValue { values: vec![value(old.clone())] }),
        _ => return None,
    };
    Some(value(new))
}

fn twisted_text(twist: Twist, text: &str, rng: &mut Rng) -> Option<String> {
    match twisted(twist, &held::Kind::Text(None), false, Some(text), rng)? {
        Assignment::Value(new) => new,
        Assignment::Later(_) | Assignment::Next(_) => None,
    }
}

/// A time so many microseconds later; earlier where there is no later one.
fn moved(time: &Timestamp, by: i64) -> ValueType {
    let at = micros(time);
    let last = 253_402_300_799_999_999;
    let to = if at > last - by { at - by } else { at + by };
    let nanos = (to.rem_euclid(1_000_000) * 1000) as i32;
    ValueType::TimestampValue(Timestamp { seconds: to.div_euclid(1_000_000), nanos })
}

fn micros(time: &Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1000
}

/// A value as a text that looks like it.
fn said(value: &ValueType) -> Option<String> {
    match value {
        ValueType::NullValue(_) => Some("null".to_string()),
        ValueType::IntegerValue(n) => Some(n.to_string()),
        ValueType::BooleanValue(flag) => Some(flag.to_string()),
        ValueType::TimestampValue(time) => Some(format_time(micros(time))),
        _ => None,
    }
}

/// Whole documents.
pub fn document(
    world: &World,
    collection: &'static Collection,
    way: DocumentWay,
    rng: &mut Rng,
) -> Option<Corruption> {
    let all = shuffled(world, collection, rng);
    let ((id, fields), (other, theirs)) = (all.first()?, all.get(1)?);
    let (id, other, fields, theirs) = ((*id).clone(), (*other).clone(), (*fields).clone(), (*theirs).clone());
    let place = format!("{}/{}", collection.name, short(&id));
    let fresh = |rng: &mut Rng| {
        let ways = [Twist::Blank, Twist::Case, Twist::Character, Twist::Combining, Twist::Shorter];
        let twist = *rng.choice(&ways)?;
        twisted_text(twist, &id, rng).filter(|new| all.iter().all(|(known, _)| *known != new) && allowed(new))
    };
    let (place, writes) = match way {
        DocumentWay::Removed => (place, vec![(id, None)]),
        DocumentWay::Copied => {
            let new = fresh(rng)?;
            (format!("{place} → {}", short(&new)), vec![(new, Some(fields))])
        }
        DocumentWay::OtherId => {
            let new = fresh(rng)?;
            (format!("{place} → {}", short(&new)), vec![(new, Some(fields)), (id, None)])
        }
        DocumentWay::IdsExchanged => {
            (format!("{place} and {}", short(&other)), vec![(id, Some(theirs)), (other, Some(fields))])
        }
        DocumentWay::Added => {
            let new = fresh(rng)?;
            (format!("{}/{}", collection.name, short(&new)), vec![(new, Some(Fields::new()))])
        }
        DocumentWay::WithoutFields => (place, vec![(id, Some(Fields::new()))]),
        DocumentWay::FieldAdded => {
            let mut more = fields;
            let names = ["password", "Email", "id", "_id", "created_at2", "user uid", "é"];
            more.insert((*rng.choice(&names)?).to_string(), value(ValueType::NullValue(0)));
            (place, vec![(id, Some(more))])
        }
    };
    Some(corruption(collection, way.name().to_string(), place, writes))
}

/// Whether Firestore takes it as an id.
fn allowed(id: &str) -> bool {
    let reserved = id.starts_with("__") && id.ends_with("__");
    !(id.is_empty() || id == "." || id == ".." || id.contains('/') || reserved || id.len() > 1_500)
}
