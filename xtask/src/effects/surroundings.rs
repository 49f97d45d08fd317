//! What environment files refer to: the process's variables, and files on this machine.

use crate::settings::{Found, Surroundings, Variables};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A secret or a certificate is small; so that no read waits for a device.
const LARGEST: u64 = 4 << 20;

impl Surroundings for Variables {
    fn variable(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn file(&self, path: &Path) -> io::Result<Found> {
        // Before it is opened: opening a pipe would wait for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
        }
        let file = File::open(path)?;
        // Of the file that is read, not of one that has taken its place.
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes)?;
        Ok(Found { bytes, mode })
    }
}
