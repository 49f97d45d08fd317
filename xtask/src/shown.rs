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

/// In lines of at most so many columns, broken at spaces alone: a word that is longer is left whole. What goes on in
/// a further line stands two columns further in than the line began.
pub fn wrapped(text: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let began = line.chars().take_while(|c| *c == ' ').count();
        out += &hanging(line, columns, began + 2);
        out += end;
    }
    out
}

/// One line, with what goes on in further lines so far in.
pub fn hanging(line: &str, columns: usize, further_in: usize) -> String {
    let (mut out, mut rest) = (String::new(), line.to_string());
    while rest.chars().count() > columns {
        let Some((this, next)) = broken(&rest, columns) else { break };
        out += this.trim_end();
        out.push('\n');
        rest = format!("{:further_in$}{}", "", next.trim_start());
    }
    out + &rest
}

/// At the last space that is within the columns, else at the first behind them; `None`: there is none.
fn broken(line: &str, columns: usize) -> Option<(&str, &str)> {
    let begins = line.len() - line.trim_start().len();
    let mut at = None;
    for (column, (place, c)) in line.char_indices().enumerate() {
        if at.is_some() && column > columns {
            break;
        }
        if c == ' ' && place > begins && !line[place..].trim_start().is_empty() {
            at = Some(place);
        }
    }
    at.map(|at| line.split_at(at))
}

/// As many as there is room for, and how many more there are. The first is there in any case.
pub fn some_of(items: &[String], room: usize) -> String {
    let with = |n: usize| match items.len() - n {
        0 => items.join(", "),
        more => format!("{}, and {more} more", items[..n].join(", ")),
    };
    let fitting = (1..=items.len()).rev().map(with).find(|text| text.chars().count() <= room);
    fitting.or_else(|| (!items.is_empty()).then(|| with(1))).unwrap_or_default()
}

/// How long something took or takes: `5.3 s`, `12 min 3 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds as u64;
    match whole {
        ..7200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "✗ NOT PROVEN: 1 differ · 50,702 rows = 50,299 migrated + 349 excluded + 54 quarantined · 0.9 s\n  \
                        source       unchanged until 2026-11-29T22:09:03.980Z\n\n    \
                        a_word_that_is_longer_than_sixty_columns_and_has_no_space_in_it_at_all and more\n";

    #[test]
    fn lines_fit_and_no_word_is_broken() {
        for columns in [60, 80, 200] {
            let wrapped = wrapped(TEXT, columns);
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            assert_eq!(words(&wrapped), words(TEXT), "{columns}");
            for line in wrapped.lines().filter(|line| line.chars().count() > columns) {
                assert_eq!(words(line).len(), 1, "{columns}: {line}");
            }
        }
        assert_eq!(wrapped(TEXT, 200), TEXT);
    }

    #[test]
    fn what_goes_on_stands_further_in() {
        assert_eq!(wrapped("  one two three\n", 10), "  one two\n    three\n");
        assert_eq!(
            hanging("  label   one two three", 15, 10),
            "  label   one\n          two\n          three"
        );
        assert_eq!(wrapped("loooooooong word", 4), "loooooooong\n  word");
    }

    #[test]
    fn as_many_as_there_is_room_for() {
        let items = ["one 1", "two 2", "three 3"].map(String::from);
        assert_eq!(some_of(&items, 80), "one 1, two 2, three 3");
        assert_eq!(some_of(&items, 21), "one 1, two 2, three 3");
        assert_eq!(some_of(&items, 20), "one 1, and 2 more");
        assert_eq!(some_of(&items[..1], 2), "one 1");
        assert_eq!(some_of(&[], 80), "");
    }

    #[test]
    fn times_are_told_in_the_unit_that_is_read() {
        assert_eq!(
            [5.26, 119.9, 723.0, 7500.0].map(duration),
            ["5.3 s", "119.9 s", "12 min 3 s", "2 h 5 min"]
        );
    }

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
