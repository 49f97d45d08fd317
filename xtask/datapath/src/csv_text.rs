//! Export files as text: what a reader of bytes must know of PostgreSQL's CSV, and no more. A quote
//! toggles (a doubled one twice), and only outside quotes do commas and line breaks count. Pure.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

/// Leaves out one column of a CSV stream, byte for byte: NULL and '' stay apart, as parsing and
/// writing again would not leave them.
pub struct WithoutColumn<R> {
    inner: R,
    filter: Filter,
}

impl<R: Read> WithoutColumn<R> {
    /// # Panics
    /// Never; a `column` of 0 would leave the comma behind it, so callers keep the id first.
    pub fn new(inner: R, column: usize) -> WithoutColumn<R> {
        debug_assert!(column > 0);
        WithoutColumn { inner, filter: Filter { column, field: 0, quoted: false } }
    }
}

/// What touches every byte, apart from the reader's type: so it is compiled here.
struct Filter {
    /// The index of the column; never the first one.
    column: usize,
    field: usize,
    quoted: bool,
}

impl Filter {
    /// Moves what stays to the front of `bytes` and returns how much that is.
    fn apply(&mut self, bytes: &mut [u8]) -> usize {
        let mut kept = 0;
        for i in 0..bytes.len() {
            let byte = bytes[i];
            match byte {
                b'"' => self.quoted = !self.quoted,
                b',' if !self.quoted => self.field += 1,
                b'\n' if !self.quoted => self.field = 0,
                _ => {}
            }
            // Counted up at its comma: the comma before the column goes with it.
            if self.field != self.column {
                bytes[kept] = byte;
                kept += 1;
            }
        }
        kept
    }
}

impl<R: Read> Read for WithoutColumn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.inner.read(buffer)?;
            if n == 0 {
                return Ok(0);
            }
            let kept = self.filter.apply(&mut buffer[..n]);
            // 0 would mean the end.
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

/// The first field of a line, its quotes taken off, and what comes behind its comma.
pub fn field(line: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let behind = |at: usize| line.get(at + 1..).unwrap_or_default();
    if line.first() != Some(&b'"') {
        let end = memchr::memchr2(b',', b'\n', line).unwrap_or(line.len());
        return (Cow::Borrowed(&line[..end]), behind(end));
    }
    let mut text = Vec::new();
    let mut at = 1;
    while let Some(quote) = memchr::memchr(b'"', &line[at..]).map(|n| at + n) {
        text.extend_from_slice(&line[at..quote]);
        if line.get(quote + 1) != Some(&b'"') {
            return (Cow::Owned(text), behind(quote + 1));
        }
        text.push(b'"');
        at = quote + 2;
    }
    (Cow::Owned(text), &[])
}

/// The rows of a CSV stream as they are, each with its line break; those inside quotes end no row.
pub struct Lines<R> {
    inner: R,
}

impl<R: BufRead> Lines<R> {
    pub fn new(inner: R) -> Lines<R> {
        Lines { inner }
    }

    /// Puts the next row into `row`; false at the end.
    pub fn next(&mut self, row: &mut Vec<u8>) -> io::Result<bool> {
        row.clear();
        let mut quoted = false;
        loop {
            let from = row.len();
            if self.inner.read_until(b'\n', row)? == 0 {
                return Ok(!row.is_empty());
            }
            quoted ^= memchr::memchr_iter(b'"', &row[from..]).count() % 2 == 1;
            if !quoted {
                return Ok(true);
            }
        }
    }

    pub fn into_inner(self) -> R {
        self.inner
    }
}

/// The number that a row begins with: its id.
pub fn id(row: &[u8]) -> Option<i64> {
    std::str::from_utf8(&field(row).0).ok()?.parse().ok()
}

/// The fields of a row: None for NULL, which PostgreSQL writes without quotes, unlike ''.
pub fn fields(row: &[u8]) -> Vec<Option<Cow<'_, [u8]>>> {
    let mut rest = row.strip_suffix(b"\n").unwrap_or(row);
    let mut fields = Vec::new();
    loop {
        let (text, behind) = field(rest);
        let last = behind.is_empty() && rest.last() != Some(&b',');
        let null = text.is_empty() && rest.first() != Some(&b'"');
        fields.push((!null).then_some(text));
        if last {
            return fields;
        }
        if behind.is_empty() {
            // The comma was the end: behind it stands NULL.
            fields.push(None);
            return fields;
        }
        rest = behind;
    }
}

/// The row that has these fields: what is NULL without quotes, everything else with them.
pub fn row_of<'a>(fields: impl IntoIterator<Item = Option<Cow<'a, [u8]>>>) -> Vec<u8> {
    let mut row = Vec::new();
    for (place, field) in fields.into_iter().enumerate() {
        if place > 0 {
            row.push(b',');
        }
        let Some(text) = field else { continue };
        row.push(b'"');
        for byte in text.iter() {
            if *byte == b'"' {
                row.push(b'"');
            }
            row.push(*byte);
        }
        row.push(b'"');
    }
    row.push(b'\n');
    row
}

