//! What `--json` prints, checked against docs/json.schema.json: the keywords that it uses, and no others.

use serde_json::Value;
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/json.schema.json")).unwrap());

/// Why the document is none that the schema allows; empty: it is one.
pub fn wrong(document: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check(&SCHEMA, document, "$", &mut wrong);
    if let Some(exit) = document["exit"].as_u64().filter(|exit| *exit < 128) {
        let command = document["command"].as_str().unwrap_or_default();
        let verb = command.split(' ').next().unwrap();
        // None could be recognised: a usage error.
        let ends = xtask::cli::about().into_iter().find(|about| about.name == verb).map(|about| about.exits);
        let told = ends.unwrap_or(vec![2]).contains(&u8::try_from(exit).unwrap());
        wrong.extend(
            (!told).then(|| format!("{command} ends with {exit}, which docs/commands.md does not say")),
        );
    }
    wrong
}

/// The commands whose results the schema describes.
pub fn described() -> Vec<String> {
    let all = SCHEMA["allOf"].as_array().unwrap().iter();
    all.filter_map(|one| one["if"]["properties"]["command"]["const"].as_str()).map(String::from).collect()
}

fn is_valid(schema: &Value, value: &Value) -> bool {
    let mut wrong = Vec::new();
    check(schema, value, "", &mut wrong);
    wrong.is_empty()
}

fn check(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let keywords = match schema {
        Value::Bool(true) => return,
        Value::Object(keywords) => keywords,
        other => panic!("no schema: {other}"),
    };
    for (keyword, rule) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "then" | "else" => true,
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(SCHEMA.pointer(path).unwrap_or_else(|| panic!("{path}")), value, at, wrong);
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_of(name, value)),
                name => is_of(name, value),
            },
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
            "format" => {
                assert_eq!(rule, "date-time");
                value.as_str().is_none_or(is_utc)
            }
            "required" => {
                for key in rule.as_array().unwrap().iter().map(|key| key.as_str().unwrap()) {
                    if value.is_object() && value.get(key).is_none() {
                        wrong.push(format!("{at}: {key} is missing"));
                    }
                }
                true
            }
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        check(rule, value, &format!("{at}.{key}"), wrong);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &String| schema["properties"].get(key).is_some();
                for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                    match rule {
                        Value::Bool(false) => wrong.push(format!("{at}: {key} is unknown")),
                        rule => check(rule, value, &format!("{at}.{key}"), wrong),
                    }
                }
                true
            }
            "propertyNames" => {
                assert_eq!(rule, &serde_json::json!({ "pattern": "^\\S+$" }));
                let is_name = |key: &String| !key.is_empty() && !key.contains(char::is_whitespace);
                let odd = value.as_object().into_iter().flatten().find(|(key, _)| !is_name(key));
                wrong.extend(odd.map(|(key, _)| format!("{at}: {key:?} is no name")));
                true
            }
            "items" => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, value, &format!("{at}[{index}]"), wrong);
                }
                true
            }
            "allOf" => {
                rule.as_array().unwrap().iter().for_each(|rule| check(rule, value, at, wrong));
                true
            }
            "anyOf" => any_of(rule.as_array().unwrap(), value, at, wrong),
            "oneOf" => rule.as_array().unwrap().iter().filter(|rule| is_valid(rule, value)).count() == 1,
            "if" => {
                let then = keywords.get(if is_valid(rule, value) { "then" } else { "else" });
                then.into_iter().for_each(|then| check(then, value, at, wrong));
                true
            }
            other => panic!("{other}: a keyword that this checker does not know"),
        };
        if !holds {
            let mut found = value.to_string();
            found.truncate(found.char_indices().nth(200).map_or(found.len(), |(at, _)| at));
            wrong.push(format!("{at}: not {keyword} {rule}: {found}"));
        }
    }
}

/// Where none holds, what is wrong by the one that comes nearest.
fn any_of(rules: &[Value], value: &Value, at: &str, wrong: &mut Vec<String>) -> bool {
    let tried = rules.iter().map(|rule| {
        let mut wrong = Vec::new();
        check(rule, value, at, &mut wrong);
        wrong
    });
    let nearest = tried.min_by_key(Vec::len).unwrap();
    wrong.extend(nearest);
    true
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

/// RFC 3339, in UTC.
fn is_utc(text: &str) -> bool {
    text.ends_with('Z') && text.contains('T') && text.parse::<jiff::Timestamp>().is_ok()
}
