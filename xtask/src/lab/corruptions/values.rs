//! A value of a row changed a little, in every way in which a migration could get it wrong. Pure.

use super::held::Kind;
use fastrand::Rng;

/// A way to change a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Twist {
    Null,
    NullForNothing,
    NothingForNull,
    NothingForValue,
    WordForNull,
    ValueForNull,
    Character,
    Case,
    Shorter,
    Blank,
    Combining,
    Spelling,
    Invisible,
    Sign,
    LastDigit,
    Step,
    NotANumber,
    Microsecond,
    TwoTo32,
    Hour,
    Infinity,
    Flip,
    NumberInJson,
    MemberInJson,
    ElementNull,
    Bounds,
    Order,
    Nested,
    ElementAdded,
    Mask,
    NextAddress,
}

use Twist::*;

/// How the new value is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assignment {
    Value(Option<String>),
    /// Microseconds on.
    Later(i64),
    /// So many on.
    Next(i64),
}

impl Twist {
    pub fn name(self) -> &'static str {
        match self {
            Null => "value: NULL for a value",
            NullForNothing => "value: NULL for '', 0, false, {}",
            NothingForNull => "value: '', 0, false, {} for NULL",
            NothingForValue => "value: '', 0, false, {} for a value",
            WordForNull => "value: the word for NULL",
            ValueForNull => "value: a value for NULL",
            Character => "value: one character",
            Case => "value: upper or lower case",
            Shorter => "value: the last character gone",
            Blank => "value: a blank at the end",
            Combining => "value: a combining character more",
            Spelling => "value: é for e and accent",
            Invisible => "value: a character that nobody sees",
            Sign => "value: a number's sign",
            LastDigit => "value: a number's last digit",
            Step => "value: a number by 65,536",
            NotANumber => "value: NaN",
            Microsecond => "value: a microsecond",
            TwoTo32 => "value: 2^32 microseconds",
            Hour => "value: an hour",
            Infinity => "value: infinity",
            Flip => "value: true and false",
            NumberInJson => "value: 1.0 and 1.00 in jsonb",
            MemberInJson => "value: a member more in jsonb",
            ElementNull => "value: an element NULL and \"NULL\"",
            Bounds => "value: an array's bounds",
            Order => "value: an array's order",
            Nested => "value: an array's dimensions",
            ElementAdded => "value: an element more",
            Mask => "value: an address's mask",
            NextAddress => "value: the next address",
        }
    }

    /// Those that make sense for values of a kind.
    pub fn of(kind: &Kind) -> Vec<Twist> {
        let own: &[Twist] = match kind {
            Kind::Text(_) => &[Character, Case, Shorter, Blank, Combining, Spelling, Invisible, WordForNull],
            Kind::Whole(..) => &[Sign, LastDigit, Step],
            Kind::Number => &[Sign, LastDigit, NotANumber],
            Kind::Time => &[Microsecond, TwoTo32, Hour, Infinity],
            Kind::Boolean => &[Flip],
            Kind::Json => &[NumberInJson, MemberInJson, Character, Case, WordForNull],
            Kind::Array => &[ElementNull, Bounds, Order, Nested, ElementAdded, WordForNull],
            Kind::Address => &[Mask, NextAddress],
        };
        let nulls = [Null, NullForNothing, NothingForNull, NothingForValue, ValueForNull];
        own.iter().copied().chain(nulls).collect()
    }
}

/// What stands for nothing beside NULL.
fn nothing(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Text(_) => Some(""),
        Kind::Whole(least, _) => (*least <= 0).then_some("0"),
        Kind::Number => Some("0.00"),
        Kind::Boolean => Some("false"),
        Kind::Json | Kind::Array => Some("{}"),
        Kind::Time | Kind::Address => None,
    }
}

fn word(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Text(Some(0..4)) => None,
        Kind::Text(_) => Some("NULL"),
        Kind::Json => Some("null"),
        Kind::Array => Some("{NULL}"),
        _ => None,
    }
}

fn something(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text(_) => "x",
        Kind::Whole(..) => "1",
        Kind::Number => "1.00",
        Kind::Time => "2025-01-01 00:00:00+00",
        Kind::Boolean => "true",
        Kind::Json => "[]",
        Kind::Array => "{x}",
        Kind::Address => "192.0.2.1/32",
    }
}

