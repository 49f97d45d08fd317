//! What a row of an export file becomes in Firestore, and how two documents are compared. Pure.
//!
//! What was learnt:
//! - The csv crate cannot tell NULL from '' (PostgreSQL does so by quoting). The export therefore
//!   ends each row with `null_fields`, the names of its NULL columns separated by blanks. A name
//!   there that is no column, or whose column holds text, means that file and program disagree:
//!   an error, never a guess.
//! - Times are read and shown by a few lines of our own. jiff reads more than PostgreSQL writes
//!   (other offsets, `T`, nanoseconds), where we want to hear about anything unexpected, and its
//!   range ends on 9999-12-30, two days before Firestore's and PostgreSQL's four-digit years do.
//!   The tests compare with jiff where both can.

pub use crate::collection::{Collection, Field, Kind, NullPolicy};

use crate::sha256::Sha256;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

/// The last column of an export file that is read here: the names of the row's NULL columns.
pub const NULL_FIELDS: &str = "null_fields";

/// The value of one field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// Microseconds since 1970-01-01 UTC.
    Time(i64),
    /// What our documents never hold (a double, a map, a time finer than a microsecond …),
    /// described for a person. It can be found, never written.
    Other(String),
}

impl fmt::Display for Value {
    /// The type and the value, long strings shortened: `string "x"`, `integer 1`,
    /// `time 2026-01-01T00:00:00Z`, `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(self, 0))
    }
}

/// A document as it must be: its id, and its fields in the collection's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub id: String,
    pub fields: Vec<(&'static str, Value)>,
}

/// The first 64 bits of the SHA-256 of a document as one JSON text, which PostgreSQL makes as well
/// (`sql/tables/<collection>/3-document.sql`): its id, and an object of its fields, as `jsonb` writes it.
pub fn hash(id: &str, fields: &BTreeMap<String, Value>) -> i64 {
    let mut hash = Sha256::new();
    hash.update(json_text(id, fields).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finish()[..8]);
    i64::from_be_bytes(first)
}

/// `["id", {"a": 1, "bb": {"time": 5}}]`: keys by their length, then by their bytes.
fn json_text(id: &str, fields: &BTreeMap<String, Value>) -> String {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| (name.len(), name.as_bytes()));
    let mut out = String::from("[");
    push_json(&mut out, id);
    out.push_str(", {");
    for (place, (name, value)) in sorted.into_iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        push_json(&mut out, name);
        out.push_str(": ");
        match value {
            Value::Null => out.push_str("null"),
            Value::Text(text) => push_json(&mut out, text),
            Value::Integer(number) => out += &number.to_string(),
            Value::Boolean(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Value::Time(microseconds) => out += &format!("{{\"time\": {microseconds}}}"),
            Value::Other(shown) => {
                out.push_str("{\"other\": ");
                push_json(&mut out, shown);
                out.push('}');
            }
        }
    }
    out.push_str("}]");
    out
}

/// As JSON and `jsonb` write a text: the same escapes. Most texts need none, and serde_json's way through
/// a value and its display costs an eighth of the tool's own processor time.
fn push_json(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        *out += &serde_json::Value::from(text).to_string();
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// Reads the documents of one export file, in pieces.
pub struct DocumentReader<'a> {
    rows: csv::Reader<&'a mut (dyn Read + Send)>,
    record: csv::StringRecord,
    layout: Layout,
}

impl<'a> DocumentReader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// As of [`Layout::new`].
    pub fn open(
        rows: &'a mut (dyn Read + Send),
        collection: &Collection,
        policy: NullPolicy,
    ) -> Result<DocumentReader<'a>> {
        let mut rows = csv::ReaderBuilder::new().buffer_capacity(1 << 16).from_reader(rows);
        let layout = Layout::new(rows.headers().context("reading the header")?, collection, policy)?;
        Ok(DocumentReader { rows, record: csv::StringRecord::new(), layout })
    }

    /// As many documents as this, fewer at the end of the file; none after it.
    pub fn next(&mut self, at_most: usize) -> Result<Vec<Document>> {
        let mut piece = Vec::with_capacity(at_most);
        while piece.len() < at_most && self.rows.read_record(&mut self.record)? {
            piece.push(self.layout.document(&self.record)?);
        }
        Ok(piece)
    }

    /// How often each field took its default so far.
    pub fn defaults(&self) -> BTreeMap<String, u64> {
        self.layout.defaults().map(|(field, n)| (field.to_string(), n)).collect()
    }
}

