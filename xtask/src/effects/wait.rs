//! Waiting for a state, never for a time: looks again and again until the state has come, or its time is up.
//! Then it says what was waited for, how long, and what was seen last.

use anyhow::{Result, bail};
use std::fmt::Display;
use std::time::{Duration, Instant};

/// What a look has seen.
#[derive(Debug, PartialEq, Eq)]
pub enum State<T, Seen = String> {
    Ready(T),
    /// Not yet: how it is now.
    NotYet(Seen),
}

/// How long a state may take to come, and the time between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub deadline: Duration,
    pub interval: Duration,
}

/// Waits for `what`, as the end of a sentence: "the session 7 to end".
///
/// # Errors
/// What a look fails with ends the wait; so does the deadline. A look that is under way by then is not cut
/// off: it may be in the middle of a conversation with a server.
pub async fn for_state<T, Seen: Display>(
    what: impl Display,
    patience: Patience,
    look: impl AsyncFnMut() -> Result<State<T, Seen>>,
) -> Result<T> {
    match until(patience, look).await? {
        State::Ready(ready) => Ok(ready),
        State::NotYet(last) => bail!("{}", too_late(&what, patience, &last)),
    }
}

/// The same for who goes on with what was seen last, where the state has not come in time.
pub async fn until<T, Seen>(
    patience: Patience,
    mut look: impl AsyncFnMut() -> Result<State<T, Seen>>,
) -> Result<State<T, Seen>> {
    let deadline = Instant::now() + patience.deadline;
    loop {
        let seen = look().await?;
        if matches!(seen, State::Ready(_)) || Instant::now() >= deadline {
            return Ok(seen);
        }
        tokio::time::sleep(patience.interval).await;
    }
}

/// For what cannot be awaited: it ends while a value is dropped, or on a thread that may block.
pub fn until_blocking<T, Seen>(
    patience: Patience,
    mut look: impl FnMut() -> Result<State<T, Seen>>,
) -> Result<State<T, Seen>> {
    let deadline = Instant::now() + patience.deadline;
    loop {
        let seen = look()?;
        if matches!(seen, State::Ready(_)) || Instant::now() >= deadline {
            return Ok(seen);
        }
        std::thread::sleep(patience.interval);
    }
}

/// As [`for_state`], for what cannot be awaited.
///
/// # Errors
/// As there.
pub fn for_state_blocking<T, Seen: Display>(
    what: impl Display,
    patience: Patience,
    look: impl FnMut() -> Result<State<T, Seen>>,
) -> Result<T> {
    match until_blocking(patience, look)? {
        State::Ready(ready) => Ok(ready),
        State::NotYet(last) => bail!("{}", too_late(&what, patience, &last)),
    }
}

/// For a loop of its own: where a look borrows what the compiler cannot see through a closure, as in what is
/// done by `Cleanup`.
pub struct Waiting<'a> {
    what: &'a (dyn Display + Sync),
    patience: Patience,
    deadline: Instant,
}

impl Waiting<'_> {
    pub fn begin(what: &(impl Display + Sync), patience: Patience) -> Waiting<'_> {
        Waiting { what, patience, deadline: Instant::now() + patience.deadline }
    }

    /// It has not come yet; returns when it is time for the next look. `last`: how it is now.
    ///
    /// # Errors
    /// Where its time is up.
    pub async fn again(&self, last: &(dyn Display + Sync)) -> Result<()> {
        if Instant::now() >= self.deadline {
            bail!("{}", too_late(self.what, self.patience, last));
        }
        tokio::time::sleep(self.patience.interval).await;
        Ok(())
    }
}

fn too_late(what: &dyn Display, patience: Patience, last: &dyn Display) -> String {
    format!("waited {} s for {what}; the last that was seen: {last}", patience.deadline.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { deadline: Duration::from_millis(50), interval: Duration::from_millis(1) };

    #[tokio::test]
    async fn what_comes_is_returned() {
        let mut looks = 0;
        let third = for_state("the third look", PATIENCE, async || {
            looks += 1;
            Ok(if looks == 3 { State::Ready(looks) } else { State::NotYet("too early") })
        });
        assert_eq!(third.await.unwrap(), 3);
        // Somebody who waits for nothing has looked once all the same.
        let none = Patience { deadline: Duration::ZERO, ..PATIENCE };
        let now = until(none, async || Ok(State::<(), u8>::NotYet(7))).await.unwrap();
        assert_eq!(now, State::NotYet(7));
    }

    #[tokio::test]
    async fn what_does_not_come_is_told_with_the_last_that_was_seen() {
        let mut looks = 0;
        let began = Instant::now();
        let never = for_state("the door to open", PATIENCE, async || {
            looks += 1;
            Ok(State::<(), _>::NotYet(if looks == 1 { "locked" } else { "ajar" }))
        });
        let error = never.await.unwrap_err().to_string();
        assert_eq!(error, "waited 0.05 s for the door to open; the last that was seen: ajar");
        assert!(began.elapsed() >= PATIENCE.deadline && looks > 2, "{looks}");
        let never = async {
            let waiting = Waiting::begin(&"the gate", PATIENCE);
            loop {
                waiting.again(&"shut").await?;
            }
        };
        let error: Result<()> = never.await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "waited 0.05 s for the gate; the last that was seen: shut"
        );
        let blocking = for_state_blocking("it", PATIENCE, || Ok(State::<(), _>::NotYet("still shut")));
        let error = blocking.unwrap_err().to_string();
        assert_eq!(error, "waited 0.05 s for it; the last that was seen: still shut");
    }

    #[tokio::test]
    async fn a_look_that_fails_ends_the_wait() {
        let mut looks = 0;
        let failed = for_state("it", PATIENCE, async || -> Result<State<(), String>> {
            looks += 1;
            bail!("no such door")
        });
        assert_eq!(failed.await.unwrap_err().to_string(), "no such door");
        assert_eq!(looks, 1);
    }
}
