//! The record of a decommission as if a day had passed.
#![allow(clippy::unwrap_used)]

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// As if its newest look had been yesterday and three hours ago, with nobody there since.
pub fn has_passed(record: &mut Value) {
    let now = record["samples"].as_array().unwrap().last().unwrap().clone();
    let ago = |hours: i64| {
        let at = Timestamp::now() - hours.hours();
        let mut sample = now.clone();
        sample["at"] = json!(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        sample
    };
    record["samples"] = json!([ago(25), ago(3)]);
    record["quiet"] = Value::Null;
}