/// Turns the records of one export file into documents, and counts the defaults it put in.
#[derive(Debug)]
pub struct Layout {
    header: Vec<String>,
    id: usize,
    null_fields: usize,
    columns: Vec<FieldColumn>,
    policy: NullPolicy,
    /// Which columns of the present record are NULL; kept to spare an allocation a row.
    nulls: Vec<bool>,
}

#[derive(Debug)]
struct FieldColumn {
    index: usize,
    field: &'static Field,
    defaults: u64,
}

impl Layout {
    /// The layout of a file with this header. Columns may stand in any order, and others may
    /// stand between them.
    ///
    /// # Errors
    /// Names every column that is missing or stands there twice, and what was found.
    pub fn new(header: &csv::StringRecord, collection: &Collection, policy: NullPolicy) -> Result<Layout> {
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        let position = |name: &str| header.iter().position(|h| h == name);
        let fields: &'static [Field] = collection.fields;
        let wanted = fields.iter().map(|f| f.name).chain([collection.id, NULL_FIELDS]);
        let mut missing: Vec<&str> = wanted.filter(|name| position(name).is_none()).collect();
        missing.dedup();
        let found = header.join(", ");
        ensure!(
            missing.is_empty(),
            "documents of {} need the column(s) {}; the file has {found}",
            collection.name,
            missing.join(", ")
        );
        if let Some(twice) = (1..header.len()).find(|&i| header[..i].contains(&header[i])) {
            bail!("the column {} stands twice in the file: {found}", header[twice]);
        }
        let index = |name: &str| position(name).with_context(|| format!("no column {name}"));
        let columns = fields
            .iter()
            .map(|field| Ok(FieldColumn { index: index(field.name)?, field, defaults: 0 }))
            .collect::<Result<_>>()?;
        Ok(Layout {
            id: index(collection.id)?,
            null_fields: index(NULL_FIELDS)?,
            columns,
            policy,
            nulls: vec![false; header.len()],
            header,
        })
    }

    /// The document of one record.
    ///
    /// # Errors
    /// Says line, column, the value and what was expected there.
    pub fn document(&mut self, record: &csv::StringRecord) -> Result<Document> {
        ensure!(
            record.len() == self.header.len(),
            "{}: {} columns, but the header has {}",
            line(record),
            record.len(),
            self.header.len()
        );
        self.mark_nulls(record)?;
        ensure!(
            !self.nulls[self.id],
            "{}, column {}: NULL, but it is the document's id",
            line(record),
            self.header[self.id]
        );
        let mut fields = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let value = if self.nulls[column.index] {
                null(column, self.policy)
            } else {
                let text = &record[column.index];
                value(column.field.kind, text)
                    .with_context(|| format!("{}, column {}", line(record), column.field.name))?
            };
            fields.push((column.field.name, value));
        }
        Ok(Document { id: record[self.id].to_owned(), fields })
    }

    /// How many NULLs of each field became its default so far; only fields that took any.
    pub fn defaults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.columns.iter().filter(|c| c.defaults > 0).map(|c| (c.field.name, c.defaults))
    }

    fn mark_nulls(&mut self, record: &csv::StringRecord) -> Result<()> {
        self.nulls.fill(false);
        for name in record[self.null_fields].split_ascii_whitespace() {
            let place = || format!("{}, column {NULL_FIELDS}", line(record));
            let Some(index) = self.header.iter().position(|h| h == name) else {
                bail!("{}: names {name:?}, which is no column of the file", place());
            };
            let text = &record[index];
            ensure!(text.is_empty(), "{}: says that {name} is NULL, but it holds {}", place(), length(text));
            self.nulls[index] = true;
        }
        Ok(())
    }
}