/// The value changed; None where this cannot be done to it.
pub fn twisted(
    twist: Twist,
    kind: &Kind,
    nullable: bool,
    value: Option<&str>,
    rng: &mut Rng,
) -> Option<Assignment> {
    let new = |value: &str| Some(Assignment::Value(Some(value.to_string())));
    let is_nothing = value.is_some() && value == nothing(kind);
    match (twist, value) {
        (NothingForNull, None) => new(nothing(kind)?),
        (WordForNull, None) => new(word(kind)?),
        (ValueForNull, None) => new(something(kind)),
        (_, None) => None,
        (Null, Some(_)) => (nullable && !is_nothing).then_some(Assignment::Value(None)),
        (NullForNothing, Some(_)) => (nullable && is_nothing).then_some(Assignment::Value(None)),
        (NothingForValue, Some(_)) if is_nothing => None,
        (NothingForValue, Some(_)) => new(nothing(kind)?),
        (NothingForNull | WordForNull | ValueForNull, Some(_)) => None,
        (Infinity, Some(value)) => new(if value == "infinity" { "-infinity" } else { "infinity" }),
        (Microsecond | TwoTo32 | Hour, Some(value)) => {
            // Beyond the last one there is none.
            let movable = !value.ends_with("infinity") && !value.starts_with("294276");
            let by = match twist {
                Microsecond => 1,
                TwoTo32 => 1 << 32,
                _ => 3_600_000_000,
            };
            movable.then_some(Assignment::Later(by))
        }
        (NextAddress, Some(value)) => (!value.contains("255")).then_some(Assignment::Next(1)),
        (Step, Some(value)) => {
            let stepped = value.parse::<i64>().ok()? + 65_536;
            matches!(kind, Kind::Whole(_, most) if stepped <= *most).then_some(Assignment::Next(65_536))
        }
        (_, Some(value)) => {
            let twisted = text(twist, kind, value, rng)?;
            (twisted != value).then_some(Assignment::Value(Some(twisted)))
        }
    }
}

/// The value's text changed.
fn text(twist: Twist, kind: &Kind, value: &str, rng: &mut Rng) -> Option<String> {
    match twist {
        Character | Case => in_text(twist, kind, value, rng),
        Shorter => {
            let end = value.char_indices().last()?.0;
            (end > 0).then(|| value[..end].to_string())
        }
        Blank => longer(kind, value, value.len(), " "),
        Combining | Invisible => {
            let place =
                rng.choice(value.char_indices().map(|(at, c)| at + c.len_utf8()).collect::<Vec<_>>())?;
            longer(kind, value, place, if twist == Combining { "\u{301}" } else { "\u{200b}" })
        }
        Spelling => spelled(kind, value),
        Sign => match value.strip_prefix('-') {
            Some(positive) => within(kind, positive.to_string()),
            None if value == "NaN" || value.chars().all(|c| matches!(c, '0' | '.')) => None,
            None => within(kind, format!("-{value}")),
        },
        LastDigit => last_digit(kind, value, rng),
        NotANumber => Some(if value == "NaN" { "1.00".to_string() } else { "NaN".to_string() }),
        Flip => Some(if value == "true" { "false".to_string() } else { "true".to_string() }),
        NumberInJson => number_in_json(value),
        MemberInJson => member_in_json(value),
        ElementNull | Bounds | Order | Nested | ElementAdded => array(twist, value),
        Mask => mask(value),
        _ => None,
    }
}

/// A letter or a digit of the value itself: of jsonb, inside its strings.
fn in_text(twist: Twist, kind: &Kind, value: &str, rng: &mut Rng) -> Option<String> {
    let changed = |c: char| match (twist, c) {
        (Character, 'a'..='y' | 'A'..='Y' | '0'..='8') => char::from_u32(u32::from(c) + 1),
        (Character, 'z' | 'Z' | '9') => char::from_u32(u32::from(c) - 1),
        (Character, ' ' | '🛒' | '𝄞' | '.') => Some('x'),
        (Case, c) if c.is_lowercase() => one(c.to_uppercase()),
        (Case, c) if c.is_uppercase() => one(c.to_lowercase()),
        _ => None,
    };
    let (mut inside, mut escaped, mut places) = (*kind != Kind::Json, false, Vec::new());
    for (at, c) in value.char_indices() {
        if *kind == Kind::Json {
            match c {
                '"' if !escaped => inside = !inside,
                // What an escape means is not to be touched.
                _ if escaped || c == '\\' => {
                    escaped = !escaped && c == '\\';
                    continue;
                }
                _ => {}
            }
        }
        if inside && let Some(new) = changed(c).filter(|new| *new != c) {
            places.push((at, c, new));
        }
    }
    let (at, old, new) = rng.choice(places)?;
    Some(format!("{}{new}{}", &value[..at], &value[at + old.len_utf8()..]))
}

