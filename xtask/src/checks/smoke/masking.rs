//! Answers and log lines as people may read them: without customers' values unless those are asked for, and
//! never with the token. Pure.

use crate::findings::{Values, Words, masked};
use crate::model::grouped;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::net::IpAddr;

/// Members of an answer that services explain themselves by.
const EXPLAIN: [&str; 6] = ["reason", "error", "message", "detail", "status", "service"];

/// Characters shown of one answer.
const LONGEST: usize = 2_000;

/// The body of an answer.
pub(super) fn body(text: &str, token: Option<&SecretString>) -> Words {
    Words::both(|values| {
        let said = match (values, serde_json::from_str::<Value>(text)) {
            (Values::Shown, _) => text.to_string(),
            (Values::Masked, Ok(json)) => without_values(&json).to_string(),
            (Values::Masked, Err(_)) if text.is_empty() => String::new(),
            (Values::Masked, Err(_)) => {
                format!(
                    "a text of {} characters (--show-values shows it)",
                    grouped(text.chars().count() as u64)
                )
            }
        };
        cut(&without_token(&said, token))
    })
}

/// Numbers, booleans and what explains stay.
fn without_values(json: &Value) -> Value {
    match json {
        Value::String(text) => masked(text).into(),
        Value::Array(list) => list.iter().map(without_values).collect(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                let value = match value {
                    Value::String(text) if EXPLAIN.contains(&key.as_str()) => in_words(text).into(),
                    value => without_values(value),
                };
                (key.clone(), value)
            };
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

/// A line of a log.
pub(super) fn line(text: &str, token: Option<&SecretString>) -> Words {
    Words::both(|values| {
        let said = if values == Values::Shown { text.to_string() } else { in_words(text) };
        cut(&without_token(&said, token))
    })
}

/// Free text without what is quoted, addresses of people and of machines, and what looks like the id of a person.
fn in_words(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split('"').enumerate() {
        match place % 2 {
            0 => out += &part.split(' ').map(word).collect::<Vec<_>>().join(" "),
            _ => out += "\"***\"",
        }
    }
    out
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| matches!(c, ',' | ';' | '(' | ')' | '[' | ']'));
    let address = bare.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback());
    if bare.contains('@') || address {
        return "***".to_string();
    }
    let pieces = word.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    pieces.map(|piece| if is_long_id(piece) { "***" } else { piece }).collect()
}

/// Letters and digits as long as those of a uid or a token: those of words and of our own requests are shorter.
fn is_long_id(piece: &str) -> bool {
    piece.len() >= 20 && piece.contains(|c: char| c.is_ascii_digit()) && piece.contains(char::is_alphabetic)
}

fn without_token(text: &str, token: Option<&SecretString>) -> String {
    match token.map(|token| token.expose_secret()).filter(|token| !token.is_empty()) {
        Some(token) => text.replace(token, "***"),
        None => text.to_string(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_shows_its_shape_and_what_explains_it() {
        let token = SecretString::from("s3cret");
        let text = r#"{"id":7,"email":"a@b.c","items":[{"name":"Ann"}],"reason":"no order of a@b.c \"Ann\" s3cret"}"#;
        let words = body(text, Some(&token));
        let expected = concat!(
            r#"{"email":"*** (5 characters)","id":7,"items":[{"name":"*** (3 characters)"}],"#,
            r#""reason":"no order of *** \"***\" ***"}"#
        );
        assert_eq!(words.said(Values::Masked), expected);
        assert_eq!(words.said(Values::Shown), text.replace("s3cret", "***"));
        let page = body("<html>a@b.c</html>", None);
        assert_eq!(page.said(Values::Masked), "a text of 18 characters (--show-values shows it)");
        assert_eq!(page.said(Values::Shown), "<html>a@b.c</html>");
    }

    #[test]
    fn a_line_of_a_log_shows_no_person() {
        let words = line("user a@b.c from 192.0.2.7, said \"hello\" to 127.0.0.1", None);
        assert_eq!(words.said(Values::Masked), "user *** from *** said \"***\" to 127.0.0.1");
        let uid = line("GET /users/q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g 200 xtask-smoke-48c7523f1c4fcc8e-a", None);
        assert_eq!(uid.said(Values::Masked), "GET /users/*** 200 xtask-smoke-48c7523f1c4fcc8e-a");
    }
}
