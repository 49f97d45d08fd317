//! Secrets, from where the file says that they are; and why one is not there.

use super::libpq;
use super::shown::Origin;
use super::surroundings::{Resolving, Surroundings};
use super::values::SecretFrom;
use secrecy::SecretString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Whom a password is for.
pub(super) struct Who {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl<S: Surroundings> Resolving<'_, S> {
    /// A secret, or the rest of a sentence that says why it is not there.
    pub fn secret(
        &self,
        from: &SecretFrom,
        said: Origin,
        who: Option<&Who>,
    ) -> (Origin, Result<SecretString, String>) {
        match from {
            SecretFrom::Variable(name) => {
                let secret = match self.outside.variable(name) {
                    Some(text) => {
                        of_text(text.to_string()).map_err(|e| format!("comes from ${name}, which {e}"))
                    }
                    None => Err(format!(
                        "comes from ${name}, which is not set: `read -rs {name} && export {name}`"
                    )),
                };
                (Origin::Variable { name: name.clone() }, secret)
            }
            SecretFrom::File(path) => {
                let path = self.path(path);
                let secret = self.private(&path).and_then(|text| one_line(&path, &text));
                (Origin::File { path, line: None }, secret)
            }
            SecretFrom::Pgpass(place) => match self.place(place) {
                Ok(path) => self.pgpass(path, who),
                Err(problem) => (said, Err(format!("is in a password file: {problem}"))),
            },
        }
    }

    fn pgpass(&self, path: PathBuf, who: Option<&Who>) -> (Origin, Result<SecretString, String>) {
        let of = |line| Origin::File { path: path.clone(), line };
        let text = match self.private(&path) {
            Ok(text) => text,
            Err(problem) => return (of(None), Err(problem)),
        };
        let Some(who) = who else {
            return (of(None), Err("cannot be looked up in the password file: see above".to_string()));
        };
        match libpq::password(&text, &who.host, who.port, &who.database, &who.user) {
            Some((password, line)) => {
                let wrong = |e| format!("comes from line {line} of {}, where it {e}", path.display());
                (of(Some(line)), of_text(password).map_err(wrong))
            }
            None => {
                let wanted = format!("{}:{}:{}:{}", who.host, who.port, who.database, who.user);
                (of(None), Err(format!("is not in {}: no line fits {wanted}", path.display())))
            }
        }
    }

    /// The text of a file that is its owner's alone, as libpq asks of a password file.
    fn private(&self, path: &Path) -> Result<String, String> {
        let shown = path.display();
        let found =
            self.outside.file(path).map_err(|e| format!("comes from {shown}, which cannot be read: {e}"))?;
        if let Some(problem) = readable_by_others(path, found.mode) {
            return Err(format!("comes from a file that is not private: {problem}"));
        }
        String::from_utf8(found.bytes).map_err(|_| format!("comes from {shown}, which is not UTF-8"))
    }
}

/// A password that is one.
pub(super) fn of_text(text: String) -> Result<SecretString, String> {
    if text.is_empty() { Err("is empty".to_string()) } else { Ok(SecretString::from(text)) }
}

/// The password in a file that holds nothing else.
fn one_line(path: &Path, text: &str) -> Result<SecretString, String> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.contains('\n') {
        true => Err(format!("comes from {}, which holds more than one line", path.display())),
        false => of_text(line.to_string()).map_err(|e| format!("comes from {}, which {e}", path.display())),
    }
}

/// What is wrong with the mode of a file that holds a secret.
pub fn readable_by_others(path: &Path, mode: u32) -> Option<String> {
    let (path, mode) = (path.display(), mode & 0o777);
    (mode & 0o077 != 0).then(|| format!("others may use {path} (mode {mode:04o}): `chmod 600 {path}`"))
}