fn line(record: &csv::StringRecord) -> String {
    match record.position() {
        Some(position) => format!("line {}", position.line()),
        None => "a record without position".to_owned(),
    }
}

fn null(column: &mut FieldColumn, policy: NullPolicy) -> Value {
    let default = column.field.default(policy);
    column.defaults += u64::from(default != Value::Null);
    default
}

impl Field {
    /// What stands there for NULL.
    pub fn default(&self, policy: NullPolicy) -> Value {
        match (policy, self.kind) {
            (NullPolicy::Keep, _) | (_, Kind::Time) => Value::Null,
            (NullPolicy::Default, Kind::Text(text)) => Value::Text(text.to_owned()),
            (NullPolicy::Default, Kind::Integer(number)) => Value::Integer(number),
            (NullPolicy::Default, Kind::Boolean(flag)) => Value::Boolean(flag),
        }
    }
}

/// A value in an error: it is a customer's, and stands in the file at the place that the error names.
fn length(text: &str) -> String {
    format!("a value of {} characters", text.chars().count())
}

/// The value of a column that is not NULL.
fn value(kind: Kind, text: &str) -> Result<Value> {
    let wrong = |expected: &str| anyhow::anyhow!("{} that is not {expected}", length(text));
    match kind {
        Kind::Text(_) => Ok(Value::Text(text.to_owned())),
        // Rust reads "+1" as well, which PostgreSQL never writes.
        Kind::Integer(_) => match text.parse() {
            Ok(number) if !text.starts_with('+') => Ok(Value::Integer(number)),
            _ => Err(wrong("an integer of 64 bits")),
        },
        Kind::Boolean(_) => match text {
            "t" => Ok(Value::Boolean(true)),
            "f" => Ok(Value::Boolean(false)),
            _ => Err(wrong("a boolean (t or f)")),
        },
        Kind::Time => parse_time(text).map(Value::Time).ok_or_else(|| {
            wrong("a time in UTC of the years 0001 to 9999, such as 2026-01-31 23:59:59.123456+00")
        }),
    }
}

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400 * MICROS;

/// `2026-01-31 23:59:59.123456+00`, with one to six digits of a second or none, to microseconds
/// since 1970. None for anything else.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix("+00")?.as_bytes();
    let (whole, fraction) = (text.get(..19)?, &text[19..]);
    let number = |from: usize, to: usize| digits(&whole[from..to]);
    let separators = [whole[4], whole[7], whole[10], whole[13], whole[16]];
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fits = &separators == b"-- ::"
        && year >= 1
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let micros = match fraction {
        [] => 0,
        [b'.', rest @ ..] if (1..=6).contains(&rest.len()) => {
            digits(rest)? * 10_i64.pow(6 - rest.len() as u32)
        }
        _ => return None,
    };
    let seconds = hour * 3600 + minute * 60 + second;
    fits.then(|| days_since_1970(year, month, day) * DAY + seconds * MICROS + micros)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's days_from_civil: years that begin in March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era = year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    era * 146_097 + day_of_era - 719_468
}

/// Microseconds since 1970 as `2026-01-31T23:59:59.123456Z`; no fraction where it is zero.
pub fn format_time(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (era, day) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (seconds, micros) = (rest / MICROS, rest % MICROS);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The document as Firestore's REST interface writes it: every value with its type.
pub fn to_json(document: &Document) -> serde_json::Value {
    let fields = document.fields.iter().map(|(name, value)| ((*name).to_owned(), value_to_json(value)));
    serde_json::json!({ "fields": fields.collect::<serde_json::Map<_, _>>() })
}

fn value_to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::json!({ "nullValue": null }),
        Value::Text(text) => serde_json::json!({ "stringValue": text }),
        // In JSON a number is not exact beyond 2^53: Firestore writes a string, too.
        Value::Integer(number) => serde_json::json!({ "integerValue": number.to_string() }),
        Value::Boolean(flag) => serde_json::json!({ "booleanValue": flag }),
        Value::Time(micros) => serde_json::json!({ "timestampValue": format_time(*micros) }),
        Value::Other(description) => serde_json::json!({ "other": description }),
    }
}

