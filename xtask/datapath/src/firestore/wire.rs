//! Documents as Firestore's protocol has them, and back. Pure.
//!
//! The values are put together by hand: the crate's serde drops `None` fields, turns time stamps
//! into strings and cannot read the last two days of year 9999.

use super::typed::Whole;
use crate::document::{Document, Value, format_time};
use anyhow::{Result, bail, ensure};
use fs::value::ValueType;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::prost_types::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// The bytes of one write call: below the emulator's 4 MiB, which it answers with the same code as
/// an overload.
pub(super) const MESSAGE: usize = 3_670_016;

/// One thing to do to one document. Each can be repeated: a set is a full set under a fixed id,
/// what is deleted stays deleted, and what is guarded is refused the second time.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Set(Document),
    /// The same of a document with whatever types; its path takes the place of the id.
    Whole(Whole),
    Delete(String),
    /// Only where the document is still as it was read.
    Guarded(Box<Change>, Version),
}

/// Which content of a document was read: none, or the one of a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Version(pub(super) Option<Timestamp>);

impl Version {
    /// No document stands there.
    pub const ABSENT: Version = Version(None);

    fn precondition(&self) -> fs::Precondition {
        use fs::precondition::ConditionType;
        let condition = self.0.map_or(ConditionType::Exists(false), ConditionType::UpdateTime);
        fs::Precondition { condition_type: Some(condition) }
    }
}

impl Change {
    pub(super) fn id(&self) -> &str {
        match self {
            Change::Set(document) => &document.id,
            Change::Whole(whole) => &whole.path,
            Change::Delete(id) => id,
            Change::Guarded(change, _) => change.id(),
        }
    }

    /// Without its condition.
    pub(super) fn bare(&self) -> &Change {
        match self {
            Change::Guarded(change, _) => change.bare(),
            bare => bare,
        }
    }

    /// `path` is the collection's: `projects/…/documents/users`.
    ///
    /// # Errors
    /// A value that can only be found, never written; a document that fits into no call.
    pub(super) fn to_write(&self, path: &str) -> Result<fs::Write> {
        let name = format!("{path}/{}", self.id());
        let operation = match self {
            Change::Guarded(change, version) => {
                let write = change.to_write(path)?;
                return Ok(fs::Write { current_document: Some(version.precondition()), ..write });
            }
            Change::Delete(_) => fs::write::Operation::Delete(name),
            Change::Whole(whole) => {
                let fields = whole.fields.clone();
                fs::write::Operation::Update(fs::Document { name, fields, ..Default::default() })
            }
            Change::Set(document) => {
                let size = size_at_most(path, document);
                ensure!(size <= MESSAGE, "{size} bytes, where a document holds 1 MiB at most");
                let mut fields = HashMap::with_capacity(document.fields.len());
                for (field, value) in &document.fields {
                    fields.insert((*field).to_owned(), to_wire(field, value)?);
                }
                fs::write::Operation::Update(fs::Document { name, fields, ..Default::default() })
            }
        };
        Ok(fs::Write { operation: Some(operation), ..Default::default() })
    }
}

fn to_wire(field: &str, value: &Value) -> Result<fs::Value> {
    let value = match value {
        Value::Null => ValueType::NullValue(0),
        Value::Text(text) => ValueType::StringValue(text.clone()),
        Value::Integer(number) => ValueType::IntegerValue(*number),
        Value::Boolean(flag) => ValueType::BooleanValue(*flag),
        Value::Time(micros) => ValueType::TimestampValue(Timestamp {
            seconds: micros.div_euclid(1_000_000),
            nanos: (micros.rem_euclid(1_000_000) * 1000) as i32,
        }),
        Value::Other(description) => bail!("field {field}: {description} cannot be written"),
    };
    Ok(fs::Value { value_type: Some(value) })
}

/// The fields of a document that was read.
pub(super) fn from_wire(fields: HashMap<String, fs::Value>) -> BTreeMap<String, Value> {
    fields.into_iter().map(|(name, value)| (name, value_from_wire(value.value_type))).collect()
}

