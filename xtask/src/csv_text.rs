//! Export files as text: what a reader of bytes must know of PostgreSQL's CSV, and no more. A quote
//! toggles (a doubled one twice), and only outside quotes do commas and line breaks count. Pure.

use std::io::{self, Read};

/// Leaves out one column of a CSV stream, byte for byte: NULL and '' stay apart, as parsing and
/// writing again would not leave them.
pub struct WithoutColumn<R> {
    inner: R,
    /// The index of the column; never the first one.
    column: usize,
    field: usize,
    quoted: bool,
}

impl<R: Read> WithoutColumn<R> {
    /// # Panics
    /// Never; a `column` of 0 would leave the comma behind it, so callers keep the id first.
    pub fn new(inner: R, column: usize) -> WithoutColumn<R> {
        debug_assert!(column > 0);
        WithoutColumn { inner, column, field: 0, quoted: false }
    }

    /// Moves what stays to the front of `bytes` and returns how much that is.
    fn filter(&mut self, bytes: &mut [u8]) -> usize {
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
            let kept = self.filter(&mut buffer[..n]);
            // 0 would mean the end.
            if kept > 0 {
                return Ok(kept);
            }
        }
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
}
