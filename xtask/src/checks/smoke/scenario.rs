//! Scenarios: one file of steps each (`xtask/smoke/*.toml`), with values that flow from one step to the next. Pure.
//!
//! ```toml
//! about = "what it shows"
//!
//! [[steps]]
//! name = "create an order"
//! request = "POST /api/orders"     # or: log = "user" with holds = "…", or: rows = "order"
//! service = "gateway"
//! token = true                     # the test token of the environment
//! body = { items = [{ product_id = "{product}", quantity = 2 }] }
//! status = 201
//! capture = { order = "/id" }      # a JSON pointer into the answer
//! undo = "DELETE /api/orders/{order}"
//! ```

use crate::model::{Service, Stop};
use anyhow::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Which services are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Those of the new stores.
    New,
    /// Those of the old database.
    Old,
}

impl Side {
    pub fn name(self) -> &'static str {
        match self {
            Side::New => "new",
            Side::Old => "old",
        }
    }
}

/// What is looked for in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rows {
    /// An order with its one item.
    Order,
    /// A review.
    Review,
    /// A request, in the gateway's log.
    Log,
}

impl Rows {
    /// The variables of its SQL (`sql/phases/smoke/`).
    fn needs(self) -> &'static [&'static str] {
        match self {
            Rows::Order => &["order", "product", "quantity", "amount"],
            Rows::Review => &["review", "product", "order", "rating"],
            Rows::Log => &["method", "path", "status"],
        }
    }
}

/// A scenario that has been read.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its file's name without the ending.
    pub name: String,
    pub about: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    /// `None`: of both.
    pub only: Option<Side>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Request(Box<Request>),
    /// Rows that have to be there, with values beside those that were captured.
    Rows(Rows, BTreeMap<String, String>),
    /// A service's log has to hold this.
    Log(Service, String),
}

#[derive(Clone, Debug)]
pub struct Request {
    pub service: Service,
    pub method: Method,
    /// With `{names}` of values.
    pub path: String,
    pub token: bool,
    pub body: Option<Value>,
    pub status: u16,
    /// Names, and where the values stand in the answer.
    pub capture: BTreeMap<String, String>,
    /// What takes it back: method and path.
    pub undo: Option<(Method, String)>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.method, self.path, self.service)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Request(request) => match &request.undo {
                Some((method, path)) => {
                    write!(f, "{request}, {}; taken back by {method} {path}", request.status)
                }
                None => write!(f, "{request}, {}", request.status),
            },
            What::Rows(Rows::Order, _) => f.write_str("in the database of the orders"),
            What::Rows(Rows::Review, _) => f.write_str("in the database of the products"),
            What::Rows(Rows::Log, _) => f.write_str("in the database of the gateway"),
            What::Log(service, holds) => write!(f, "the log of {service} holds {holds:?}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    steps: Vec<Spanned<StepFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    name: String,
    only: Option<Side>,
    request: Option<String>,
    service: Option<Service>,
    #[serde(default)]
    token: bool,
    body: Option<toml::Table>,
    status: Option<u16>,
    #[serde(default)]
    capture: BTreeMap<String, String>,
    undo: Option<String>,
    rows: Option<Rows>,
    #[serde(default)]
    with: BTreeMap<String, String>,
    log: Option<Service>,
    holds: Option<String>,
}

/// Values that every scenario has: the id of its requests, and a text that marks what it makes.
const GIVEN: [&str; 2] = ["request_id", "mark"];

impl Scenario {
    /// # Errors
    /// Refuses a file that is none, with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Scenario> {
        let line = |byte: usize| text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1;
        let wrong = |byte: Option<usize>, what: &str| {
            let line = byte.map(|byte| format!(" line {}", line(byte))).unwrap_or_default();
            Stop::Refused(format!("{}{line}: {what}", path.display()))
        };
        let file: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().map(|span| span.start), error.message()))?;
        if file.steps.is_empty() {
            return Err(wrong(None, "a scenario has at least one step: [[steps]]").into());
        }
        let mut known: Vec<String> = GIVEN.map(String::from).to_vec();
        let mut steps = Vec::new();
        for step in file.steps {
            let at = step.span().start;
            let step = step.into_inner();
            steps.push(read(step, &mut known).map_err(|what| wrong(Some(at), &what))?);
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Scenario { name, about: file.about, steps })
    }

    /// Whether requests go to this service.
    pub fn asks(&self, service: Service) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.what, What::Request(request) if request.service == service))
    }

    pub fn wants_token(&self) -> bool {
        self.steps.iter().any(|step| matches!(&step.what, What::Request(request) if request.token))
    }
}

/// `known`: the values that earlier steps have captured; those of this one come to them.
fn read(file: StepFile, known: &mut Vec<String>) -> Result<Step, String> {
    let name = file.name.clone();
    let wrong = |what: String| format!("step `{name}`: {what}");
    let what = match (&file.request, file.rows, file.log) {
        (Some(request), None, None) => {
            let request = self::request(&file, request).map_err(&wrong)?;
            let body = request.body.as_ref().map(Value::to_string).unwrap_or_default();
            names_known(&[&request.path, &body], known).map_err(&wrong)?;
            known.extend(request.capture.keys().cloned());
            let undo = request.undo.as_ref().map(|(_, path)| path.as_str());
            names_known(&[undo.unwrap_or_default()], known).map_err(&wrong)?;
            What::Request(Box::new(request))
        }
        (None, Some(rows), None) => {
            let with: Vec<&str> = file.with.values().map(String::as_str).collect();
            names_known(&with, known).map_err(&wrong)?;
            let is_there =
                |name: &&&str| known.iter().any(|known| known == **name) || file.with.contains_key(**name);
            if let Some(lost) = rows.needs().iter().find(|name| !is_there(name)) {
                return Err(wrong(format!(
                    "its SQL needs {lost}: no step before it captures one, nor does `with`"
                )));
            }
            What::Rows(rows, file.with.clone())
        }
        (None, None, Some(service)) => match &file.holds {
            Some(text) if !text.is_empty() => What::Log(service, text.clone()),
            _ => return Err(wrong("what has the log to hold? holds = \"…\"".into())),
        },
        _ => return Err(wrong("it has one of request = \"GET /…\", rows = \"…\" and log = \"…\"".into())),
    };
    Ok(Step { name: file.name, only: file.only, what })
}

