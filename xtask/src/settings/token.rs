//! The token of whoever tests the services. Whoever does not need it is not refused for want of it.

use super::environment::Environment;
use super::shown::Entry;
use super::surroundings::{Resolving, Surroundings};
use anyhow::Result;
use secrecy::SecretString;

impl Environment {
    /// `None`: the file names none.
    ///
    /// # Errors
    /// Refuses where it is not there, saying why.
    pub fn token(&self, outside: &impl Surroundings) -> Result<Option<SecretString>> {
        let (entries, problems) = Default::default();
        let resolving = Resolving { environment: self, outside, entries, problems };
        let Some(named) = &self.file.token else { return Ok(None) };
        match resolving.secret(&named.value, resolving.line(named), None).1 {
            Ok(token) => Ok(Some(token)),
            Err(why) => crate::refuse!("{}: services.token {why}", self.path.display()),
        }
    }
}

impl<S: Surroundings> Resolving<'_, S> {
    /// For people: whether it is there.
    pub fn show_token(&mut self) {
        if let Some(named) = &self.environment.file.token {
            let (origin, secret) = self.secret(&named.value, self.line(named), None);
            let (key, present) = ("services.token".to_string(), Some(secret.is_ok()));
            self.entries.push(Entry { key, value: None, present, origin });
        }
    }
}