fn value_from_wire(value: Option<ValueType>) -> Value {
    match value {
        Some(ValueType::NullValue(_)) => Value::Null,
        Some(ValueType::StringValue(text)) => Value::Text(text),
        Some(ValueType::IntegerValue(number)) => Value::Integer(number),
        Some(ValueType::BooleanValue(flag)) => Value::Boolean(flag),
        Some(ValueType::TimestampValue(time)) => time_from_wire(&time),
        Some(ValueType::DoubleValue(number)) => Value::Other(format!("double {number:?}")),
        Some(ValueType::BytesValue(bytes)) => Value::Other(format!("{} bytes", bytes.len())),
        Some(ValueType::ReferenceValue(name)) => Value::Other(format!("reference {name:?}")),
        Some(ValueType::GeoPointValue(point)) => {
            Value::Other(format!("geographical point {}, {}", point.latitude, point.longitude))
        }
        Some(ValueType::ArrayValue(array)) => Value::Other(format!("array of {}", array.values.len())),
        Some(ValueType::MapValue(map)) => Value::Other(format!("map of {}", map.fields.len())),
        Some(other) => Value::Other(format!("{other:?}")),
        None => Value::Other("a value without type".to_owned()),
    }
}

fn time_from_wire(time: &Timestamp) -> Value {
    let nanos = i64::from(time.nanos);
    let micros = time.seconds.checked_mul(1_000_000).and_then(|s| s.checked_add(nanos / 1000));
    match micros {
        Some(micros) if (0..1_000_000_000).contains(&nanos) && nanos % 1000 == 0 => Value::Time(micros),
        Some(micros) => {
            let shown = format_time(micros);
            Value::Other(format!("time {shown} and {} nanoseconds", nanos % 1000))
        }
        None => Value::Other(format!("time {} s, {nanos} ns since 1970", time.seconds)),
    }
}

/// At least the bytes of a document's write on the wire, `path` being the collection's. Counted
/// without building the message, because it decides which documents share one.
pub(super) fn size_at_most(path: &str, document: &Document) -> usize {
    // Tags and lengths: of the write, the document and its name; of an entry, its key, its value
    // and the value's content. The widest content of fixed size is a time (17 bytes).
    const DOCUMENT: usize = 24;
    const FIELD: usize = 24;
    const FIXED: usize = 17;
    let fields = document.fields.iter().map(|(name, value)| {
        let content = if let Value::Text(text) = value { text.len() } else { FIXED };
        FIELD + name.len() + content
    });
    DOCUMENT + path.len() + 1 + document.id.len() + fields.sum::<usize>()
}

/// The id of a document named `projects/…/documents/users/u1` in the collection `…/users`.
pub(super) fn id_of<'n>(path: &str, name: &'n str) -> Result<&'n str> {
    match name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')) {
        Some(id) => Ok(id),
        None => bail!("Firestore answered with {name}, which is not in {path}"),
    }
}

const COUNT: &str = "count";

/// Which collections of one name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Depth {
    /// The one at the root.
    Root,
    /// That one, and those below documents of whatever collection.
    Everywhere,
}

/// Counts a collection on the server; `parent` is `projects/…/documents`.
pub(super) fn count_request(parent: &str, collection: &str, depth: Depth) -> fs::RunAggregationQueryRequest {
    use fs::structured_aggregation_query::aggregation::{Count, Operator};
    use fs::structured_aggregation_query::{Aggregation, QueryType};
    let count =
        Aggregation { alias: COUNT.to_owned(), operator: Some(Operator::Count(Count { up_to: None })) };
    let query = fs::StructuredAggregationQuery {
        aggregations: vec![count],
        query_type: Some(QueryType::StructuredQuery(query(collection, depth))),
    };
    fs::RunAggregationQueryRequest {
        parent: parent.to_owned(),
        query_type: Some(fs::run_aggregation_query_request::QueryType::StructuredAggregationQuery(query)),
        ..Default::default()
    }
}

/// The count in an answer to [`count_request`]; None in an answer that only reports progress.
pub(super) fn count_from(answer: &fs::RunAggregationQueryResponse) -> Option<u64> {
    match answer.result.as_ref()?.aggregate_fields.get(COUNT)?.value_type {
        Some(ValueType::IntegerValue(count)) => u64::try_from(count).ok(),
        _ => None,
    }
}

/// The names of a collection's documents, nothing of their content, in the order of their names,
/// from the one that follows the name `after`.
pub(super) fn names_request(
    parent: &str,
    collection: &str,
    depth: Depth,
    after: Option<&str>,
) -> fs::RunQueryRequest {
    request(parent, names_query(collection, depth, after))
}

fn names_query(collection: &str, depth: Depth, after: Option<&str>) -> fs::StructuredQuery {
    use fs::structured_query::{Direction, FieldReference, Order, Projection};
    let name = || FieldReference { field_path: "__name__".to_owned() };
    let order = Order { field: Some(name()), direction: Direction::Ascending.into() };
    let cursor = after.map(|after| fs::Cursor {
        values: vec![fs::Value { value_type: Some(ValueType::ReferenceValue(after.to_owned())) }],
        before: false,
    });
    fs::StructuredQuery {
        select: Some(Projection { fields: vec![name()] }),
        order_by: vec![order],
        start_at: cursor,
        ..query(collection, depth)
    }
}