/// Counts the lines of a CSV stream, whatever its pieces: line breaks inside quotes do not count.
#[derive(Debug, Default)]
pub struct RowCounter {
    quoted: bool,
    lines: u64,
}

impl RowCounter {
    pub fn count(&mut self, bytes: &[u8]) {
        for at in memchr::memchr2_iter(b'"', b'\n', bytes) {
            match bytes[at] {
                b'"' => self.quoted = !self.quoted,
                _ => self.lines += u64::from(!self.quoted),
            }
        }
    }

    /// The header counted as well.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

/// A value for a person: NULL apart from 'NULL', quoted, a long one from where it leaves the other.
pub fn shown(value: Option<&str>, other: Option<&str>) -> String {
    const WIDTH: usize = 60;
    let Some(text) = value else { return "NULL".to_string() };
    let same = text.chars().zip(other.unwrap_or_default().chars()).take_while(|(a, b)| a == b).count();
    let from = if text.chars().count() > WIDTH { same.saturating_sub(10) } else { 0 };
    let part: String = text.chars().skip(from).take(WIDTH).collect();
    let (before, after) = (from > 0, text.chars().nth(from + WIDTH).is_some());
    format!("{}{part:?}{}", if before { "…" } else { "" }, if after { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str, column: usize, piece: usize) -> String {
        struct Pieces<'a>(&'a [u8], usize);
        impl Read for Pieces<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.1.min(self.0.len()).min(buffer.len());
                buffer[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let mut out = String::new();
        WithoutColumn::new(Pieces(text.as_bytes(), piece), column).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn a_column_goes_and_every_other_byte_stays() {
        let text = "id,a,level\n1,,INFO\n2,\"\",\"x,\"\"\n\"\n3,\"a\nb,\",\n";
        let want = "id,a\n1,\n2,\"\"\n3,\"a\nb,\"\n";
        for piece in 1..text.len() + 1 {
            assert_eq!(without(text, 2, piece), want, "in pieces of {piece}");
        }
        assert_eq!(without("id,b,c\n1,\"x\"\"y\",3\n", 1, 2), "id,c\n1,3\n");
    }

    #[test]
    fn values_are_shown_from_where_they_differ() {
        assert_eq!(shown(None, Some("NULL")), "NULL");
        assert_eq!(shown(Some(""), None), "\"\"");
        let long = "x".repeat(100);
        let other = format!("{}y", "x".repeat(99));
        assert_eq!(shown(Some(&long), Some(&other)), "…\"xxxxxxxxxxx\"");
        assert_eq!(shown(Some(&other), Some(&long)), "…\"xxxxxxxxxxy\"");
    }

    #[test]
    fn fields_lose_their_quotes_and_nothing_else() {
        let first = |line: &str| {
            let (text, rest) = field(line.as_bytes());
            (String::from_utf8(text.into_owned()).unwrap(), String::from_utf8(rest.to_vec()).unwrap())
        };
        let both = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(first("a,b\n"), both("a", "b\n"));
        assert_eq!(first(",b\n"), both("", "b\n"));
        assert_eq!(first("a\n"), both("a", ""));
        assert_eq!(first("\"a,\"\"\n\",b\n"), both("a,\"\n", "b\n"));
        assert_eq!(first("\"\",\n"), both("", "\n"));
    }

    #[test]
    fn rows_come_whole_and_their_fields_tell_null_from_empty() {
        let text = b"id,a,b\n1,\"x\n\"\"y\n\",\n-2,,\"\"\n3,\",\",z";
        let (mut lines, mut row, mut rows) = (Lines::new(&text[..]), Vec::new(), Vec::new());
        while lines.next(&mut row).unwrap() {
            rows.push(row.clone());
        }
        assert_eq!(rows.concat(), text);
        assert_eq!(rows.iter().map(|r| id(r)).collect::<Vec<_>>(), [None, Some(1), Some(-2), Some(3)]);
        let texts = |row: &[u8]| -> Vec<Option<String>> {
            let text = |f: Cow<[u8]>| String::from_utf8(f.into_owned()).unwrap();
            fields(row).into_iter().map(|f| f.map(text)).collect()
        };
        let some = |text: &str| Some(text.to_string());
        assert_eq!(texts(&rows[1]), [some("1"), some("x\n\"y\n"), None]);
        assert_eq!(texts(&rows[2]), [some("-2"), None, some("")]);
        assert_eq!(texts(&rows[3]), [some("3"), some(","), some("z")]);
        assert_eq!(texts(b"1,\"a,\",\n"), [some("1"), some("a,"), None]);
        assert_eq!(texts(b"1,\"\"\n"), [some("1"), some("")]);
    }

    #[test]
    fn only_line_breaks_outside_quotes_count() {
        let text = b"id,a\n1,\"x\n\"\"y\n\"\n2,\n";
        for piece in 1..=text.len() {
            let mut counter = RowCounter::default();
            text.chunks(piece).for_each(|bytes| counter.count(bytes));
            assert_eq!(counter.lines(), 3, "in pieces of {piece}");
        }
    }
}
