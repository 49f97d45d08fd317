//! What has to be undone on every way out of the process. A command that is interrupted is dropped,
//! and what is dropped cannot wait for a server's answer: so what it has to undo stands here, and `main`
//! does it.

use anyhow::{Context, Result};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Undo = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// What is still to be undone; clones share it.
#[derive(Clone, Default)]
pub struct Cleanup(Arc<Mutex<PendingList>>);

#[derive(Default)]
struct PendingList {
    next: u64,
    /// The command looks again and again: an interrupt is its end, and cuts nothing off.
    ends_by_interrupt: bool,
    entries: Vec<PendingUndo>,
}

#[derive(Clone)]
struct PendingUndo {
    id: u64,
    /// What is there as long as it is not undone, as a sentence: "the source is frozen".
    what: String,
    /// What a person has to type where it cannot be undone.
    by_hand: String,
    undo: Undo,
}

/// One thing to undo.
#[derive(Clone, Copy, Debug)]
pub struct Pending(u64);

impl Cleanup {
    /// Note this before the change is made. `undo` may be called more than once: after an interruption
    /// in the middle of it, again from its start.
    pub fn add<F: Future<Output = Result<()>> + Send + 'static>(
        &self,
        what: impl Into<String>,
        by_hand: String,
        undo: impl Fn() -> F + Send + Sync + 'static,
    ) -> Pending {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.entries.push(PendingUndo {
            id,
            what: what.into(),
            by_hand,
            undo: Arc::new(move || Box::pin(undo())),
        });
        Pending(id)
    }

    /// Undoes it now. What fails stays noted.
    pub async fn undo(&self, pending: Pending) -> Result<()> {
        let entry = self.state().entries.iter().find(|e| e.id == pending.0).cloned();
        if let Some(entry) = entry {
            (entry.undo)().await?;
            self.keep(pending);
        }
        Ok(())
    }

    /// It stays as it is.
    pub fn keep(&self, pending: Pending) {
        self.state().entries.retain(|e| e.id != pending.0);
    }

    /// From here on an interrupt is how this command ends.
    pub fn ends_by_interrupt(&self) {
        self.state().ends_by_interrupt = true;
    }

    pub fn may_be_interrupted(&self) -> bool {
        self.state().ends_by_interrupt
    }

    /// What has not been undone, and what has to be typed for it by hand.
    pub fn left(&self) -> Vec<(String, String)> {
        self.state().entries.iter().map(|e| (e.what.clone(), e.by_hand.clone())).collect()
    }

    /// Undoes what is left, the last first; an error for each that could not be.
    pub async fn all(&self, limit: Duration) -> Vec<anyhow::Error> {
        let mut errors = Vec::new();
        let ids: Vec<u64> = self.state().entries.iter().rev().map(|e| e.id).collect();
        for id in ids {
            let undone = tokio::time::timeout(limit, self.undo(Pending(id))).await;
            let undone = undone.with_context(|| format!("no answer within {} s", limit.as_secs_f64()));
            if let Err(error) = undone.flatten() {
                let entry = self.state().entries.iter().find(|e| e.id == id).cloned();
                let (what, by_hand) = entry.map(|e| (e.what, e.by_hand)).unwrap_or_default();
                errors.push(
                    error.context(format!("{what}: that could not be undone; undo it with `{by_hand}`")),
                );
            }
        }
        errors
    }

    fn state(&self) -> MutexGuard<'_, PendingList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_undone_once_the_last_first_and_what_fails_is_said() {
        let cleanup = Cleanup::default();
        let done = Arc::new(Mutex::new(Vec::new()));
        let add = |name: &'static str, works: bool| {
            let done = done.clone();
            cleanup.add(format!("{name} is there"), format!("undo {name}"), move || {
                let done = done.clone();
                async move {
                    anyhow::ensure!(works, "{name} fails");
                    done.lock().unwrap().push(name);
                    Ok(())
                }
            })
        };
        let first = add("first", true);
        add("second", true);
        add("broken", false);
        let kept = add("kept", true);
        cleanup.keep(kept);
        cleanup.undo(first).await.unwrap();
        add("late", true);
        let errors = cleanup.all(Duration::from_secs(60)).await;
        assert_eq!(*done.lock().unwrap(), ["first", "late", "second"]);
        assert_eq!(errors.len(), 1);
        assert_eq!(
            format!("{:#}", errors[0]),
            "broken is there: that could not be undone; undo it with `undo broken`: broken fails"
        );
        assert_eq!(cleanup.left(), [("broken is there".to_string(), "undo broken".to_string())]);
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let cleanup = Cleanup::default();
        cleanup.add("x", "y".into(), std::future::pending);
        let errors = cleanup.all(Duration::from_millis(10)).await;
        assert!(format!("{:#}", errors[0]).contains("no answer within 0.01 s"));
    }
}
