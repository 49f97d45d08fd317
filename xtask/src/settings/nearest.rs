//! "Did you mean": the right name that a wrong one was probably meant to be.

/// The name that is nearest to the wrong one, where one is near enough to be meant.
pub fn nearest<'a>(wrong: &str, right: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    let distance = |name: &str| {
        let name = name.to_lowercase().replace('-', "_");
        let shorter = wrong.len().min(name.len());
        let part = shorter >= 3 && (name.starts_with(&wrong) || wrong.starts_with(&name));
        edits(&wrong, &name).min(if part { PART } else { usize::MAX })
    };
    let near = right.into_iter().map(|name| (distance(name), name));
    let allowed = (wrong.chars().count() / 3).max(if wrong.len() < 3 { 1 } else { PART });
    near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, n)| n)
}

/// What the beginning of a name, or a name with something behind it, counts as.
const PART: usize = 2;

/// Letters to insert, delete, replace or swap with the next one.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_differ() {
        for (a, b, expected) in
            [("", "", 0), ("host", "host", 0), ("hots", "host", 1), ("hst", "host", 1), ("port", "host", 2)]
        {
            assert_eq!(edits(a, b), expected, "{a} {b}");
            assert_eq!(edits(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_what_can_be_meant() {
        let keys = ["host", "port", "database", "user", "password", "tls", "tls_root"];
        for (wrong, right) in [
            ("hots", Some("host")),
            ("Host", Some("host")),
            ("tls-root", Some("tls_root")),
            ("databse", Some("database")),
            ("passwd", Some("password")),
            ("username", Some("user")),
            ("tlsroot", Some("tls_root")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, keys), right, "{wrong}");
        }
    }
}
