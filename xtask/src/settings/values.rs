//! The types of the file's values. An error says what is expected and never what was found: it may be a
//! secret in the wrong place.

use super::nearest;
use datapath::document::NullPolicy;
use std::fmt::Write as _;
use std::time::Duration;
use toml::de::DeValue;

/// `Err`: what is expected.
pub(super) type Parsed<T> = Result<T, String>;

/// Where a secret is found: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecretFrom {
    Variable(String),
    /// A file that holds nothing else.
    File(String),
    /// A password file of libpq.
    Pgpass(Place),
}

/// A file, by its path or by the variable that holds its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path(String),
    Variable(String),
}

impl Place {
    /// What holds a `/` is a path.
    fn of(text: &str) -> Option<Place> {
        match text.contains('/') {
            true => Some(Place::Path(text.to_string())),
            false => is_variable(text).then(|| Place::Variable(text.to_string())),
        }
    }
}

/// `tls`, in libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

pub(super) const TLS_MODES: [(&str, TlsMode); 4] = [
    ("disable", TlsMode::Disable),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
];

/// In capitals, so that a password that was written in its place is not taken for one.
fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

pub(super) fn text(value: &DeValue<'_>) -> Parsed<String> {
    match value.as_str() {
        Some(text) if !text.trim().is_empty() => Ok(text.to_string()),
        Some(_) => Err("a text that is not empty".into()),
        None => wrong("a text in quotes", value),
    }
}

pub(super) fn yes_or_no(value: &DeValue<'_>) -> Parsed<bool> {
    value.as_bool().map_or_else(|| wrong("true or false, without quotes", value), Ok)
}

pub(super) fn count(value: &DeValue<'_>) -> Parsed<u64> {
    let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
    number.map_or_else(|| wrong("a whole number, 0 or more, without quotes", value), Ok)
}

pub(super) fn port(value: &DeValue<'_>) -> Parsed<u16> {
    match count(value).map(u16::try_from) {
        Ok(Ok(port)) if port > 0 => Ok(port),
        _ => wrong("a whole number from 1 to 65535, without quotes", value),
    }
}

/// Above 0.
pub(super) fn rate(value: &DeValue<'_>) -> Parsed<f64> {
    match number(value) {
        Some(number) if number > 0.0 => Ok(number),
        _ => wrong("a number above 0, without quotes", value),
    }
}

