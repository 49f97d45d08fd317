//! libpq's password file and service file, read as libpq reads them. Pure.

use super::nearest;
use super::values::TLS_MODES;
use std::collections::BTreeMap;

/// The password for a connection, with its line: of the first line that fits. Fields are
/// `host:port:database:user:password`, `*` fits everything, `\` takes the next character as it is.
pub(super) fn password(
    text: &str,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> Option<(String, usize)> {
    let port = port.to_string();
    let fields = [host, &port, database, user];
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r')).enumerate();
    lines.filter(|(_, line)| !line.starts_with('#')).find_map(|(number, line)| {
        let rest = fields.iter().try_fold(line, |rest, field| after(rest, field))?;
        Some((unescaped(rest), number + 1))
    })
}

/// What follows a field that fits.
fn after<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let (mut letters, mut wanted) = (line.char_indices(), field.chars());
    loop {
        let wanted = wanted.next();
        // A colon inside what is wanted (IPv6) need not be escaped.
        match (letters.next()?, wanted) {
            ((at, ':'), None) => return Some(&line[at + 1..]),
            ((_, '\\'), Some(wanted)) if letters.next()?.1 == wanted => {}
            ((_, letter), Some(wanted)) if letter != '\\' && letter == wanted => {}
            _ => return None,
        }
    }
}

/// Up to a colon that nothing escapes.
fn unescaped(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ':' => break,
            '\\' => out.push(letters.next().unwrap_or('\\')),
            letter => out.push(letter),
        }
    }
    out
}

/// The values of a service, each with its line, by libpq's keywords.
pub(super) type Service = BTreeMap<&'static str, (String, usize)>;

/// What we take from a service.
const TAKEN: [&str; 8] = ["host", "port", "dbname", "user", "password", "passfile", "sslmode", "sslrootcert"];

/// What says nothing of where a connection goes and who asks, and what we set ourselves.
const WITHOUT_MEANING: [&str; 9] = [
    "application_name",
    "fallback_application_name",
    "connect_timeout",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
];

/// The section of that name. Of a key that is said twice the first counts, as in libpq.
///
/// # Errors
/// Without a value of the file: no such service, a line that is none, a key that we cannot follow.
pub(super) fn service(text: &str, name: &str) -> Result<Service, String> {
    let (mut inside, mut found) = (false, false);
    let (mut service, mut names) = (Service::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            // libpq stops at the end of the first one, too.
            inside = section == name && !found;
            found |= inside;
            names.push(section);
        } else if inside {
            let Some((key, value)) = line.split_once('=') else {
                return Err(format!("line {number}: expected key=value"));
            };
            let key = known(key).map_err(|wrong| format!("line {number}: {wrong}"))?;
            if let Some(key) = key {
                service.entry(key).or_insert((value.to_string(), number));
            }
        }
    }
    match (found, nearest(name, names.iter().copied())) {
        (true, _) => Ok(service),
        (false, Some(meant)) => Err(format!("there is no service [{name}] in it: did you mean [{meant}]?")),
        (false, None) if names.is_empty() => {
            Err(format!("there is no service [{name}] in it, nor any other"))
        }
        (false, None) => Err(format!("there is no service [{name}] in it, only {}", names.join(", "))),
    }
}

/// The key that is meant; `None` where it does not matter.
fn known(key: &str) -> Result<Option<&'static str>, String> {
    if WITHOUT_MEANING.contains(&key) {
        return Ok(None);
    }
    match (TAKEN.into_iter().find(|k| *k == key), nearest(key, TAKEN)) {
        (Some(key), _) => Ok(Some(key)),
        // libpq does not trim around the equals sign.
        (None, Some(meant)) if key.trim() != key => {
            Err(format!("libpq knows no key with blanks: write {meant}=… without them"))
        }
        (None, Some(meant)) => Err(format!("key `{key}` cannot be followed: did you mean `{meant}`?")),
        (None, None) => Err(format!("key `{key}` cannot be followed: what can is {}", TAKEN.join(", "))),
    }
}