fn one(mut chars: impl Iterator<Item = char>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}

/// With something more, where it fits.
fn longer(kind: &Kind, value: &str, at: usize, more: &str) -> Option<String> {
    let fits = !matches!(kind, Kind::Text(Some(most)) if value.chars().count() >= *most);
    fits.then(|| format!("{}{more}{}", &value[..at], &value[at..]))
}

/// The same letters, spelled in another way.
fn spelled(kind: &Kind, value: &str) -> Option<String> {
    if value.contains('\u{e9}') {
        let at = value.find('\u{e9}')?;
        return longer(kind, &value.replacen('\u{e9}', "e", 1), at + 1, "\u{301}");
    }
    value.contains("e\u{301}").then(|| value.replacen("e\u{301}", "\u{e9}", 1))
}

fn within(kind: &Kind, number: String) -> Option<String> {
    match kind {
        Kind::Whole(least, most) => {
            let value = number.parse::<i64>().ok()?;
            (*least <= value && value <= *most).then_some(number)
        }
        _ => Some(number),
    }
}

fn last_digit(kind: &Kind, value: &str, rng: &mut Rng) -> Option<String> {
    let last = value.chars().last().filter(char::is_ascii_digit)?;
    let others: Vec<char> = ('0'..='9').filter(|c| *c != last).collect();
    let digit = |digit: char| within(kind, format!("{}{digit}", &value[..value.len() - 1]));
    let fitting: Vec<String> = others.into_iter().filter_map(digit).collect();
    // -0 is 0, which another way brings about.
    rng.choice(fitting.into_iter().filter(|v| v != "-0").collect::<Vec<_>>())
}

/// `{"a": 1.0}` → `{"a": 1.00}`; a number without a point gets one.
fn number_in_json(value: &str) -> Option<String> {
    let (mut inside, mut escaped) = (false, false);
    let mut end = None;
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            c if c.is_ascii_digit() && !inside => {
                end = Some(at + 1);
                break;
            }
            _ => {}
        }
    }
    let start = end? - 1;
    let length =
        value[start..].find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len() - start);
    let number = &value[start..start + length];
    let more = if number.contains('.') { "0" } else { ".0" };
    let rest = &value[start + length..];
    (!rest.starts_with(['e', 'E'])).then(|| format!("{}{number}{more}{rest}", &value[..start]))
}

fn member_in_json(value: &str) -> Option<String> {
    match value {
        "{}" => Some("{\"\": null}".to_string()),
        "[]" => Some("[null]".to_string()),
        value => {
            let (inner, more) = match value.strip_suffix('}') {
                Some(inner) => (inner, ", \"xtask\": null}"),
                None => (value.strip_suffix(']')?, ", null]"),
            };
            Some(format!("{inner}{more}"))
        }
    }
}

