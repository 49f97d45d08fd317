//! Lines of other people's files without the secrets on them. Rather too much is masked than too little. Pure.

const MASK: &str = "***";
/// What is behind such a word, and a sign that gives it a value, is a secret.
const SECRETS: [&str; 8] =
    ["password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "credential"];

/// A line without secrets: passwords in URLs, values of keys that sound like one, and the environment's own (`known`).
pub(super) fn masked(line: &str, known: &[&str]) -> String {
    let mut line = values(&urls(line));
    for secret in known.iter().filter(|secret| secret.len() >= 4) {
        line = line.replace(*secret, MASK);
    }
    line
}

/// `scheme://user:secret@host`
fn urls(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out += before;
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(after.len());
        let (address, further) = after.split_at(end);
        // A password may hold a slash or another @.
        out += &match address.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?, host)))
        {
            Some(((user, _), host)) => format!("{user}:{MASK}@{host}"),
            None => address.to_string(),
        };
        rest = further;
    }
    out + rest
}

/// `password = secret`, `"token": "secret"`, `get("DB_PASSWORD", "secret")`, `PASSWORD 'secret'`
fn values(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(end) = next_secret(rest) {
        let (name, after) = rest.split_at(end);
        out += name;
        let (sign, value) = after.split_at(after.find(|c| !is_sign(c)).unwrap_or(after.len()));
        out += sign;
        let gives = sign.contains(['=', ':', ',', '>']) || sign.trim_start().starts_with(['\'', '"']);
        let quoted = sign.chars().next_back().filter(|c| "'\"`".contains(*c));
        let length = value.find(|c: char| match quoted {
            Some(quote) => c == quote,
            None => c.is_whitespace() || ",;&<\"'".contains(c),
        });
        let (value, further) = value.split_at(length.unwrap_or(value.len()));
        out += if gives && !value.is_empty() && !is_reference(value) { MASK } else { value };
        rest = further;
    }
    out + rest
}

/// Where the first name of a secret ends.
fn next_secret(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let (at, word) =
        SECRETS.iter().filter_map(|word| Some((lower.find(word)?, word))).min_by_key(|(at, _)| *at)?;
    let start = at + word.len();
    let part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    Some(start + text[start..].find(|c| !part(c)).unwrap_or(text.len() - start))
}

fn is_sign(c: char) -> bool {
    c.is_whitespace() || "=:,>\"'`])}".contains(c)
}

/// `${NAME}`, `$NAME`: where it comes from, and not what it is.
fn is_reference(value: &str) -> bool {
    let name = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).or(value.strip_prefix('$'));
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        for line in [
            "DATABASE_URL=postgres://shop:hunter2@db:5432/ecommerce_db",
            "url: \"postgres://shop:hunter2@x@db/ecommerce_db\"",
            "spring.datasource.password=hunter2",
            "  password: 'hunter2 with blanks'",
            "{\"host\": \"a\", \"password\": \"hunter2\", \"port\": 5432}",
            "os.environ.get(\"DB_PASSWORD\", \"hunter2\")",
            "process.env['DB_PASSWORD'] || pwd = \"hunter2\"",
            "PGPASSWORD=hunter2 psql -d ecommerce_db",
            "CREATE ROLE shop PASSWORD 'hunter2'",
            "<password>hunter2</password>",
            "${DB_PASSWORD:-hunter2}",
            "apiKey = hunter2; token=hunter2",
        ] {
            let shown = masked(line, &[]);
            assert!(!shown.contains("hunter2") && shown.contains(MASK), "{line}: {shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "spring.datasource.password=${ORDER_PASSWORD}",
            "password: $DB_PASSWORD",
            "jdbc:postgresql://localhost:5432/ecommerce_db",
            "# the password stands in the vault",
            "host = \"db\", port = 5432",
        ] {
            assert_eq!(masked(line, &[]), line);
        }
    }

    #[test]
    fn a_known_secret_is_masked_wherever_it_stands() {
        assert_eq!(masked("login('shop', 'canary-of-old')", &["canary-of-old", ""]), "login('shop', '***')");
    }
}
