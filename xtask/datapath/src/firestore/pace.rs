//! How fast and how patiently documents are written.

use backon::ExponentialBuilder;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How fast and how patiently documents are written.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Batches under way at the same time.
    pub workers: usize,
    /// Documents a batch, at most.
    pub batch: usize,
    /// None: no limit (emulator).
    pub limit: Option<Limit>,
    /// How often a batch is sent, at most, before what is left of it is given up.
    pub attempts: usize,
    /// The longest a batch is sent again after its first attempt.
    pub deadline: Duration,
    /// The longest one call may take.
    pub timeout: Duration,
    /// The pause before the second attempt; each further one is 1.5 times as long, up to a minute,
    /// and each is lengthened by chance, so that workers do not come back all at once.
    pub first_pause: Duration,
    /// The least pause after RESOURCE_EXHAUSTED: the server asks for less.
    pub overload_pause: Duration,
}

impl Pace {
    /// The emulator is limited by its own processor only: large batches, short pauses.
    pub fn for_emulator() -> Pace {
        Pace {
            workers: 8,
            batch: 200,
            limit: None,
            attempts: 10,
            deadline: Duration::from_secs(300),
            timeout: Duration::from_secs(60),
            first_pause: Duration::from_millis(50),
            overload_pause: Duration::from_millis(50),
        }
    }

    /// As Google's own SDKs write: 20 documents a batch, ramped up to `max_rate` documents a second
    /// (at least 1). The limit holds for one call of `write`; two at once need half the rate each.
    pub fn for_project(max_rate: f64) -> Pace {
        let max = max_rate.max(1.0);
        let batch = 20;
        // Enough for the full rate where a batch takes 200 ms; a connection carries 100 calls.
        let workers = (max / batch as f64 * 0.2).ceil().clamp(4.0, 64.0) as usize;
        Pace {
            workers,
            batch,
            limit: Some(Limit::up_to(max)),
            attempts: 10,
            deadline: Duration::from_secs(900),
            timeout: Duration::from_secs(60),
            first_pause: Duration::from_secs(1),
            overload_pause: Duration::from_secs(60),
        }
    }

    /// The pauses between attempts.
    pub(super) fn pauses(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.first_pause)
            .with_factor(1.5)
            .with_max_delay(Duration::from_secs(60))
            .with_max_times(self.attempts.saturating_sub(1))
            .with_jitter()
    }
}

/// Writes a second to begin with.
pub(super) const START: f64 = 500.0;

/// Google's rule for new collections, "500/50/5": begin with 500 writes a second, then half as many
/// again every five minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Writes a second at the start.
    pub start: f64,
    pub factor: f64,
    pub every: Duration,
    /// Writes a second, at most.
    pub max: f64,
}

impl Limit {
    /// The rule with an upper end, in writes a second.
    pub fn up_to(max: f64) -> Limit {
        Limit { start: START, factor: 1.5, every: Duration::from_secs(300), max }
    }

    /// Writes a second that are allowed so long after the start.
    pub fn rate_at(&self, elapsed: Duration) -> f64 {
        let steps = (elapsed.as_secs_f64() / self.every.as_secs_f64()).floor();
        (self.start * self.factor.powf(steps)).min(self.max)
    }

    /// The least seconds that so many writes take.
    pub fn floor(&self, writes: u64) -> f64 {
        let (mut left, mut elapsed) = (writes as f64, Duration::ZERO);
        loop {
            let rate = self.rate_at(elapsed);
            let step = rate * self.every.as_secs_f64();
            if left <= step || rate >= self.max {
                return elapsed.as_secs_f64() + left / rate;
            }
            left -= step;
            elapsed += self.every;
        }
    }
}

/// When the next writes may go out: a queue of one place, without I/O or clock. What was not used
/// is not saved up, so there are no bursts after a stall.
#[derive(Debug)]
struct Schedule {
    limit: Limit,
    /// Since the start.
    free_at: Duration,
}

impl Schedule {
    /// The time since the start at which these writes may be sent.
    fn reserve(&mut self, now: Duration, writes: usize) -> Duration {
        let at = self.free_at.max(now);
        self.free_at = at + Duration::from_secs_f64(writes as f64 / self.limit.rate_at(at));
        at
    }
}

/// Shared by all workers of one write. Every attempt counts, repeated ones too.
#[derive(Debug)]
pub(super) struct Limiter {
    start: Instant,
    schedule: Option<Mutex<Schedule>>,
}

impl Limiter {
    pub(super) fn new(limit: Option<Limit>) -> Limiter {
        let schedule = limit.map(|limit| Mutex::new(Schedule { limit, free_at: Duration::ZERO }));
        Limiter { start: Instant::now(), schedule }
    }

    /// Waits until so many writes may be sent.
    pub(super) async fn admit(&self, writes: usize) {
        let Some(schedule) = &self.schedule else {
            return;
        };
        let at =
            schedule.lock().unwrap_or_else(PoisonError::into_inner).reserve(self.start.elapsed(), writes);
        tokio::time::sleep_until(self.start + at).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_follows_googles_rule() {
        let limit = Limit::up_to(2_000.0);
        let rates = [0, 299, 300, 599, 600, 900, 1_200, 1_000_000].map(|s| limit.rate_at(seconds(s)));
        assert_eq!(rates, [500.0, 500.0, 750.0, 750.0, 1_125.0, 1_687.5, 2_000.0, 2_000.0]);
        assert_eq!(Limit::up_to(100.0).rate_at(seconds(0)), 100.0);
    }

    #[test]
    fn a_million_documents_take_what_google_says() {
        let mut schedule = Schedule { limit: Limit::up_to(10_000.0), free_at: Duration::ZERO };
        let mut in_first_minute = 0;
        let mut last = Duration::ZERO;
        for _ in 0..50_000 {
            last = schedule.reserve(last, 20);
            in_first_minute += if last < seconds(60) { 20 } else { 0 };
        }
        assert_eq!(in_first_minute, 30_000);
        let floor = Limit::up_to(10_000.0).floor(1_000_000);
        assert!((floor - last.as_secs_f64()).abs() < 2.0, "{floor} {last:?}");
        assert_eq!(Limit::up_to(100.0).floor(6_000), 60.0);
        assert_eq!(Limit::up_to(10_000.0).floor(0), 0.0);
        assert!((1_060..1_080).contains(&last.as_secs()), "17.8 minutes, {last:?}");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut schedule = Schedule { limit: Limit::up_to(500.0), free_at: Duration::ZERO };
        assert_eq!(schedule.reserve(seconds(0), 500), seconds(0));
        assert_eq!(schedule.reserve(seconds(0), 500), seconds(1));
        assert_eq!(schedule.reserve(seconds(10), 500), seconds(10));
        assert_eq!(schedule.reserve(seconds(10), 500), seconds(11));
    }

    #[test]
    fn paces_stay_within_sense() {
        assert_eq!(Pace::for_project(500.0).workers, 5);
        assert_eq!(Pace::for_project(10_000.0).workers, 64);
        assert_eq!(Pace::for_project(f64::NAN).limit, Some(Limit::up_to(1.0)));
        assert_eq!(Pace::for_emulator().limit, None);
    }

    #[tokio::test]
    async fn workers_wait_for_their_turn() {
        let limit = Limit { start: 1_000.0, ..Limit::up_to(1_000.0) };
        let limiter = Limiter::new(Some(limit));
        for _ in 0..4 {
            limiter.admit(20).await;
        }
        assert!(limiter.start.elapsed() >= Duration::from_millis(60));
        Limiter::new(None).admit(usize::MAX).await;
    }
}