/// Bounds, if they are not the usual ones, and elements as they are written.
fn elements(value: &str) -> Option<(&str, Vec<String>)> {
    let start = value.find('{')?;
    let inner = value[start..].strip_prefix('{')?.strip_suffix('}')?;
    let (mut all, mut current, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in inner.chars() {
        match c {
            ',' if !quoted => all.push(std::mem::take(&mut current)),
            '{' if !quoted => return None,
            c => {
                if !escaped && c == '"' {
                    quoted = !quoted;
                }
                escaped = c == '\\' && !escaped;
                current.push(c);
            }
        }
    }
    if !inner.is_empty() {
        all.push(current);
    }
    Some((&value[..start], all))
}

fn array(twist: Twist, value: &str) -> Option<String> {
    let (bounds, mut all) = elements(value)?;
    let plain = bounds.is_empty();
    match twist {
        ElementNull => {
            let at =
                all.iter().position(|e| e == "NULL" || e == "\"NULL\"").or((!all.is_empty()).then_some(0))?;
            all[at] = if all[at] == "NULL" { "\"NULL\"".to_string() } else { "NULL".to_string() };
        }
        Bounds if all.is_empty() => return None,
        Bounds if plain => return Some(format!("[0:{}]={value}", all.len() - 1)),
        Bounds => return Some(format!("{{{}}}", all.join(","))),
        Order => all.reverse(),
        Nested if all.is_empty() || !plain => return None,
        Nested => return Some(format!("{{{value}}}")),
        // Bounds say how many there are.
        _ if !plain => return None,
        _ => all.push("\"\"".to_string()),
    }
    Some(format!("{bounds}{{{}}}", all.join(",")))
}

fn mask(value: &str) -> Option<String> {
    let (host, mask) = value.split_once('/')?;
    let all = if host.contains(':') { "128" } else { "32" };
    Some(format!("{host}/{}", if mask == all { "24" } else { all }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twist(twist: Twist, kind: Kind, value: Option<&str>) -> Option<String> {
        let mut rng = Rng::with_seed(1);
        match twisted(twist, &kind, true, value, &mut rng)? {
            Assignment::Value(value) => Some(value.unwrap_or_else(|| "(null)".into())),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn every_way_changes_a_value_a_little() {
        let text = Kind::Text(Some(4));
        for (way, kind, value, expected) in [
            (Blank, text.clone(), Some("abc"), Some("abc ")),
            (Blank, text.clone(), Some("abcd"), None),
            (Shorter, text.clone(), Some("aé"), Some("a")),
            (Shorter, text.clone(), Some("a"), None),
            (Spelling, Kind::Text(None), Some("José"), Some("Jose\u{301}")),
            (Spelling, Kind::Text(None), Some("Jose\u{301}"), Some("José")),
            (Case, Kind::Text(None), Some("1ß2x"), Some("1ß2X")),
            (Null, text.clone(), Some("a"), Some("(null)")),
            (Null, text.clone(), Some(""), None),
            (NullForNothing, text.clone(), Some(""), Some("(null)")),
            (NothingForNull, Kind::Boolean, None, Some("false")),
            (WordForNull, text, None, Some("NULL")),
            (Sign, Kind::Number, Some("0.00"), None),
            (Sign, Kind::Number, Some("0.01"), Some("-0.01")),
            (Sign, Kind::Whole(1, 5), Some("3"), None),
            (Step, Kind::Whole(1, 5), Some("3"), None),
            (NumberInJson, Kind::Json, Some("{\"a1\": 1.0}"), Some("{\"a1\": 1.00}")),
            (NumberInJson, Kind::Json, Some("42"), Some("42.0")),
            (NumberInJson, Kind::Json, Some("{\"1\": \"2\\\"3\"}"), None),
            (MemberInJson, Kind::Json, Some("[1]"), Some("[1, null]")),
            (ElementNull, Kind::Array, Some("{a,NULL}"), Some("{a,\"NULL\"}")),
            (ElementNull, Kind::Array, Some("{\"NULL\"}"), Some("{NULL}")),
            (Bounds, Kind::Array, Some("[0:1]={a,\"b,c\"}"), Some("{a,\"b,c\"}")),
            (Bounds, Kind::Array, Some("{a,b}"), Some("[0:1]={a,b}")),
            (Order, Kind::Array, Some("{a,\"b,\\\"c\"}"), Some("{\"b,\\\"c\",a}")),
            (Order, Kind::Array, Some("{a}"), None),
            (Mask, Kind::Address, Some("1.2.3.4/32"), Some("1.2.3.4/24")),
            (Mask, Kind::Address, Some("2001:db8::/32"), Some("2001:db8::/128")),
            (Infinity, Kind::Time, Some("infinity"), Some("-infinity")),
            (Microsecond, Kind::Time, Some("infinity"), None),
        ] {
            assert_eq!(twist(way, kind, value).as_deref(), expected, "{way:?} {value:?}");
        }
    }

    #[test]
    fn a_number_stays_within_what_its_column_takes() {
        for seed in 0..100 {
            let mut rng = Rng::with_seed(seed);
            for (kind, value) in [
                (Kind::Whole(i32::MIN.into(), i32::MAX.into()), "2147483647"),
                (Kind::Whole(i32::MIN.into(), i32::MAX.into()), "-2147483648"),
                (Kind::Whole(1, 5), "5"),
                (Kind::Number, "-99999999.99"),
            ] {
                let Some(Assignment::Value(Some(new))) =
                    twisted(LastDigit, &kind, false, Some(value), &mut rng)
                else {
                    panic!("{value}")
                };
                assert!(new != value && new.len() == value.len());
                if let Kind::Whole(least, most) = kind {
                    assert!((least..=most).contains(&new.parse().unwrap()), "{new}");
                }
            }
        }
    }
}