/// A field that is not what it must be.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDifference {
    pub field: String,
    /// None: the document must not have such a field.
    pub expected: Option<Value>,
    /// None: the document has no such field.
    pub found: Option<Value>,
}

impl FieldDifference {
    /// Expected and found for a person, two long strings shown from where they part.
    pub fn sides(&self) -> (String, String) {
        let from = match (&self.expected, &self.found) {
            (Some(Value::Text(a)), Some(Value::Text(b))) => {
                a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
            }
            _ => 0,
        };
        let side = |value: &Option<Value>| match value {
            Some(value) => describe(value, from),
            None => "no such field".to_owned(),
        };
        (side(&self.expected), side(&self.found))
    }
}

impl fmt::Display for FieldDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) = self.sides();
        write!(f, "{}: expected {expected}, found {found}", self.field)
    }
}

/// Every field in which a document differs from what it must be, fields it must not have included.
pub fn differences(expected: &Document, found: &BTreeMap<String, Value>) -> Vec<FieldDifference> {
    let mut differences = Vec::new();
    let mut shared = 0;
    for (name, value) in &expected.fields {
        let there = found.get(*name);
        shared += usize::from(there.is_some());
        if there != Some(value) {
            differences.push(FieldDifference {
                field: (*name).to_owned(),
                expected: Some(value.clone()),
                found: there.cloned(),
            });
        }
    }
    // Looked for only when there are any: this runs for every document of a verification.
    if shared < found.len() {
        let extra = found.iter().filter(|(name, _)| !expected.fields.iter().any(|(n, _)| n == name));
        differences.extend(extra.map(|(name, value)| FieldDifference {
            field: name.clone(),
            expected: None,
            found: Some(value.clone()),
        }));
    }
    differences
}

/// How much of a long string is shown: so many characters before the point of interest, and after.
const BEFORE: usize = 20;
const AFTER: usize = 60;

/// A value with its type; of a long string what surrounds the character at `from`.
fn describe(value: &Value, from: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("string {}", excerpt(text, from)),
        Value::Integer(number) => format!("integer {number}"),
        Value::Boolean(flag) => format!("boolean {flag}"),
        Value::Time(micros) => format!("time {}", format_time(*micros)),
        Value::Other(description) => description.clone(),
    }
}

