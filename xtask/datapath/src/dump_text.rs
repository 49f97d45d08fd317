//! What is read of a dump as SQL: how many rows it holds of every table, and whether two hold the same.

use anyhow::{Result, bail};
use std::io::BufRead;

/// How many rows a dump as SQL holds of every table whose rows it holds, in the order in which they come: one
/// line a row (DESIGN rule 2). Tables are not told by their names, which may hold line breaks.
#[derive(Debug, Default)]
pub struct RowsOfDump {
    place: Place,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    rows: Vec<u64>,
}

/// Where a line of the dump stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Statements,
    /// Behind pg_dump's comment that a table's rows follow: a function's text may hold a COPY, too.
    Announced,
    /// In the COPY, whose name of a table may have several lines.
    Copy,
    Rows,
}

impl RowsOfDump {
    /// Takes the next bytes of the dump, as they come.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            if self.begun.is_empty() {
                self.line(line);
            } else {
                self.begun.extend_from_slice(line);
                let line = std::mem::take(&mut self.begun);
                self.line(&line);
            }
            bytes = &rest[1..];
        }
        self.begun.extend_from_slice(bytes);
    }

    fn line(&mut self, line: &[u8]) {
        self.place = match self.place {
            Place::Rows if line == b"\\." => Place::Statements,
            Place::Rows => {
                *self.rows.last_mut().unwrap_or(&mut 0) += 1;
                Place::Rows
            }
            Place::Statements if is_announcement(line) => Place::Announced,
            Place::Announced if line.starts_with(b"COPY ") => self.copy(line),
            Place::Copy => self.copy(line),
            place => place,
        }
    }

    fn copy(&mut self, line: &[u8]) -> Place {
        if !line.ends_with(b" FROM stdin;") {
            return Place::Copy;
        }
        self.rows.push(0);
        Place::Rows
    }

    /// # Errors
    /// Where the dump ends among the rows of a table.
    pub fn finish(self) -> Result<Vec<u64>> {
        if self.place == Place::Rows || !self.begun.is_empty() {
            bail!("it ends in the middle of table {} of those whose rows it holds", self.rows.len());
        }
        Ok(self.rows)
    }
}

/// `-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: postgres`
fn is_announcement(line: &[u8]) -> bool {
    line.starts_with(b"-- Data for Name: ") && memchr::memmem::find(line, b"; Type: TABLE DATA; ").is_some()
}

/// Line by line, but for the ends of lines that are not of the snapshot.
pub fn same_lines(archive: &mut dyn BufRead, dump: &mut dyn BufRead) -> Result<()> {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for number in 1_u64.. {
        other.clear();
        let ended = !definition(archive, &mut one)?;
        if ended & (dump.read_until(b'\n', &mut other)? == 0) {
            break;
        }
        if one != other && (stem(&one).is_none() || stem(&one) != stem(&other)) {
            let shown = |line: &[u8]| match line {
                [] => "its end".to_string(),
                line => format!("{:?}", String::from_utf8_lossy(&line[..line.len().min(80)])),
            };
            bail!("at line {number} it reads {}, the dump {}", shown(&one), shown(&other));
        }
    }
    Ok(())
}

/// The next line of an archive's definitions; false at their end. pg_restore takes it for one that a
/// materialized view is filled, which pg_dump does not.
fn definition(archive: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    let mut there = archive.read_until(b'\n', line)? > 0;
    if line.starts_with(b"-- Name: ")
        && memchr::memmem::find(line, b"; Type: MATERIALIZED VIEW DATA; ").is_some()
    {
        // Its own comment ends; the next one, which begins in its place, is begun.
        for _ in 0..2 {
            line.clear();
            while there && line != b"--\n" {
                line.clear();
                there = archive.read_until(b'\n', line)? > 0;
            }
        }
        return definition(archive, line);
    }
    Ok(there)
}

/// Of a line that two dumps of one snapshot may end differently, what has to be the same: the key that
/// every dump draws again for psql, and the state of a sequence, which no snapshot holds.
fn stem(line: &[u8]) -> Option<&[u8]> {
    let after = |start: &[u8], end: u8| {
        let rest = line.strip_prefix(start)?;
        let length = rest.iter().position(|b| *b == end)?;
        Some(&line[..start.len() + length])
    };
    [(&b"\\restrict"[..], b' '), (b"\\unrestrict", b' '), (b"SELECT pg_catalog.setval('", b'\'')]
        .into_iter()
        .find_map(|(start, end)| after(start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "CREATE FUNCTION f() AS '\nCOPY x FROM stdin;\n';\n\
        --\n-- Data for Name: a b; Type: TABLE DATA; Schema: public; Owner: o\n--\n\n\
        COPY public.\"a\nb\" (id) FROM stdin;\n1\n\n-- Data for Name: x\nCOPY x FROM stdin;\n\\.\n\n\n\
        -- Data for Name: none; Type: TABLE DATA; Schema: public; Owner: o\n--\n\n\
        COPY public.none  FROM stdin;\n\\.\n\n\
        SELECT pg_catalog.setval('a', 1, true);\n";

    #[test]
    fn rows_are_counted_by_table_in_whatever_pieces_the_dump_comes() {
        for piece in [1, 7, DUMP.len()] {
            let mut rows = RowsOfDump::default();
            DUMP.as_bytes().chunks(piece).for_each(|bytes| rows.take(bytes));
            assert_eq!(rows.finish().unwrap(), [4, 0], "{piece}");
        }
        let cut = |at: usize| {
            let mut rows = RowsOfDump::default();
            rows.take(&DUMP.as_bytes()[..at]);
            rows.finish().map_err(|error| error.to_string())
        };
        let among_rows = DUMP.find("\\.").unwrap();
        let error = cut(among_rows).unwrap_err();
        assert!(error.contains("in the middle of table 1 of those"), "{error}");
    }

    #[test]
    fn dumps_may_differ_only_in_what_no_snapshot_holds() {
        let same = |a: &str, b: &str| same_lines(&mut a.as_bytes(), &mut b.as_bytes()).is_ok();
        assert!(same("\\restrict a\nx\n", "\\restrict b\nx\n"));
        let sequence =
            |name: &str, n: u32| format!("SELECT pg_catalog.setval('public.{name}', {n}, true);\n");
        assert!(same(&sequence("a", 1), &sequence("a", 2)));
        assert!(!same(&sequence("a", 1), &sequence("b", 1)));
        assert!(!same("x\ny\n", "x\nz\n"));
        assert!(!same("x\n", "x\ny\n"));
        assert!(!same("x\n", "x"));
        let (view, end) =
            ("-- Name: x; Type: VIEW; Schema: s; Owner: o\n--\n\nCREATE;\n\n\n--\n", "-- complete\n--\n");
        let filled =
            "-- Name: a; Type: MATERIALIZED VIEW DATA; Schema: s; Owner: o\n--\n\nREFRESH a;\n\n\n--\n";
        let archive = ["--\n", view, filled, filled, view, filled, end].concat();
        assert!(same(&archive, &["--\n", view, view, end].concat()));
        assert!(!same(&archive, &["--\n", view, end].concat()));
        assert!(!same(&["--\n", filled].concat(), &["--\n", view].concat()));
    }
}
