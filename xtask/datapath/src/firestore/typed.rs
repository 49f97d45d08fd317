//! Whole documents as lines of text and back: every type that Firestore stores, in the JSON of its REST interface.
//! Pure.
//!
//! Doubles are written as strings, which that JSON allows: readers of numbers lose the last digit of some.

use crate::document::{format_time, parse_time};
use crate::sha256::Sha256;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fs::value::ValueType;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::prost_types::Timestamp;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;

/// A document with everything that it holds, wherever it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// `users/u1`, `users/u1/addresses/a1`
    pub path: String,
    pub(super) fields: HashMap<String, fs::Value>,
    /// Of the server, RFC 3339; a restored document has others.
    pub created: String,
    pub updated: String,
}

/// How references to documents of the own database are written.
#[derive(Clone, Copy)]
enum References<'a> {
    AsTheyAre,
    /// Those below `projects/…/documents` without it: alike wherever the database is.
    RelativeTo(&'a str),
}

impl Whole {
    /// `documents`: the database's `projects/…/documents`.
    pub(super) fn read(documents: &str, document: fs::Document) -> Result<Whole> {
        let path = document.name.strip_prefix(documents).and_then(|path| path.strip_prefix('/'));
        let path = path.with_context(|| format!("{} is not in {documents}", document.name))?.to_owned();
        let time = |time: Option<Timestamp>| match time {
            Some(time) => time_text(&time),
            None => bail!("a document without its times"),
        };
        let times = time(document.create_time).and_then(|created| Ok((created, time(document.update_time)?)));
        let (created, updated) = times.with_context(|| format!("reading {path}"))?;
        Ok(Whole { path, fields: document.fields, created, updated })
    }

    /// The collection that it is in, `*` for the documents above it: `users/*/addresses`.
    pub fn collection(&self) -> String {
        let segments: Vec<&str> = self.path.split('/').collect();
        let last = segments.len().saturating_sub(1);
        let shown =
            segments[..last].iter().enumerate().map(|(at, name)| if at % 2 == 0 { *name } else { "*" });
        shown.collect::<Vec<_>>().join("/")
    }

    /// One line of a backup, without its end.
    ///
    /// # Errors
    /// A value of a type that this version does not know.
    pub fn to_line(&self) -> Result<String> {
        let fields = self.typed(References::AsTheyAre)?;
        let (path, created, updated) = (&self.path, &self.created, &self.updated);
        Ok(json!({ "path": path, "fields": fields, "createTime": created, "updateTime": updated })
            .to_string())
    }

    /// # Errors
    /// Says what is no document.
    pub fn from_line(line: &str) -> Result<Whole> {
        let json: Json = serde_json::from_str(line).context("not JSON")?;
        let text = |name: &str| match json.get(name) {
            Some(Json::String(text)) => Ok(text.clone()),
            _ => bail!("no text `{name}`"),
        };
        let Some(Json::Object(fields)) = json.get("fields") else { bail!("no object `fields`") };
        let path = text("path")?;
        let whole = path.split('/').count() % 2 == 0 && path.split('/').all(|name| !name.is_empty());
        ensure!(whole, "`path` is that of no document");
        let fields = map_from(fields).with_context(|| format!("in {path}"))?;
        Ok(Whole { path, fields, created: text("createTime")?, updated: text("updateTime")? })
    }

    /// The first 64 bits of the SHA-256 of path and fields, without the times; the same in whatever project and
    /// database. `documents`: the `projects/…/documents` that it was read from.
    ///
    /// # Errors
    /// As of [`Whole::to_line`].
    pub fn hash(&self, documents: &str) -> Result<i64> {
        let fields = self.typed(References::RelativeTo(documents))?;
        let mut hash = Sha256::new();
        hash.update(json!([self.path, fields]).to_string().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finish()[..8]);
        Ok(i64::from_be_bytes(first))
    }

    /// With references to documents of one database as references to those of another.
    pub fn moved(mut self, from: &str, to: &str) -> Whole {
        if from != to {
            self.fields.values_mut().for_each(|value| move_references(value, from, to));
        }
        self
    }

    fn typed(&self, references: References<'_>) -> Result<Json> {
        map_to(&self.fields, references).with_context(|| format!("reading {}", self.path))
    }
}

/// Keys in the order of their bytes, so that one document is always one text.
fn map_to(fields: &HashMap<String, fs::Value>, references: References<'_>) -> Result<Json> {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| name.as_bytes());
    let mut map = Map::new();
    for (name, value) in sorted {
        let value = value_to(value.value_type.as_ref(), references);
        map.insert(name.clone(), value.with_context(|| format!("field {name}"))?);
    }
    Ok(Json::Object(map))
}

