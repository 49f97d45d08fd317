//! What is read of a dump as SQL: how many rows it holds of every table, and whether two hold the same.

use anyhow::{Result, bail};
use std::collections::VecDeque;
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

/// Line by line, but for the ends of lines that are not of the snapshot, and for what PostgreSQL writes otherwise
/// once it has read it again.
pub fn same_lines(archive: &mut dyn BufRead, dump: &mut dyn BufRead) -> Result<()> {
    let mut archive = InOrder::new(|line: &mut Vec<u8>| definition(archive, line));
    let mut dump = InOrder::new(|line: &mut Vec<u8>| {
        line.clear();
        Ok(dump.read_until(b'\n', line)? > 0)
    });
    for number in 1_u64.. {
        let (one, other) = (archive.next()?, dump.next()?);
        if one.is_empty() && other.is_empty() {
            break;
        }
        let alike = stem(&one).is_some() && stem(&one) == stem(&other);
        if one != other && !alike && settled(&one) != settled(&other) {
            let shown = |line: &[u8]| match line {
                [] => "its end".to_string(),
                line => format!("{:?}", String::from_utf8_lossy(&line[..line.len().min(80)])),
            };
            bail!("at line {number} it reads {}, the dump {}", shown(&one), shown(&other));
        }
    }
    Ok(())
}

/// The lines of a dump, with default privileges that follow each other in an order of ours: PostgreSQL keeps them by the
/// OIDs of the roles, which are others on another server.
struct InOrder<F> {
    read: F,
    run: VecDeque<Vec<u8>>,
    /// What comes behind the run.
    behind: Option<Vec<u8>>,
}

impl<F: FnMut(&mut Vec<u8>) -> Result<bool>> InOrder<F> {
    fn new(read: F) -> InOrder<F> {
        InOrder { read, run: VecDeque::new(), behind: None }
    }

    /// Nothing at the end.
    fn next(&mut self) -> Result<Vec<u8>> {
        if let Some(line) = self.run.pop_front() {
            return Ok(line);
        }
        let mut line = match self.behind.take() {
            Some(line) => line,
            None => self.line()?,
        };
        while line.starts_with(b"ALTER DEFAULT PRIVILEGES ") {
            self.run.push_back(line);
            line = self.line()?;
        }
        if self.run.is_empty() {
            return Ok(line);
        }
        self.run.make_contiguous().sort();
        self.behind = Some(line);
        self.next()
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        let there = (self.read)(&mut line)?;
        if !there {
            line.clear();
        }
        Ok(line)
    }
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
    // Servers and programs are brought up to date.
    let versions = [&b"-- Dumped from database version "[..], b"-- Dumped by pg_dump version "];
    if let Some(version) = versions.into_iter().find(|start| line.starts_with(start)) {
        return Some(&line[..version.len()]);
    }
    [(&b"\\restrict"[..], b' '), (b"\\unrestrict", b' '), (b"SELECT pg_catalog.setval('", b'\'')]
        .into_iter()
        .find_map(|(start, end)| after(start, end))
}

/// A line as it is once a database has been made of it: PostgreSQL reads `(ARRAY['a'::varchar])::text[]`, which it
/// makes of `status IN ('a')`, as a cast of each element, and from then on writes `ARRAY[('a'::varchar)::text]`.
fn settled(line: &[u8]) -> Vec<u8> {
    let mut line = line.to_vec();
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&line[from..], ARRAY) {
        let start = from + found;
        match cast_array(&line[start + ARRAY.len()..]) {
            Some((settled, length)) => drop(line.splice(start..start + ARRAY.len() + length, settled)),
            None => from = start + 1,
        }
    }
    line
}

const ARRAY: &[u8] = b"(ARRAY[";

/// Of what follows [`ARRAY`]: the array with its cast moved into it, and the length of what it stands for.
fn cast_array(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut elements, mut begun, mut depth, mut quote) = (Vec::new(), 0, 0_u32, None);
    let mut end = None;
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None, b'(' | b'[') => depth += 1,
            (None, b']') if depth == 0 => {
                elements.push(&rest[begun..at]);
                end = Some(at + 1);
                break;
            }
            (None, b')' | b']') => depth = depth.checked_sub(1)?,
            (None, b',') if depth == 0 => {
                elements.push(&rest[begun..at]);
                // A blank follows.
                begun = at + 2;
            }
            (None, _) => {}
        }
    }
    let end = end?;
    let cast = rest[end..].strip_prefix(b")::")?;
    let kind = &cast[..memchr::memmem::find(cast, b"[]")?];
    let elements: Vec<Vec<u8>> = elements.into_iter().map(|e| [b"(", e, b")::", kind].concat()).collect();
    let settled = [&b"ARRAY["[..], &elements.join(&b", "[..]), b"]"].concat();
    Some((settled, end + b")::".len() + kind.len() + b"[]".len()))
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
    fn default_privileges_have_no_order() {
        let same =
            |a: &str, b: &str| same_lines(&mut a.as_bytes(), &mut b.as_bytes()).map_err(|e| e.to_string());
        let [a, b] = ["a", "b"]
            .map(|role| format!("ALTER DEFAULT PRIVILEGES FOR ROLE o GRANT SELECT ON TABLES  TO {role};\n"));
        assert_eq!(same(&format!("x\n{a}{b}\ny\n"), &format!("x\n{b}{a}\ny\n")), Ok(()));
        assert_eq!(same(&format!("{a}{b}"), &format!("{b}{a}")), Ok(()), "at the end");
        for other in [
            format!("x\n{b}\ny\n"),
            format!("x\n{b}{b}\ny\n"),
            format!("x\n{b}{a}\n"),
            format!("x\n{b}\n{a}y\n"),
        ] {
            same(&format!("x\n{a}{b}\ny\n"), &other).unwrap_err();
        }
        same("GRANT a;\nGRANT b;\n", "GRANT b;\nGRANT a;\n").unwrap_err();
    }

    #[test]
    fn what_is_written_otherwise_once_it_was_read_again_is_the_same() {
        let same = |a: &str, b: &str| same_lines(&mut a.as_bytes(), &mut b.as_bytes()).is_ok();
        let first = "CHECK (((status)::text = ANY ((ARRAY['a, ]'::character varying, 'it''s'::character varying])::text[]))),\n";
        let again = "CHECK (((status)::text = ANY (ARRAY[('a, ]'::character varying)::text, ('it''s'::character varying)::text]))),\n";
        assert_eq!(settled(first.as_bytes()), again.as_bytes());
        assert!(same(first, again) && same(again, first));
        assert!(!same(first, &again.replace("it''s", "it")));
        assert!(!same(first, &again.replace("text, (", "bpchar, (")));
        for torn in ["(ARRAY[", "(ARRAY['a", "(ARRAY[a])::", "(ARRAY[a)])::text[]"] {
            assert_eq!(settled(torn.as_bytes()), torn.as_bytes());
        }
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
        let version =
            |n: u32| format!("-- Dumped from database version 15.{n}\n-- Dumped by pg_dump version 15.{n}\n");
        assert!(same(&version(1), &version(2)));
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
