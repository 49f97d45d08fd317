//! Text on its way to a person: without signs that a terminal obeys, or that turn a line around. Pure.

/// Control characters, and signs that change the direction of a line or that nobody sees.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// In one line.
pub fn escaped(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Line breaks and tabs stay. Escapes are those of JSON, so that what was JSON is the same JSON.
pub fn for_terminal(text: &str) -> String {
    let escape = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if is_unsafe(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// A time as a person reads it, with its zone: `2026-11-29 22:18:45 UTC` for what files have as
/// `2026-11-29T22:18:45.123Z`, wherever it begins the text.
pub fn utc(text: &str) -> String {
    let (time, rest) = text.split_once('Z').unwrap_or((text, ""));
    match (time.split_once('T'), text.contains('Z')) {
        (Some((day, clock)), true) if day.len() == 10 => {
            format!("{day} {} UTC{rest}", clock.split('.').next().unwrap_or(clock))
        }
        _ => text.to_string(),
    }
}

/// Without the numbers that the system gives its errors, behind their words: ` (os error 30)`.
pub fn without_codes(text: &str) -> String {
    const CODE: &str = " (os error ";
    let mut parts = text.split(CODE);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.split_once(')') {
            Some((code, rest)) if code.parse::<i32>().is_ok() => out += rest,
            _ => out += &format!("{CODE}{part}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(escaped("a\u{1b}[2J\nb\u{202e}é"), "a\\u{1b}[2J\\nb\\u{202e}é");
        assert_eq!(
            for_terminal("a\u{1b}[2J\n\tb\r\u{9b}\u{202e}é"),
            "a\\u001b[2J\n\tb\\u000d\\u009b\\u202eé"
        );
    }

    #[test]
    fn a_time_carries_its_zone() {
        assert_eq!(utc("2026-11-29T22:18:45.123Z"), "2026-11-29 22:18:45 UTC");
        assert_eq!(utc("2026-11-29T22:18:45Z (order)"), "2026-11-29 22:18:45 UTC (order)");
        assert_eq!(utc("a time that is not known"), "a time that is not known");
    }

    #[test]
    fn the_systems_numbers_are_left_out() {
        assert_eq!(without_codes("a: Read-only (os error 30): b (os error 2)"), "a: Read-only: b");
        assert_eq!(without_codes("(os error x) (os error 3"), "(os error x) (os error 3");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "\u{7f}a": "\u{1b}\u{9b}\u{202e}\r\n\"\\" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        assert_ne!(for_terminal(&text), text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&for_terminal(&text)).unwrap(), value);
    }
}