fn request(file: &StepFile, request: &str) -> Result<Request, String> {
    let (method, path) = method_and_path(request)?;
    let body = file.body.as_ref().map(|body| serde_json::to_value(body).map_err(|error| error.to_string()));
    if let Some(pointer) =
        file.capture.values().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/'))
    {
        return Err(format!("{pointer} is no JSON pointer: \"/id\", \"/0/id\""));
    }
    Ok(Request {
        service: file.service.ok_or("of which service? service = \"gateway\"")?,
        method,
        path,
        token: file.token,
        body: body.transpose()?,
        status: file.status.ok_or("what is it answered with? status = 200")?,
        capture: file.capture.clone(),
        undo: file.undo.as_deref().map(method_and_path).transpose()?,
    })
}

fn method_and_path(text: &str) -> Result<(Method, String), String> {
    let expected = || format!("{text:?} is not a method and a path: \"GET /products\"");
    let (method, path) = text.split_once(' ').ok_or_else(expected)?;
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let method = known.into_iter().find(|known| known.as_str() == method).ok_or_else(expected)?;
    if path.starts_with('/') { Ok((method, path.to_string())) } else { Err(expected()) }
}

/// The `{names}` in a text, in their order.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let after = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    after.map(|(name, _)| name).filter(move |name| is_name(name))
}

fn names_known(texts: &[&str], known: &[String]) -> Result<(), String> {
    let mut named = texts.iter().flat_map(|text| names(text));
    match named.find(|name| !known.iter().any(|known| known == name)) {
        Some(name) => Err(format!("no step before it captures {{{name}}}: there are {}", known.join(", "))),
        None => Ok(()),
    }
}

/// A text with its values in the place of their names.
pub fn filled(text: &str, values: &BTreeMap<String, Value>) -> String {
    let mut out = text.to_string();
    for (name, value) in values {
        out = out.replace(&format!("{{{name}}}"), &plain(value));
    }
    out
}

/// The same of a body: a text that is one name becomes the value itself, a number stays one.
pub fn filled_json(body: &Value, values: &BTreeMap<String, Value>) -> Value {
    match body {
        Value::String(text) => {
            let whole = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            match whole.and_then(|name| values.get(name)) {
                Some(value) => value.clone(),
                None => Value::String(filled(text, values)),
            }
        }
        Value::Array(list) => list.iter().map(|value| filled_json(value, values)).collect(),
        Value::Object(members) => {
            let filled = members.iter().map(|(key, value)| (key.clone(), filled_json(value, values)));
            Value::Object(filled.collect())
        }
        other => other.clone(),
    }
}

/// As a text: without the quotes of one.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The values that a step captures from an answer.
///
/// # Errors
/// Names the one that is not there.
pub fn captured(request: &Request, body: &str) -> Result<BTreeMap<String, Value>, String> {
    if request.capture.is_empty() {
        return Ok(BTreeMap::new());
    }
    let json: Value = serde_json::from_str(body).map_err(|_| format!("{request}: the answer is no JSON"))?;
    let one = |(name, pointer): (&String, &String)| match json.pointer(pointer) {
        Some(Value::Null) | None => Err(format!("{request}: the answer has no {pointer}, which is {name}")),
        Some(value) => Ok((name.clone(), value.clone())),
    };
    request.capture.iter().map(one).collect()
}

/// The scenarios of a folder, by name; or those that are named: a file's name in the folder, or, with a /, a
/// path.
///
/// # Errors
/// Refuses a folder without scenarios, and one that is not there, with the names of those that are.
pub fn load(folder: &Path, wanted: &[String]) -> Result<Vec<Scenario>> {
    let mut there: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    there.sort();
    let paths = match wanted {
        [] => there.clone(),
        wanted => wanted.iter().map(|name| path_of(folder, name)).collect(),
    };
    if paths.is_empty() {
        crate::refuse!("there is no scenario in {}: *.toml", folder.display());
    }
    let read = |path: &PathBuf| match std::fs::read_to_string(path) {
        Ok(text) => Scenario::parse(path, &text),
        Err(error) => {
            let names = there.iter().filter_map(|path| path.file_stem()).map(|name| name.to_string_lossy());
            let names = names.collect::<Vec<_>>().join(", ");
            crate::refuse!("{} cannot be read: {error} (there are {names})", path.display())
        }
    };
    paths.iter().map(read).collect()
}

fn path_of(folder: &Path, name: &str) -> PathBuf {
    if name.contains('/') {
        PathBuf::from(name)
    } else {
        folder.join(format!("{}.toml", name.trim_end_matches(".toml")))
    }
}

/// What `--wait` takes: `60s`, `5m`.
pub fn patience(text: &str) -> Result<std::time::Duration, String> {
    crate::settings::span(text).ok_or_else(|| "a number with its unit: 60s, 5m".to_string())
}
