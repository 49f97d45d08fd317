//! The last errors of servers, word for word: what a person is told is a sentence, and with `-v` these follow it.

use std::sync::{Mutex, PoisonError};

/// More of them than a command that ends with an error tells of.
const KEPT: usize = 5;

static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Not for statements that hold a secret.
pub fn remember(words: &str) {
    let mut kept = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.iter().any(|known| known == words) {
        return;
    }
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(words.to_string());
}

/// The last ones, the oldest first.
pub fn last() -> Vec<String> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