/// Every document of every collection as it was at that time, in the order of the names, from the one that follows
/// the name `after`.
pub(super) fn whole_request(parent: &str, at: Timestamp, after: Option<&str>) -> fs::RunQueryRequest {
    // No name: a collection of any.
    let query = fs::StructuredQuery { select: None, ..names_query("", Depth::Everywhere, after) };
    let at = fs::run_query_request::ConsistencySelector::ReadTime(at);
    fs::RunQueryRequest { consistency_selector: Some(at), ..request(parent, query) }
}

fn request(parent: &str, query: fs::StructuredQuery) -> fs::RunQueryRequest {
    fs::RunQueryRequest {
        parent: parent.to_owned(),
        query_type: Some(fs::run_query_request::QueryType::StructuredQuery(query)),
        ..Default::default()
    }
}

fn query(collection: &str, depth: Depth) -> fs::StructuredQuery {
    let from = fs::structured_query::CollectionSelector {
        collection_id: collection.to_owned(),
        all_descendants: depth == Depth::Everywhere,
    };
    fs::StructuredQuery { from: vec![from], ..Default::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use gcloud_sdk::prost::Message;

    const PATH: &str = "projects/p/databases/(default)/documents/users";

    fn document(fields: Vec<(&'static str, Value)>) -> Document {
        Document { id: "u1".to_owned(), fields }
    }

    fn every_kind() -> Document {
        document(vec![
            ("nothing", Value::Null),
            ("name", Value::Text("José".to_owned())),
            ("count", Value::Integer(i64::MIN)),
            ("flag", Value::Boolean(true)),
            ("first", Value::Time(-62_135_596_800_000_000)),
            ("before", Value::Time(-1)),
            ("last", Value::Time(253_402_300_799_999_999)),
        ])
    }

    #[test]
    fn values_come_back() {
        let expected = every_kind();
        let write = Change::Set(expected.clone()).to_write(PATH).unwrap();
        let Some(fs::write::Operation::Update(sent)) = write.operation else { panic!() };
        assert_eq!(id_of(PATH, &sent.name).unwrap(), "u1");
        assert_eq!(crate::document::differences(&expected, &from_wire(sent.fields)), []);
    }

    #[test]
    fn what_we_never_write_is_described() {
        let time = |seconds, nanos| ValueType::TimestampValue(Timestamp { seconds, nanos });
        let cases = [
            (ValueType::DoubleValue(1.0), "double 1.0"),
            (ValueType::BytesValue(vec![1, 2]), "2 bytes"),
            (ValueType::MapValue(fs::MapValue::default()), "map of 0"),
            (ValueType::ArrayValue(fs::ArrayValue::default()), "array of 0"),
            (time(0, 1_001), "time 1970-01-01T00:00:00.000001Z and 1 nanoseconds"),
            (time(i64::MAX, 0), "time 9223372036854775807 s, 0 ns since 1970"),
        ];
        for (sent, expected) in cases {
            assert_eq!(value_from_wire(Some(sent)), Value::Other(expected.to_owned()));
        }
        let other = document(vec![("f", Value::Other("double 1.0".to_owned()))]);
        let error = Change::Set(other).to_write(PATH).unwrap_err();
        assert_eq!(error.to_string(), "field f: double 1.0 cannot be written");
        let large = document(vec![("f", Value::Text("x".repeat(MESSAGE)))]);
        let error = Change::Set(large).to_write(PATH).unwrap_err();
        assert!(error.to_string().ends_with("bytes, where a document holds 1 MiB at most"));
    }

    #[test]
    fn the_size_is_never_underestimated() {
        let mut documents = vec![document(vec![]), every_kind()];
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 3_000_000] {
            documents.push(document(vec![("text", Value::Text("x".repeat(length)))]));
        }
        for document in documents {
            let write = Change::Set(document.clone()).to_write(PATH).unwrap();
            let request = fs::BatchWriteRequest { writes: vec![write], ..Default::default() };
            let (real, estimate) = (request.encoded_len(), size_at_most(PATH, &document));
            let slack = 30 + 25 * document.fields.len();
            assert!(real <= estimate && estimate <= real + slack, "{real} {estimate}");
        }
    }

    #[test]
    fn a_name_of_another_collection_is_an_error() {
        assert_eq!(id_of(PATH, &format!("{PATH}/a b")).unwrap(), "a b");
        assert!(id_of(PATH, &format!("{PATH}x/a")).is_err());
    }
}