fn value_to(value: Option<&ValueType>, references: References<'_>) -> Result<Json> {
    Ok(match value {
        Some(ValueType::NullValue(_)) => json!({ "nullValue": null }),
        Some(ValueType::BooleanValue(flag)) => json!({ "booleanValue": flag }),
        Some(ValueType::IntegerValue(number)) => json!({ "integerValue": number.to_string() }),
        Some(ValueType::DoubleValue(number)) => json!({ "doubleValue": double_text(*number) }),
        Some(ValueType::TimestampValue(time)) => json!({ "timestampValue": time_text(time)? }),
        Some(ValueType::StringValue(text)) => json!({ "stringValue": text }),
        Some(ValueType::BytesValue(bytes)) => json!({ "bytesValue": BASE64.encode(bytes) }),
        Some(ValueType::ReferenceValue(name)) => {
            json!({ "referenceValue": reference_text(name, references) })
        }
        Some(ValueType::GeoPointValue(point)) => json!({ "geoPointValue": {
            "latitude": double_text(point.latitude), "longitude": double_text(point.longitude)
        } }),
        Some(ValueType::ArrayValue(array)) => {
            let values = array.values.iter().map(|value| value_to(value.value_type.as_ref(), references));
            json!({ "arrayValue": { "values": values.collect::<Result<Vec<_>>>()? } })
        }
        Some(ValueType::MapValue(map)) => {
            json!({ "mapValue": { "fields": map_to(&map.fields, references)? } })
        }
        Some(_) | None => bail!("a value of a type that this version does not know"),
    })
}

fn reference_text<'n>(name: &'n str, references: References<'_>) -> &'n str {
    match references {
        References::AsTheyAre => name,
        References::RelativeTo(documents) => name.strip_prefix(documents).unwrap_or(name),
    }
}

/// The shortest text that is read as exactly this number.
fn double_text(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => format!("{number:?}"),
    }
}

fn time_text(time: &Timestamp) -> Result<String> {
    let micros =
        time.seconds.checked_mul(1_000_000).and_then(|s| s.checked_add(i64::from(time.nanos) / 1000));
    match micros {
        Some(micros) if (0..1_000_000_000).contains(&time.nanos) && time.nanos % 1000 == 0 => {
            Ok(format_time(micros))
        }
        _ => bail!("a time of {} s and {} ns, which Firestore does not hold", time.seconds, time.nanos),
    }
}

fn map_from(map: &Map<String, Json>) -> Result<HashMap<String, fs::Value>> {
    let field = |(name, value): (&String, &Json)| {
        Ok((name.clone(), value_from(value).with_context(|| format!("field {name}"))?))
    };
    map.iter().map(field).collect()
}

fn value_from(json: &Json) -> Result<fs::Value> {
    let one = json.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    let (kind, content) = one.context("not one value with its type")?;
    let text = || content.as_str().with_context(|| format!("{kind} is not a text"));
    let value = match kind.as_str() {
        "nullValue" if content.is_null() => ValueType::NullValue(0),
        "booleanValue" => {
            ValueType::BooleanValue(content.as_bool().context("booleanValue is not a boolean")?)
        }
        "integerValue" => ValueType::IntegerValue(text()?.parse().context("integerValue is not an integer")?),
        "doubleValue" => ValueType::DoubleValue(double_from(content)?),
        "timestampValue" => ValueType::TimestampValue(time_from(text()?)?),
        "stringValue" => ValueType::StringValue(text()?.to_owned()),
        "bytesValue" => ValueType::BytesValue(BASE64.decode(text()?).context("bytesValue is not base64")?),
        "referenceValue" => ValueType::ReferenceValue(text()?.to_owned()),
        "geoPointValue" => {
            let part = |name: &str| double_from(content.get(name).unwrap_or(&Json::Null));
            let (latitude, longitude) = (part("latitude")?, part("longitude")?);
            ValueType::GeoPointValue(gcloud_sdk::google::r#type::LatLng { latitude, longitude })
        }
        "arrayValue" => {
            let values = content.get("values").and_then(Json::as_array).context("an array without values")?;
            let values = values.iter().map(value_from).collect::<Result<_>>()?;
            ValueType::ArrayValue(fs::ArrayValue { values })
        }
        "mapValue" => {
            let fields = content.get("fields").and_then(Json::as_object).context("a map without fields")?;
            ValueType::MapValue(fs::MapValue { fields: map_from(fields)? })
        }
        other => bail!("no type of Firestore is called {other}"),
    };
    Ok(fs::Value { value_type: Some(value) })
}

fn double_from(json: &Json) -> Result<f64> {
    let text = json.as_str().context("a double is not a text")?;
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        number => number.parse().context("not a double"),
    }
}

fn time_from(text: &str) -> Result<Timestamp> {
    let micros =
        text.strip_suffix('Z').and_then(|text| parse_time(&format!("{}+00", text.replacen('T', " ", 1))));
    let micros = micros.context("not a time, such as 2026-01-31T23:59:59.123456Z")?;
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    Ok(Timestamp { seconds, nanos: (micros * 1000) as i32 })
}

