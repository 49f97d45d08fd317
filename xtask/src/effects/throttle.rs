//! How fast the source is read: bytes a second over all readers together, and not at all while it is
//! busy. A COPY that is not read is held back by the server itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Clones share the rate.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// Bytes/s; `None`: as fast as it comes.
    rate: Option<f64>,
    /// When what has been read until now would be done at that rate.
    paid: Arc<Mutex<Instant>>,
    /// Why nothing is read at present.
    held: watch::Sender<Option<String>>,
}

impl Throttle {
    /// `rate`: in MB/s, 10⁶ bytes each.
    pub fn new(rate: Option<f64>) -> Throttle {
        let rate = rate.map(|megabytes| megabytes * 1e6);
        Throttle { rate, paid: Arc::new(Mutex::new(Instant::now())), held: watch::Sender::new(None) }
    }

    /// Holds all readers, or lets them go on; whether that is news.
    pub fn hold(&self, why: Option<String>) -> bool {
        self.held.send_if_modified(|held| {
            let news = held.is_some() != why.is_some();
            *held = why;
            news
        })
    }

    /// Waits until the source is not busy.
    pub async fn free(&self) {
        let mut held = self.held.subscribe();
        // The sender is our own: it is there.
        let _ = held.wait_for(Option::is_none).await;
    }

    /// So many bytes have been read, or are about to be: waits until they may have been.
    pub async fn pass(&self, bytes: u64) {
        self.free().await;
        let Some(rate) = self.rate else { return };
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            *paid = (*paid).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate);
            *paid
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_readers_share_one_rate() {
        let throttle = Throttle::new(Some(50.0));
        let started = Instant::now();
        let reader = || async {
            for _ in 0..5 {
                throttle.pass(1_000_000).await;
            }
        };
        tokio::join!(reader(), reader());
        // Never sooner; how much later is the machine's affair.
        assert!(started.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn who_is_held_waits_and_goes_on() {
        let throttle = Throttle::new(None);
        throttle.pass(u64::MAX).await;
        assert!(throttle.hold(Some("busy".into())));
        assert!(!throttle.hold(Some("still busy".into())));
        let mut reader = std::pin::pin!(throttle.pass(1));
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut reader).await.is_err());
        assert!(throttle.hold(None));
        reader.await;
    }
}
