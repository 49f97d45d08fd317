//! Connections that were dropped without a word, as a load balancer does with those that were idle for long.
//! The driver asks for no keepalive, so who waits would wait for ever: a statement that is silent for a while
//! is looked for from a second connection.

use anyhow::{Result, bail};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// Every limit of a wait for an answer.
#[derive(Clone, Copy)]
pub struct Limits {
    /// No answer for so long, and somebody looks.
    pub silent: Duration,
    /// How long a look may take.
    pub look: Duration,
    /// What was on its way while somebody looked may still arrive.
    pub grace: Duration,
}

/// Less than a minute in all.
pub const LIMITS: Limits =
    Limits { silent: Duration::from_secs(20), look: Duration::from_secs(20), grace: Duration::from_secs(5) };

/// Waits for an answer as long as `look` finds that there will be one; it says why not. `moved`: whether
/// anything has been heard since it was asked last, so that nobody has to look.
///
/// # Errors
/// Where nobody will answer any more. The connection is of no use then.
pub async fn heard<T, F: Future<Output = Option<String>>>(
    limits: Limits,
    answer: impl Future<Output = T>,
    mut moved: impl FnMut() -> bool,
    look: impl Fn() -> F,
) -> Result<T> {
    let mut answer = pin!(answer);
    loop {
        if let Ok(answer) = tokio::time::timeout(limits.silent, &mut answer).await {
            return Ok(answer);
        }
        if moved() {
            continue;
        }
        let looked = tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            looked = tokio::time::timeout(limits.look, look()) => looked,
        };
        let why = match looked {
            Ok(None) => continue,
            Ok(Some(why)) => why,
            Err(_) => "a second connection gets no answer either".to_string(),
        };
        match tokio::time::timeout(limits.grace, &mut answer).await {
            Ok(answer) => return Ok(answer),
            Err(_) if moved() => {}
            Err(_) => bail!(
                "no answer for {} s, and {why}: the connection was lost on its way without a word. Is there a \
                 limit for idle connections between here and the server?",
                limits.silent.as_secs_f64()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const LIMITS: Limits = Limits {
        silent: Duration::from_millis(20),
        look: Duration::from_millis(20),
        grace: Duration::from_millis(20),
    };

    #[tokio::test]
    async fn who_is_at_work_is_waited_for() {
        let slow = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            7
        };
        assert_eq!(heard(LIMITS, slow, || false, async || None).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn who_sends_piece_by_piece_is_not_asked_for() {
        let (pieces, looks) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let slow = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            7
        };
        let moved = || {
            pieces.set(pieces.get() + 1);
            true
        };
        let look = async || {
            looks.set(looks.get() + 1);
            Some("it is gone".to_string())
        };
        assert_eq!(heard(LIMITS, slow, moved, look).await.unwrap(), 7);
        assert!(pieces.get() > 1 && looks.get() == 0, "{pieces:?} {looks:?}");
    }

    #[tokio::test]
    async fn who_does_not_answer_any_more_is_not() {
        let gone = heard(LIMITS, pending::<()>(), || false, async || Some("it is gone".to_string())).await;
        let said = gone.unwrap_err().to_string();
        assert!(said.contains("no answer for 0.02 s, and it is gone"), "{said}");
        let said = heard(LIMITS, pending::<()>(), || false, pending).await.unwrap_err().to_string();
        assert!(said.contains("a second connection gets no answer either"), "{said}");
        // What was on its way counts.
        let late = async {
            tokio::time::sleep(Duration::from_millis(25)).await;
            7
        };
        assert_eq!(heard(LIMITS, late, || false, async || Some("it is gone".to_string())).await.unwrap(), 7);
    }
}