/// `sslmode` as one of our modes.
pub(super) fn tls(mode: &str) -> Result<super::values::TlsMode, String> {
    let found = TLS_MODES.into_iter().find(|(name, _)| *name == mode);
    found.map(|(_, mode)| mode).ok_or_else(|| {
        let names = TLS_MODES.map(|(name, _)| name).join(", ");
        format!("sslmode has to be one of {names}: no other says whether the connection is encrypted")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(String, usize)> {
        password(text, "db.example.com", 5432, "shop", "me")
    }

    #[test]
    fn the_first_line_that_fits() {
        let text = "# db.example.com:5432:shop:me:comment\n\
                    other:5432:shop:me:a\n\
                    db.example.com:5433:shop:me:b\n\
                    db.example.com:5432:shops:me:c\n\
                    db.example.com:5432:sho:me:d\n\
                    db.example.com:5432:shop:you:e\n\
                    db.example.com:*:shop:*:right\r\n\
                    *:*:*:*:late\n";
        assert_eq!(found(text), Some(("right".into(), 7)));
        assert_eq!(password(text, "db.example.com", 5432, "else", "me"), Some(("late".into(), 8)));
        assert_eq!(found("db.example.com:5432:shop:me\n"), None, "four fields");
        assert_eq!(found(""), None);
        assert_eq!(found("db.example.com:5432:shop:me:"), Some((String::new(), 1)));
        assert_eq!(found(" db.example.com:5432:shop:me:x"), None, "blanks count");
    }

    #[test]
    fn escapes() {
        let of = |line: &str, host: &str, user: &str| password(line, host, 1, "d", user).map(|(p, _)| p);
        assert_eq!(of("::1:1:d:u:x", "::1", "u"), Some("x".into()));
        assert_eq!(of("::1:1:d:u:x", ":", "u"), None);
        assert_eq!(of(r"\:\:1:1:d:u:x", "::1", "u"), Some("x".into()));
        assert_eq!(of(r"h:1:d:a\\b:x", "h", r"a\b"), Some("x".into()));
        assert_eq!(of(r"h:1:d:u:a\:b\\c\d:rest", "h", "u"), Some(r"a:b\cd".into()));
        assert_eq!(of(r"h:1:d:u:end\", "h", "u"), Some(r"end\".into()));
        assert_eq!(of("h:1:d:u:é ü ", "h", "u"), Some("é ü ".into()), "all of it");
        assert_eq!(of(r"\*:1:d:u:x", "h", "u"), None, "a star that is meant");
        assert_eq!(of(r"\*:1:d:u:x", "*", "u"), Some("x".into()));
        assert_eq!(of("*h:1:d:u:x", "h", "u"), None);
    }

    const SERVICES: &str = "# ours\n\n[shop]\nhost=db.example.com\n  port=6432  \ndbname=shop\nhost=late\n\
                            application_name=x\n[other]\nhost = spaced\n[shop]\nuser=second\n[odd]\nhostaddr=1\n\
                            [worse]\npassword\n[tls]\nsslmod=x\n";

    #[test]
    fn a_service() {
        let shop = service(SERVICES, "shop").unwrap();
        assert_eq!(shop["host"], ("db.example.com".into(), 4));
        assert_eq!(shop["port"], ("6432".into(), 5));
        assert_eq!(shop["dbname"], ("shop".into(), 6));
        assert_eq!(shop.len(), 3, "{shop:?}");
    }

    #[test]
    fn what_is_wrong_with_a_service() {
        let error = |name: &str| service(SERVICES, name).unwrap_err();
        assert!(error("shpo").contains("no service [shpo] in it: did you mean [shop]?"));
        assert!(error("nothing").contains("only shop, other"));
        assert!(service("", "a").unwrap_err().contains("nor any other"));
        assert!(error("other").starts_with("line 10: libpq knows no key with blanks"), "{}", error("other"));
        assert!(error("odd").starts_with("line 14: key `hostaddr` cannot be followed"), "{}", error("odd"));
        assert!(error("worse").starts_with("line 16: expected key=value"));
        assert!(error("tls").ends_with("did you mean `sslmode`?"), "{}", error("tls"));
    }

    #[test]
    fn modes_that_leave_it_open() {
        assert_eq!(tls("verify-full"), Ok(super::super::values::TlsMode::VerifyFull));
        assert!(tls("prefer").unwrap_err().contains("disable, require, verify-ca, verify-full"));
    }
}