/// Quoted with Rust's escapes, which make blanks, line breaks and combining marks visible; the
/// dots stand outside the quotes.
fn excerpt(text: &str, from: usize) -> String {
    let length = text.chars().count();
    if length <= BEFORE + AFTER {
        return format!("{text:?}");
    }
    let start = from.saturating_sub(BEFORE).min(length - BEFORE);
    let part: String = text.chars().skip(start).take(BEFORE + AFTER).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + BEFORE + AFTER < length { "…" } else { "" };
    format!("{before}{part:?}{after} ({length} characters)")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field { name: "uid", kind: Kind::Text("") },
        Field { name: "status", kind: Kind::Text("active") },
        Field { name: "login_count", kind: Kind::Integer(0) },
        Field { name: "verified", kind: Kind::Boolean(false) },
        Field { name: "created_at", kind: Kind::Time },
    ];
    const USERS: Collection = Collection { name: "users", id: "uid", fields: FIELDS };
    const HEADER: &str = "uid,status,login_count,verified,created_at,null_fields\n";

    type Defaults = Vec<(&'static str, u64)>;

    /// Reads a whole file; the first error ends it.
    fn read(csv: &str, policy: NullPolicy) -> Result<(Vec<Document>, Defaults)> {
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        let mut layout = Layout::new(reader.headers()?, &USERS, policy)?;
        let documents = reader.records().map(|r| layout.document(&r?)).collect::<Result<Vec<_>>>()?;
        Ok((documents, layout.defaults().collect()))
    }

    fn row(row: &str, policy: NullPolicy) -> Result<Document> {
        let (mut documents, _) = read(&format!("{HEADER}{row}\n"), policy)?;
        Ok(documents.remove(0))
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn error<T: fmt::Debug>(result: Result<T>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn reads_every_kind() {
        let document =
            row("u1,\"a \"\"b\"\"\nc\",-7,t,1969-12-31 23:59:59.999999+00,\"\"", NullPolicy::Default)
                .unwrap();
        assert_eq!(document.id, "u1");
        assert_eq!(
            document.fields,
            [
                ("uid", text("u1")),
                ("status", text("a \"b\"\nc")),
                ("login_count", Value::Integer(-7)),
                ("verified", Value::Boolean(true)),
                ("created_at", Value::Time(-1)),
            ]
        );
    }

    #[test]
    fn null_takes_the_default_and_the_empty_string_stays() {
        let nulls = "u1,,,,,status login_count verified created_at";
        let empty = "u2,\"\",1,f,2026-01-01 00:00:00+00,";
        let (documents, defaults) =
            read(&format!("{HEADER}{nulls}\n{empty}\n"), NullPolicy::Default).unwrap();
        let values = |d: &Document| d.fields[1..].iter().map(|f| f.1.clone()).collect::<Vec<_>>();
        assert_eq!(
            values(&documents[0]),
            [text("active"), Value::Integer(0), Value::Boolean(false), Value::Null]
        );
        assert_eq!(values(&documents[1])[0], text(""));
        // A time has no default, so none is counted.
        assert_eq!(defaults, [("status", 1), ("login_count", 1), ("verified", 1)]);

        let (documents, defaults) = read(&format!("{HEADER}{nulls}\n"), NullPolicy::Keep).unwrap();
        assert_eq!(values(&documents[0]), vec![Value::Null; 4]);
        assert_eq!(defaults, []);
    }

    #[test]
    fn says_which_columns_are_missing_or_doubled() {
        let header = |h: &str| error(read(h, NullPolicy::Default));
        assert_eq!(
            header("uid,login_count,verified,created_at,null_fields\n"),
            "documents of users need the column(s) status; \
             the file has uid, login_count, verified, created_at, null_fields"
        );
        assert!(header("status,login_count,verified,created_at\n").contains("uid, null_fields;"));
        assert!(header(&format!("uid,{HEADER}")).starts_with("the column uid stands twice"));
    }

    #[test]
    fn says_line_column_value_and_expectation() {
        let good = "u0,\"two\nlines\",1,t,2026-01-01 00:00:00+00,";
        let bad = |row: &str| error(read(&format!("{HEADER}{good}\n{row}\n"), NullPolicy::Default));
        let cases = [
            (
                "u,a,x1,t,,created_at",
                "line 4, column login_count: a value of 2 characters that is not an integer",
            ),
            (
                "u,a,,t,,created_at",
                "line 4, column login_count: a value of 0 characters that is not an integer",
            ),
            (
                "u,a,+1,t,,created_at",
                "line 4, column login_count: a value of 2 characters that is not an integer",
            ),
            (
                "u,a,1.0,t,,created_at",
                "line 4, column login_count: a value of 3 characters that is not an integer",
            ),
            (
                "u,a,9223372036854775808,t,,created_at",
                "line 4, column login_count: a value of 19 characters that is not an integer",
            ),
            (
                "u,a,1,true,,created_at",
                "line 4, column verified: a value of 4 characters that is not a boolean",
            ),
            ("u,a,1,,,created_at", "line 4, column verified: a value of 0 characters that is not a boolean"),
            ("u,a,1,t,infinity,", "line 4, column created_at: a value of 8 characters that is not a time"),
            (",a,1,t,,created_at uid", "line 4, column uid: NULL, but it is the document's id"),
            ("u,a,1,t,,created", r#"line 4, column null_fields: names "created", which is no"#),
            (
                "u,a,1,t,,status created_at",
                "line 4, column null_fields: says that status is NULL, but it holds a value of 1 characters",
            ),
        ];
        for (row, expected) in cases {
            let message = bad(row);
            assert!(message.starts_with(expected), "{row}: {message}");
        }
        let mut layout = Layout::new(&HEADER.trim().split(',').collect(), &USERS, NullPolicy::Keep).unwrap();
        let short = csv::StringRecord::from(vec!["u"]);
        assert!(error(layout.document(&short)).contains("1 columns, but the header has 6"));
    }

    #[test]
    fn reads_times_exactly() {
        let cases = [
            ("1970-01-01 00:00:00+00", 0),
            ("1970-01-01 00:00:00.000001+00", 1),
            ("1970-01-01 00:00:00.1+00", 100_000),
            ("1969-12-31 23:59:59.5+00", -500_000),
            ("2000-02-29 12:34:56.789012+00", 951_827_696_789_012),
            ("0001-01-01 00:00:00+00", -62_135_596_800_000_000),
            ("9999-12-31 23:59:59.999999+00", 253_402_300_799_999_999),
        ];
        for (written, micros) in cases {
            assert_eq!(parse_time(written), Some(micros), "{written}");
        }
    }

    #[test]
    fn refuses_all_that_postgresql_does_not_write_in_utc() {
        let wrong = [
            "",
            "+00",
            "infinity",
            "-infinity",
            "2026-01-01",
            "2026-01-01 00:00:00",
            "2026-01-01T00:00:00+00",
            "2026-01-01 00:00:00Z",
            "2026-01-01 00:00:00+02",
            "2026-01-01 00:00:00+00:00",
            "2026-01-01 00:00:00-00",
            "2026-01-01 00:00:00+00 BC",
            "2026-01-01 00:00:00.+00",
            "2026-01-01 00:00:00.1234567+00",
            "2026-01-01 00:00:00.12a+00",
            "2026-01-01 00:00:00,5+00",
            "10000-01-01 00:00:00+00",
            "0000-01-01 00:00:00+00",
            "2026-00-01 00:00:00+00",
            "2026-13-01 00:00:00+00",
            "2026-02-29 00:00:00+00",
            "1900-02-29 00:00:00+00",
            "2026-04-31 00:00:00+00",
            "2026-01-00 00:00:00+00",
            "2026-01-01 24:00:00+00",
            "2026-01-01 00:60:00+00",
            "2026-01-01 00:00:60+00",
            " 026-01-01 00:00:00+00",
            "２026-01-01 00:00:00+00",
            "2026-01-01 00:00:00.1é+00",
        ];
        for written in wrong {
            assert_eq!(parse_time(written), None, "{written}");
        }
    }

    #[test]
    fn times_agree_with_jiff_and_come_back() {
        // Every 5,003,999,999,000,001 µs (58 days) through 9,999 years, and a day at every edge.
        let (first, last) = (-62_135_596_800_000_000, 253_402_300_799_999_999);
        let mut times: Vec<i64> = (first..=last).step_by(5_003_999_000_001).collect();
        times.extend([last, first + DAY, -DAY, -1, 0, 1, DAY - 1, DAY, last - DAY]);
        for micros in times {
            let shown = format_time(micros);
            let written = shown.replace('T', " ").replace('Z', "+00");
            assert_eq!(parse_time(&written), Some(micros), "{written}");
            if let Ok(time) = jiff::Timestamp::from_microsecond(micros) {
                assert_eq!(shown.parse::<jiff::Timestamp>().unwrap(), time);
            }
        }
    }

    #[test]
    fn values_show_their_type() {
        let shown = [
            (Value::Null, "null"),
            (text("1"), "string \"1\""),
            (Value::Integer(1), "integer 1"),
            (Value::Boolean(true), "boolean true"),
            (Value::Time(1), "time 1970-01-01T00:00:00.000001Z"),
            (Value::Other("double 1.5".to_owned()), "double 1.5"),
        ];
        for (value, expected) in shown {
            assert_eq!(value.to_string(), expected);
        }
        assert!(text(&"é".repeat(500)).to_string().ends_with("\"… (500 characters)"));
    }

    #[test]
    fn a_document_is_shown_whole_as_firestore_writes_it() {
        let document =
            row("u1,\"a \"\"b\"\"\",-7,t,1969-12-31 23:59:59.999999+00,", NullPolicy::Keep).unwrap();
        let json = r#"{"fields":{"created_at":{"timestampValue":"1969-12-31T23:59:59.999999Z"},"login_count":{"integerValue":"-7"},"status":{"stringValue":"a \"b\""},"uid":{"stringValue":"u1"},"verified":{"booleanValue":true}}}"#;
        assert_eq!(to_json(&document).to_string(), json);
        let document = row("u1,,1,t,,status created_at", NullPolicy::Keep).unwrap();
        assert_eq!(to_json(&document)["fields"]["status"], serde_json::json!({ "nullValue": null }));
    }

    #[test]
    fn the_text_of_a_document_is_the_one_that_jsonb_writes() {
        let fields = BTreeMap::from([
            ("bb".to_owned(), Value::Integer(-7)),
            ("c".to_owned(), text("é\u{1}\u{1f}\u{7f}\n\t\u{8}\u{c}\r\"\\/")),
            ("aa".to_owned(), Value::Null),
            ("d".to_owned(), Value::Boolean(true)),
            ("t".to_owned(), Value::Time(-1)),
        ]);
        assert_eq!(
            json_text("x", &fields),
            "[\"x\", {\"c\": \"é\\u0001\\u001f\u{7f}\\n\\t\\b\\f\\r\\\"\\\\/\", \"d\": true, \"t\": {\"time\": -1}, \
             \"aa\": null, \"bb\": -7}]"
        );
    }

    #[test]
    fn finds_every_difference() {
        let expected = row("u1,a,1,t,,created_at", NullPolicy::Default).unwrap();
        let same: BTreeMap<String, Value> =
            expected.fields.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        assert_eq!(differences(&expected, &same), []);

        let mut found = same;
        found.insert("login_count".to_owned(), text("1"));
        found.insert("extra".to_owned(), Value::Null);
        found.remove("verified");
        let shown: Vec<String> = differences(&expected, &found).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "login_count: expected integer 1, found string \"1\"",
                "verified: expected boolean true, found no such field",
                "extra: expected no such field, found null",
            ]
        );
    }

    #[test]
    fn long_strings_are_shown_where_they_part() {
        let difference = |a: String, b: String| FieldDifference {
            field: "f".to_owned(),
            expected: Some(Value::Text(a)),
            found: Some(Value::Text(b)),
        };
        let long = |mark: &str| format!("{}{mark}{}", "é".repeat(300), "z".repeat(300));
        let (expected, found) = difference(long("x"), long("y")).sides();
        let part = |mark: &str| format!("…\"{}{mark}{}\"…", "é".repeat(20), "z".repeat(59));
        assert_eq!(expected, format!("string {} (601 characters)", part("x")));
        assert_eq!(found, format!("string {} (601 characters)", part("y")));
        // One is the beginning of the other.
        let (expected, found) = difference("a".repeat(100), "a".repeat(101)).sides();
        assert!(expected.ends_with("\" (100 characters)"), "{expected}");
        assert!(found.ends_with("\" (101 characters)"), "{found}");
        // What looks alike must not be shown alike.
        let (expected, found) = difference("Jos\u{e9} ".to_owned(), "Jose\u{301}\u{a0}".to_owned()).sides();
        assert_eq!(
            (expected.as_str(), found.as_str()),
            ("string \"José \"", "string \"Jose\\u{301}\\u{a0}\"")
        );
    }
}
