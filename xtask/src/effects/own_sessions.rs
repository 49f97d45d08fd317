//! The sessions of this process, told by what nobody else can have: the server's process and when it began.
//! A session's name is no proof of anything, anybody can set it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

static OPEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A session of this process: one of its own as long as this lives.
pub struct OwnSession {
    pub pid: i32,
    key: String,
}

impl OwnSession {
    /// `began`: `backend_start`, as the server writes it.
    pub fn new(pid: i32, began: &str) -> OwnSession {
        let key = key(pid, began);
        open().insert(key.clone());
        OwnSession { pid, key }
    }
}

impl Drop for OwnSession {
    fn drop(&mut self) {
        open().remove(&self.key);
    }
}

/// Process and beginning of each, as [`key`] writes them.
pub fn keys() -> Vec<String> {
    open().iter().cloned().collect()
}

pub fn is_own(pid: i32, began: &str) -> bool {
    open().contains(&key(pid, began))
}

fn key(pid: i32, began: &str) -> String {
    format!("{pid} {began}")
}

fn open() -> MutexGuard<'static, BTreeSet<String>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_ours_while_it_lives_and_by_both_of_its_marks() {
        let session = OwnSession::new(-1, "then");
        assert!(is_own(-1, "then") && keys().contains(&"-1 then".to_string()));
        assert!(!is_own(-1, "later") && !is_own(-2, "then"));
        drop(session);
        assert!(!is_own(-1, "then"));
    }
}
