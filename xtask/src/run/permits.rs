//! Who may run a statement on a host now: as many at once as `--jobs` says, the heaviest of those who
//! wait first.
//!
//! What was learnt: eight loads at once on four processors all end late, and then the last index of
//! the largest table is built alone. What takes longest has to begin first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The permits of one host; clones share them.
#[derive(Clone, Debug)]
pub struct Permits(Arc<Mutex<HostState>>);

#[derive(Debug)]
struct HostState {
    free: usize,
    arrived: u64,
    /// By weight, then by arrival.
    waiting: BTreeMap<(Reverse<u64>, u64), oneshot::Sender<Permit>>,
}

/// The right to run one statement; dropping it hands it on.
#[derive(Debug, Default)]
#[must_use]
pub struct Permit(Option<Permits>);

impl Permits {
    pub fn new(jobs: usize) -> Permits {
        Permits(Arc::new(Mutex::new(HostState { free: jobs.max(1), arrived: 0, waiting: BTreeMap::new() })))
    }

    /// Waits for a permit. `weight`: the work of the statement and of those that wait for it, in any
    /// unit that all who wait here share. Who holds a permit must not wait for another.
    pub async fn acquire(&self, weight: u64) -> Permit {
        let called = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Permit(Some(self.clone()));
            }
            let (call, called) = oneshot::channel();
            state.arrived += 1;
            let key = (Reverse(weight), state.arrived);
            state.waiting.insert(key, call);
            called
        };
        // The sender lives as long as we do: it is sent to, never dropped.
        called.await.unwrap_or(Permit(None))
    }

    fn state(&self) -> MutexGuard<'_, HostState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(permits) = self.0.take() else { return };
        let mut state = permits.state();
        while let Some((_, call)) = state.waiting.pop_first() {
            match call.send(Permit(Some(permits.clone()))) {
                Ok(()) => return,
                // Whoever waited has given up.
                Err(mut back) => back.0 = None,
            }
        }
        state.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_heaviest_goes_first_and_who_gives_up_loses_no_permit() {
        let permits = Permits::new(1);
        let held = permits.acquire(0).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |weight| {
            let (permits, order) = (permits.clone(), order.clone());
            tokio::spawn(async move {
                let _permit = permits.acquire(weight).await;
                order.lock().unwrap().push(weight);
            })
        };
        let waiting = [2, 9, 5].map(wait);
        while permits.state().waiting.len() < 3 {
            tokio::task::yield_now().await;
        }
        waiting[1].abort();
        drop(held);
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [5, 2]);
        assert_eq!(permits.state().free, 1);
    }
}
