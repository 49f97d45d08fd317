//! Whether two dumps of one snapshot hold the same.

use anyhow::{Result, bail};
use std::io::BufRead;

/// Line by line, but for the ends of lines that are not of the snapshot.
pub fn same_lines(archive: &mut dyn BufRead, plain: &mut dyn BufRead) -> Result<()> {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for number in 1_u64.. {
        one.clear();
        other.clear();
        let ended = archive.read_until(b'\n', &mut one)? == 0;
        if ended & (plain.read_until(b'\n', &mut other)? == 0) {
            break;
        }
        if one != other && (stem(&one).is_none() || stem(&one) != stem(&other)) {
            let shown = |line: &[u8]| match line {
                [] => "its end".to_string(),
                line => format!("{:?}", String::from_utf8_lossy(&line[..line.len().min(80)])),
            };
            bail!("at line {number} it reads {}, the plain dump {}", shown(&one), shown(&other));
        }
    }
    Ok(())
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
    use super::same_lines;

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
    }
}
