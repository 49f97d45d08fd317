//! Whether a column holds all that comes out of a SELECT, judged by the two types as `format_type` writes
//! them. Pure.

use super::reading::Limit;
use datapath::document::Kind;

/// How a type fits another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Every value arrives as it is.
    Always,
    /// Values within this do.
    Within(Limit),
    /// Another kind of value: it would be changed, or not taken.
    Other,
}

/// `numeric(10,2)` → `numeric`, [10, 2]; `timestamp(3) with time zone` → `timestamp with time zone`, [3].
fn parts(kind: &str) -> (String, Vec<u32>) {
    match kind.split_once('(').and_then(|(name, rest)| Some((name, rest.split_once(')')?))) {
        Some((name, (numbers, rest))) => {
            (format!("{name}{rest}"), numbers.split(',').filter_map(|n| n.trim().parse().ok()).collect())
        }
        None => (kind.to_string(), Vec::new()),
    }
}

/// What an integer type holds.
fn range(kind: &str) -> Option<(i64, i64)> {
    match kind {
        "smallint" => Some((i16::MIN.into(), i16::MAX.into())),
        "integer" => Some((i32::MIN.into(), i32::MAX.into())),
        "bigint" => Some((i64::MIN, i64::MAX)),
        _ => None,
    }
}

fn is_text(kind: &str) -> bool {
    matches!(kind, "text" | "character varying")
}

fn is_time(kind: &str) -> bool {
    // One without zone gets the environment's.
    matches!(kind, "timestamp with time zone" | "timestamp without time zone")
}

/// How values of type `from` fit into a column of type `into`.
pub fn fit(from: &str, into: &str) -> Fit {
    if from == into {
        return Fit::Always;
    }
    let ((from, had), (into, has)) = (parts(from), parts(into));
    match (from.as_str(), into.as_str()) {
        (a, b) if is_text(a) && is_text(b) => match (had[..].first(), has[..].first()) {
            (_, None) => Fit::Always,
            (Some(had), Some(has)) if had <= has => Fit::Always,
            (_, Some(has)) => Fit::Within(Limit::Characters(*has)),
        },
        ("numeric", "numeric") => match (&had[..], &has[..]) {
            (_, []) => Fit::Always,
            ([p, s], [precision, scale]) if s <= scale && p - s <= precision - scale => Fit::Always,
            (_, [precision, scale]) => Fit::Within(Limit::Decimal { precision: *precision, scale: *scale }),
            _ => Fit::Other,
        },
        (a, b) if is_time(a) && b == "timestamp with time zone" && has.is_empty() => Fit::Always,
        ("text[]" | "character varying[]", "text[]") => Fit::Always,
        (a, b) => match (range(a), range(b)) {
            (Some(a), Some(b)) if b.0 <= a.0 && a.1 <= b.1 => Fit::Always,
            (Some(_), Some((least, most))) => Fit::Within(Limit::Whole { least, most }),
            _ => Fit::Other,
        },
    }
}

/// How values of type `from` fit into a field of a document.
pub fn fit_field(from: &str, kind: Kind) -> Fit {
    let (name, _) = parts(from);
    let fits = match kind {
        Kind::Text(_) => is_text(&name) || matches!(name.as_str(), "inet" | "cidr" | "uuid"),
        Kind::Integer(_) => range(&name).is_some(),
        Kind::Boolean(_) => name == "boolean",
        Kind::Time => is_time(&name),
    };
    if fits { Fit::Always } else { Fit::Other }
}

/// What a field of a document takes, for a message.
pub fn field_takes(kind: Kind) -> &'static str {
    match kind {
        Kind::Text(_) => "a text",
        Kind::Integer(_) => "a whole number",
        Kind::Boolean(_) => "a boolean",
        Kind::Time => "a time stamp",
    }
}

/// The type of PostgreSQL whose values a field takes: as `format_type` writes it, and its name.
pub fn of_field(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Text(_) => ("text", "text"),
        Kind::Integer(_) => ("bigint", "int8"),
        Kind::Boolean(_) => ("boolean", "bool"),
        Kind::Time => ("timestamp with time zone", "timestamptz"),
    }
}

/// Whether ids of this type can be followed: they are counted, digested and sorted as numbers.
pub fn is_id(kind: &str) -> bool {
    range(kind).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_fit_where_nothing_is_changed() {
        let text = |n| Fit::Within(Limit::Characters(n));
        let money = Limit::Decimal { precision: 10, scale: 2 };
        let int4 = Limit::Whole { least: i32::MIN.into(), most: i32::MAX.into() };
        for (from, into, expected) in [
            ("integer", "integer", Fit::Always),
            ("smallint", "integer", Fit::Always),
            ("bigint", "integer", Fit::Within(int4)),
            ("integer", "character varying(30)", Fit::Other),
            ("character varying(30)", "character varying(30)", Fit::Always),
            ("character varying(20)", "character varying(30)", Fit::Always),
            ("character varying(31)", "character varying(30)", text(30)),
            ("text", "character varying(30)", text(30)),
            ("character varying", "character varying(30)", text(30)),
            ("character varying(31)", "text", Fit::Always),
            // Its blanks at the end are not part of its value.
            ("character(30)", "character varying(30)", Fit::Other),
            ("numeric(9,2)", "numeric(10,2)", Fit::Always),
            ("numeric(12,2)", "numeric(10,2)", Fit::Within(money)),
            ("numeric(9,1)", "numeric(10,2)", Fit::Always),
            ("numeric(10,1)", "numeric(10,2)", Fit::Within(money)),
            ("numeric(12,4)", "numeric(10,2)", Fit::Within(money)),
            ("numeric", "numeric(10,2)", Fit::Within(money)),
            ("double precision", "numeric(10,2)", Fit::Other),
            ("timestamp without time zone", "timestamp with time zone", Fit::Always),
            ("timestamp(3) with time zone", "timestamp with time zone", Fit::Always),
            ("date", "timestamp with time zone", Fit::Other),
            ("json", "jsonb", Fit::Other),
            ("character varying(10)[]", "text[]", Fit::Always),
        ] {
            assert_eq!(fit(from, into), expected, "{from} → {into}");
        }
        assert_eq!(fit_field("inet", Kind::Text("")), Fit::Always);
        assert_eq!(fit_field("numeric(10,0)", Kind::Integer(0)), Fit::Other);
        assert_eq!(fit_field("date", Kind::Time), Fit::Other);
    }
}
