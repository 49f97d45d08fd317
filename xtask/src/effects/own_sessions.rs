//! The sessions of this process, told by what nobody else can have: the server's process and when it began.
//! A session's name is no proof of anything, anybody can set it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A session of this process; `began`: `backend_start`, as the server writes it. It stays known when it is closed:
/// the server shows it for a moment longer, and no other ever has both of its marks.
pub fn remember(pid: i32, began: &str) {
    known().insert(key(pid, began));
}

/// Process and beginning of each, as [`key`] writes them.
pub fn keys() -> Vec<String> {
    known().iter().cloned().collect()
}

pub fn is_own(pid: i32, began: &str) -> bool {
    known().contains(&key(pid, began))
}

fn key(pid: i32, began: &str) -> String {
    format!("{pid} {began}")
}

fn known() -> MutexGuard<'static, BTreeSet<String>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_ours_by_both_of_its_marks_and_stays_so_when_it_is_closed() {
        remember(-1, "then");
        assert!(is_own(-1, "then") && keys().contains(&"-1 then".to_string()));
        assert!(!is_own(-1, "later") && !is_own(-2, "then"));
    }
}
