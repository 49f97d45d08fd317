//! Passwords that this tool makes: from the system's source of randomness into files that are their owner's alone.

use crate::effects::random;
use crate::settings::readable_by_others;
use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// 192 bits, in signs that no URL and no shell takes for something else.
pub fn random() -> Result<SecretString> {
    Ok(SecretString::from(random::hex(24)?))
}

/// The password in a file; `None`: there is no file.
///
/// # Errors
/// Where others may read it, or it is empty: it says which file, and what to type.
pub fn read(path: &Path) -> Result<Option<SecretString>> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {shown}")),
    };
    let mode = fs::metadata(path).with_context(|| format!("reading {shown}"))?.permissions().mode();
    if let Some(problem) = readable_by_others(path, mode) {
        bail!("{problem}");
    }
    match text.trim_end_matches(['\r', '\n']) {
        password if password.is_empty() || password.contains('\n') => {
            bail!("{shown} has to hold a password in one line, and nothing else")
        }
        password => Ok(Some(SecretString::from(password))),
    }
}

/// On disk when it returns: a reader sees the old password or the new one.
pub fn write(path: &Path, password: &SecretString) -> Result<()> {
    let shown = path.display();
    let directory = path.parent().with_context(|| format!("{shown} is in no directory"))?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("making {}", directory.display()))?;
    let new = path.with_extension("new");
    let written = (OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new))
        .and_then(|mut file| {
            writeln!(file, "{}", password.expose_secret())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| File::open(directory)?.sync_all());
    written.with_context(|| format!("writing {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secrets/product_password");
        assert!(read(&path).unwrap().is_none());
        let (first, second) = (random().unwrap(), random().unwrap());
        assert_eq!(first.expose_secret().len(), 48);
        assert_ne!(first.expose_secret(), second.expose_secret());
        write(&path, &first).unwrap();
        write(&path, &second).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().expose_secret(), second.expose_secret());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
