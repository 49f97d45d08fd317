//! The token of whoever tests the services. Whoever does not need it is not refused for want of it.

use super::environment::Environment;
use super::shown::{Entry, Origin};
use super::surroundings::{Resolving, Surroundings};
use anyhow::Result;
use secrecy::SecretString;

impl Environment {
    /// `None`: the file names none.
    ///
    /// # Errors
    /// Refuses where it is not there, saying why.
    pub fn token(&self, outside: &impl Surroundings) -> Result<Option<SecretString>> {
        match self.named_token(outside) {
            None => Ok(None),
            Some((_, Ok(token))) => Ok(Some(token)),
            Some((_, Err(why))) => crate::refuse!("{}: services.token {why}", self.path.display()),
        }
    }

    /// For people: whether it is there.
    pub(super) fn token_entry(&self, outside: &impl Surroundings) -> Option<Entry> {
        let (origin, token) = self.named_token(outside)?;
        Some(Entry { key: "services.token".to_string(), value: None, present: Some(token.is_ok()), origin })
    }

    /// What the file names, or why it is not there.
    fn named_token(&self, outside: &impl Surroundings) -> Option<(Origin, Result<SecretString, String>)> {
        let (entries, problems) = Default::default();
        let resolving = Resolving { environment: self, outside, entries, problems };
        let named = self.file.token.as_ref()?;
        Some(resolving.secret(&named.value, resolving.line(named), None))
    }
}