fn move_references(value: &mut fs::Value, from: &str, to: &str) {
    match &mut value.value_type {
        Some(ValueType::ReferenceValue(name)) => {
            if let Some(rest) = name.strip_prefix(from).filter(|rest| rest.starts_with('/')) {
                *name = format!("{to}{rest}");
            }
        }
        Some(ValueType::ArrayValue(array)) => {
            array.values.iter_mut().for_each(|value| move_references(value, from, to));
        }
        Some(ValueType::MapValue(map)) => {
            map.fields.values_mut().for_each(|value| move_references(value, from, to));
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROOT: &str = "projects/p/databases/(default)/documents";

    fn value(value: ValueType) -> fs::Value {
        fs::Value { value_type: Some(value) }
    }

    /// One of every type, in a map and in an array.
    fn every_type() -> Whole {
        let time = |seconds, nanos| ValueType::TimestampValue(Timestamp { seconds, nanos });
        let doubles =
            [0.1, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let values = doubles.into_iter().map(ValueType::DoubleValue).chain([
            ValueType::NullValue(0),
            ValueType::BooleanValue(true),
            ValueType::IntegerValue(i64::MIN),
            ValueType::StringValue("é \"\\ \u{1f600}\n\u{0}".to_owned()),
            ValueType::BytesValue(vec![0, 255, 10]),
            ValueType::ReferenceValue(format!("{ROOT}/users/u1")),
            ValueType::ReferenceValue("projects/p2/databases/(default)/documents/users/u1".to_owned()),
            ValueType::GeoPointValue(gcloud_sdk::google::r#type::LatLng { latitude: -90.0, longitude: 0.1 }),
            time(-62_135_596_800, 0),
            time(253_402_300_799, 999_999_000),
        ]);
        let values: Vec<fs::Value> = values.map(value).collect();
        let array = value(ValueType::ArrayValue(fs::ArrayValue { values }));
        let map = fs::MapValue { fields: [("b".to_owned(), array.clone()), ("".to_owned(), array)].into() };
        let fields = [("map".to_owned(), value(ValueType::MapValue(map)))].into();
        let time = "2026-01-31T23:59:59.123456Z".to_owned();
        Whole { path: "users/u1/addresses/a b".to_owned(), fields, created: time.clone(), updated: time }
    }

    #[test]
    fn every_type_comes_back_and_has_one_text() {
        let whole = every_type();
        let line = whole.to_line().unwrap();
        assert!(!line.contains('\n'), "{line}");
        let back = Whole::from_line(&line).unwrap();
        // NaN equals nothing.
        assert_eq!(back.to_line().unwrap(), line);
        assert!(
            line.contains(r#"{"doubleValue":"-0.0"}"#) && line.contains(r#"{"doubleValue":"5e-324"}"#),
            "{line}"
        );
        assert_eq!(back.hash(ROOT).unwrap(), whole.hash(ROOT).unwrap());
        assert_eq!(whole.collection(), "users/*/addresses");
    }

    #[test]
    fn a_moved_document_refers_to_its_own_database_and_has_the_same_hash() {
        let other = "projects/scratch/databases/(default)/documents";
        let (whole, moved) = (every_type(), every_type().moved(ROOT, other));
        let line = moved.to_line().unwrap();
        assert!(line.contains(&format!("{other}/users/u1")) && !line.contains(&format!("{ROOT}/")), "{line}");
        assert!(line.contains("projects/p2/databases"), "{line}");
        assert_eq!(moved.hash(other).unwrap(), whole.hash(ROOT).unwrap());
    }

    #[test]
    fn every_change_of_a_value_its_type_its_name_or_its_path_changes_the_hash() {
        let with = |path: &str, name: &str, one: ValueType| {
            let fields = [(name.to_owned(), value(one))].into();
            Whole { path: path.to_owned(), fields, created: String::new(), updated: String::new() }
                .hash(ROOT)
                .unwrap()
        };
        let hashes = [
            with("a/b", "f", ValueType::IntegerValue(1)),
            with("a/b", "f", ValueType::DoubleValue(1.0)),
            with("a/b", "f", ValueType::StringValue("1".to_owned())),
            with("a/b", "g", ValueType::IntegerValue(1)),
            with("a/c", "f", ValueType::IntegerValue(1)),
            with("a/b", "f", ValueType::DoubleValue(0.0)),
            with("a/b", "f", ValueType::DoubleValue(-0.0)),
            with("a/b", "f", ValueType::BytesValue(b"1".to_vec())),
            with("a/b", "f", ValueType::NullValue(0)),
        ];
        let distinct: std::collections::BTreeSet<i64> = hashes.into_iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }

    #[test]
    fn what_is_no_document_is_refused_with_the_place() {
        let error = |line: &str| format!("{:#}", Whole::from_line(line).unwrap_err());
        let line = |path: &str, value: &str| {
            format!(r#"{{"path":"{path}","fields":{{"f":{value}}},"createTime":"t","updateTime":"t"}}"#)
        };
        assert!(error("{").starts_with("not JSON"));
        assert!(error(&line("users", "{}")).contains("`path` is that of no document"));
        assert!(error(&line("users//a/b", "{}")).contains("`path` is that of no document"));
        assert!(error(&line("a/b", "{}")).contains("in a/b: field f: not one value"));
        assert!(error(&line("a/b", r#"{"integerValue":"1x"}"#)).contains("integerValue is not an integer"));
        assert!(error(&line("a/b", r#"{"timestampValue":"yesterday"}"#)).contains("not a time"));
        assert!(error(&line("a/b", r#"{"voidValue":"x"}"#)).contains("voidValue"));
    }
}