/// 0 or more.
pub(super) fn amount(value: &DeValue<'_>) -> Parsed<f64> {
    match number(value) {
        Some(number) if number >= 0.0 => Ok(number),
        _ => wrong("a number, 0 or more, without quotes", value),
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        DeValue::Integer(n) if n.radix() == 10 => n.as_str().parse().ok()?,
        DeValue::Float(n) => n.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

pub(super) fn duration(value: &DeValue<'_>) -> Parsed<Duration> {
    let expected = "a number with its unit in quotes: \"10s\", \"30m\", \"12h\", \"7d\"";
    value.as_str().and_then(span).map_or_else(|| wrong(expected, value), Ok)
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A time span as people write it: `10s`, `30m`, `12h`, `7d`.
pub fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].trim_end().parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// A time span as people read it, in its two largest units: `7d`, `1d 3h`, `0s`.
pub fn human(duration: Duration) -> String {
    let mut left = duration.as_secs();
    let mut out = String::new();
    let units = UNITS.into_iter().skip_while(|(_, seconds)| duration.as_secs() < *seconds).take(2);
    for (unit, seconds) in units {
        if left >= seconds {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}{}{unit}", if out.is_empty() { "" } else { " " }, left / seconds);
        }
        left %= seconds;
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// Two of them, the second not below the first.
pub(super) fn rising(value: &DeValue<'_>) -> Parsed<(f64, f64)> {
    let expected = "two numbers, the larger one last: [80, 95]";
    pair(value, expected, number, |warn, critical| warn <= critical)
}

/// Two of them, the second not above the first.
pub(super) fn falling(value: &DeValue<'_>) -> Parsed<(f64, f64)> {
    let expected = "two numbers, the smaller one last: [98, 90]";
    pair(value, expected, number, |warn, critical| warn >= critical)
}

pub(super) fn rising_times(value: &DeValue<'_>) -> Parsed<(Duration, Duration)> {
    let expected = "two times, the longer one last: [\"5m\", \"1h\"]";
    pair(value, expected, |value| duration(value).ok(), |warn, critical| warn <= critical)
}

fn pair<T: Copy>(
    value: &DeValue<'_>,
    expected: &str,
    parse: fn(&DeValue<'_>) -> Option<T>,
    in_order: fn(T, T) -> bool,
) -> Parsed<(T, T)> {
    let list: Option<Vec<T>> =
        value.as_array().and_then(|list| list.iter().map(|one| parse(one.get_ref())).collect());
    match list.as_deref() {
        Some([first, second]) if in_order(*first, *second) => Ok((*first, *second)),
        _ => wrong(expected, value),
    }
}

pub(super) fn names(value: &DeValue<'_>) -> Parsed<Vec<String>> {
    let expected = "a list of names: [\"a\", \"b\"]";
    let Some(list) = value.as_array() else { return wrong(expected, value) };
    list.iter().map(|name| text(name.get_ref()).map_err(|_| expected.to_string())).collect()
}

/// A URL, or a container's name. Not one with a password in it.
pub(super) fn endpoint(value: &DeValue<'_>) -> Parsed<String> {
    let expected = "an address: \"http://host:port/path\", \"https://…\" or \"container:NAME\"";
    let Some(text) = value.as_str() else { return wrong(expected, value) };
    if let Some(name) = text.strip_prefix("container:") {
        return if name.is_empty() { wrong(expected, value) } else { Ok(text.to_string()) };
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else { return wrong(expected, value) };
    match rest.split(['/', '?']).next().is_some_and(|authority| authority.contains('@')) {
        true => Err("an address without user and password: secrets are named, never written down".into()),
        false => Ok(text.to_string()),
    }
}

pub(super) fn tls_mode(value: &DeValue<'_>) -> Parsed<TlsMode> {
    one_of(value, &TLS_MODES)
}

pub(super) fn null_policy(value: &DeValue<'_>) -> Parsed<NullPolicy> {
    one_of(value, &[("default", NullPolicy::Default), ("keep", NullPolicy::Keep)])
}

fn one_of<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Parsed<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let found = value.as_str().unwrap_or_default();
    match (words.iter().find(|(name, _)| *name == found), nearest(found, names.iter().copied())) {
        (Some((_, word)), _) => Ok(*word),
        (None, Some(meant)) => Err(format!("one of {}: did you mean {meant}?", names.join(", "))),
        (None, None) => wrong(&format!("one of {}, in quotes", names.join(", ")), value),
    }
}

/// By hand, and without a word of what was found: it may be a password.
pub(super) fn secret(value: &DeValue<'_>) -> Parsed<SecretFrom> {
    let one = value.as_table().filter(|t| t.len() == 1).and_then(|t| t.iter().next());
    let one = one.and_then(|(key, value)| Some((key.get_ref().as_ref(), value.get_ref().as_str()?)));
    let secret = match one {
        Some(("env", name)) if is_variable(name) => Some(SecretFrom::Variable(name.to_string())),
        Some(("file", path)) if !path.is_empty() => Some(SecretFrom::File(path.to_string())),
        Some(("pgpass", place)) => Place::of(place).map(SecretFrom::Pgpass),
        _ => None,
    };
    secret.ok_or_else(|| {
        "named, never written down: { env = \"A_VARIABLE\" }, { file = \"path\" }, or a password file of \
         libpq: { pgpass = \"./path\" } or { pgpass = \"VARIABLE_WITH_ITS_PATH\" }"
            .into()
    })
}

/// The same of what no password file of libpq knows.
pub(super) fn token(value: &DeValue<'_>) -> Parsed<SecretFrom> {
    match secret(value) {
        Ok(SecretFrom::Pgpass(_)) | Err(_) => {
            Err("named, never written down: { env = \"A_VARIABLE\" } or { file = \"path\" }".into())
        }
        named => named,
    }
}

pub(super) fn place(value: &DeValue<'_>) -> Parsed<Place> {
    let expected =
        "a path with a / (\"./pg_service.conf\"), or the variable that holds one (\"PGSERVICEFILE\")";
    value.as_str().and_then(Place::of).map_or_else(|| wrong(expected, value), Ok)
}

fn wrong<T>(expected: &str, found: &DeValue<'_>) -> Parsed<T> {
    Err(format!(
        "{expected} (found: {})",
        match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T>(text: &str, parse: fn(&DeValue<'_>) -> Parsed<T>) -> Parsed<T> {
        parse(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn numbers() {
        assert_eq!(parse("5432", port), Ok(5432));
        assert_eq!(parse("0x10", port), Ok(16));
        for text in ["0", "65536", "-1", "\"5432\"", "5432.0", "true"] {
            assert!(parse(text, port).unwrap_err().starts_with("a whole number from 1 to 65535"), "{text}");
        }
        assert_eq!(parse("1_000", count), Ok(1000));
        assert_eq!(parse("10_000", rate), Ok(10_000.0));
        assert_eq!(parse("0.5", rate), Ok(0.5));
        assert_eq!(parse("0", amount), Ok(0.0));
        for text in ["0", "-1", "nan", "inf", "\"5\""] {
            assert!(parse(text, rate).is_err(), "{text}");
        }
        assert!(parse("-0.5", amount).is_err());
    }

    #[test]
    fn spans() {
        let seconds = |text: &str| parse(text, duration).map(|d| d.as_secs());
        assert_eq!(seconds("\"7d\""), Ok(604_800));
        assert_eq!(seconds("\"12 h\""), Ok(43_200));
        assert_eq!(seconds("\"30m\""), Ok(1_800));
        assert_eq!(seconds("\"0s\""), Ok(0));
        for text in
            ["7", "\"7\"", "\"d\"", "\"-1d\"", "\"7 days\"", "\"\"", "\"7é\"", "\"99999999999999999999d\""]
        {
            assert!(seconds(text).unwrap_err().contains("\"7d\""), "{text}");
        }
        let human = |seconds| human(Duration::from_secs(seconds));
        assert_eq!(human(604_800), "7d");
        assert_eq!(human(97_261), "1d 3h");
        assert_eq!(human(90), "1m 30s");
        assert_eq!(human(86_401), "1d");
        assert_eq!(human(0), "0s");
    }

    #[test]
    fn pairs_have_their_order() {
        assert_eq!(parse("[80, 95.5]", rising), Ok((80.0, 95.5)));
        assert_eq!(parse("[0, 0]", rising), Ok((0.0, 0.0)));
        assert_eq!(parse("[98, 90]", falling), Ok((98.0, 90.0)));
        let seconds = Duration::from_secs;
        assert_eq!(parse("[\"5m\", \"1h\"]", rising_times), Ok((seconds(300), seconds(3_600))));
        for text in ["[95, 80]", "[80]", "[1, 2, 3]", "80", "[\"80\", 95]", "[nan, 1]"] {
            assert!(
                parse(text, rising).unwrap_err().starts_with("two numbers, the larger one last"),
                "{text}"
            );
        }
        assert!(parse("[90, 98]", falling).unwrap_err().contains("[98, 90]"));
        assert!(parse("[\"1h\", \"5m\"]", rising_times).unwrap_err().contains("the longer one last"));
    }

    #[test]
    fn words_that_are_nearly_right() {
        assert_eq!(parse("\"verify-full\"", tls_mode), Ok(TlsMode::VerifyFull));
        let error = parse("\"verify_ful\"", tls_mode).unwrap_err();
        assert!(error.contains("did you mean verify-full?"), "{error}");
        let error = parse("\"hunter2\"", tls_mode).unwrap_err();
        assert!(error.contains("disable, require, verify-ca, verify-full") && !error.contains("hunter2"));
        assert_eq!(parse("\"keep\"", null_policy), Ok(NullPolicy::Keep));
    }

    #[test]
    fn secrets_are_named() {
        let variable = |name: &str| Place::Variable(name.to_string());
        for (text, expected) in [
            ("{ env = \"DB_PASSWORD\" }", SecretFrom::Variable("DB_PASSWORD".into())),
            ("{ file = \"secret\" }", SecretFrom::File("secret".into())),
            ("{ pgpass = \"PGPASSFILE\" }", SecretFrom::Pgpass(variable("PGPASSFILE"))),
            ("{ pgpass = \"~/.pgpass\" }", SecretFrom::Pgpass(Place::Path("~/.pgpass".into()))),
        ] {
            assert_eq!(parse(text, secret), Ok(expected), "{text}");
        }
        for text in [
            "\"hunter2\"",
            "{ env = \"hunter2\" }",
            "{ env = \"A\", b = \"hunter2\" }",
            "{ hunter2 = \"A\" }",
            "{ pgpass = \"hunter2\" }",
            "{ file = \"\" }",
            "{}",
            "{ env = 1 }",
        ] {
            let error = parse(text, secret).unwrap_err();
            assert!(error.starts_with("named, never written down") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn addresses_hold_no_password() {
        for text in ["\"http://localhost:8000/products\"", "\"https://a/b@c\"", "\"container:user-service\""]
        {
            assert!(parse(text, endpoint).is_ok(), "{text}");
        }
        for text in ["\"localhost:8000\"", "\"http://\"", "\"container:\"", "1"] {
            assert!(parse(text, endpoint).unwrap_err().starts_with("an address:"), "{text}");
        }
        let error = parse("\"https://me:hunter2@host/\"", endpoint).unwrap_err();
        assert!(error.contains("without user and password") && !error.contains("hunter2"), "{error}");
    }
}
