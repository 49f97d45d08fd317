//! How far a phase is as a whole: what is known of its tasks, in one figure.

use crate::shown::duration;
use indicatif::ProgressBar;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A task as it is shown.
pub struct ShownTask {
    pub what: String,
    /// What it waits for is its message.
    pub bar: ProgressBar,
    pub total: u64,
    /// Whether its rows are some of the phase's.
    pub counts: bool,
    pub count: Arc<Count>,
}

/// How far a task is, to be read while bars are drawn: a bar itself must not be asked then.
#[derive(Default)]
pub struct Count {
    rows: AtomicU64,
    ended: AtomicBool,
}

impl Count {
    pub fn add(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// How far a phase is, as far as its tasks are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whole {
    pub done: u64,
    pub of: u64,
}

impl Whole {
    pub fn of(tasks: &[ShownTask]) -> Option<Whole> {
        let counted = || tasks.iter().filter(|task| task.counts && task.total > 0);
        let done = |task: &ShownTask| match task.count.has_ended() {
            true => task.total,
            false => task.count.rows().min(task.total),
        };
        let whole = Whole { done: counted().map(done).sum(), of: counted().map(|task| task.total).sum() };
        (whole.of > 0).then_some(whole)
    }

    pub fn percent(self) -> u64 {
        self.done * 100 / self.of
    }

    /// By what was done until now.
    fn seconds_left(self, elapsed: Duration) -> Option<f64> {
        (self.done > 0).then(|| elapsed.as_secs_f64() * (self.of - self.done) as f64 / self.done as f64)
    }

    /// `  42 % ━━━━╸────  about 12.0 s left`
    pub fn drawn(self, elapsed: Duration) -> String {
        const CELLS: u64 = 24;
        let full = self.done * CELLS / self.of;
        let bar: String = (0..CELLS)
            .map(|cell| match cell {
                cell if cell < full => '━',
                cell if cell == full => '╸',
                _ => '─',
            })
            .collect();
        format!("{:>3} % {bar} {}", self.percent(), self.left(elapsed))
    }

    pub fn left(self, elapsed: Duration) -> String {
        self.seconds_left(elapsed).map_or(String::new(), |left| format!("about {} left", duration(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(total: u64, rows: u64, ended: bool, counts: bool) -> ShownTask {
        let count = Arc::new(Count { rows: rows.into(), ended: ended.into() });
        ShownTask { what: "export orders".into(), bar: ProgressBar::hidden(), total, counts, count }
    }

    #[test]
    fn a_phase_is_as_far_as_its_rows_are() {
        // Of more rows than were expected no more than those count; indexes and what has no number do not.
        let tasks = [task(100, 0, true, true), task(200, 250, false, true), task(700, 100, false, true)];
        let others = [task(5, 5, true, false), task(0, 99, false, true)];
        let whole = Whole::of(&tasks.into_iter().chain(others).collect::<Vec<_>>()).unwrap();
        assert_eq!((whole, whole.percent()), (Whole { done: 400, of: 1000 }, 40));
        assert_eq!(whole.left(Duration::from_secs(20)), "about 30.0 s left");
        assert_eq!(whole.drawn(Duration::from_secs(20)), " 40 % ━━━━━━━━━╸────────────── about 30.0 s left");
        assert_eq!(Whole { done: 0, of: 9 }.left(Duration::from_secs(20)), "", "nothing is known yet");
        assert_eq!(Whole::of(&[]), None);
    }
}
