//! What to do with Firestore's answers: which documents are written, which are sent again, which
//! are refused for good, and when to stop.
//!
//! What was learnt:
//! - BatchWrite answers with a status per document, and the crate's own writers do not repeat what
//!   those say: under RESOURCE_EXHAUSTED one of them lost 320 documents of 4,000 and reported Ok.
//! - Most malformed documents fail the whole call with INVALID_ARGUMENT and do not say which it
//!   was. The batch is halved until the offender stands alone.
//! - What was reported as failed can still have been applied. Then its condition does not hold when it is
//!   sent again: such a document is read back before anybody calls it another's.

use super::pace::{Limiter, Pace};
use super::wire::Change;
use crate::document::FieldDifference;
use anyhow::{Result, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use gcloud_sdk::error::ErrorKind;
use gcloud_sdk::google::rpc;
use gcloud_sdk::tonic::{Code, Status};
use std::error::Error;
use std::time::Duration;
use tokio::time::Instant;

/// The result of one call of `write`.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Written {
    /// Documents that are there as they were sent.
    pub documents: u64,
    /// How often a document was sent again.
    pub retried: u64,
    /// Documents that Firestore will not take.
    pub rejected: Vec<Rejected>,
    /// Documents of others that stand where ours should: left alone. Some of them.
    pub conflicts: Vec<Conflict>,
    /// How many these are in all.
    pub conflicting: u64,
}

/// A document of others where one of ours should stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    pub id: String,
    /// How it differs from ours. None: it is not there any more.
    pub differences: Option<Vec<FieldDifference>>,
}

/// A document that Firestore will not take, or did not take in any of the attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    pub id: String,
    /// `INVALID_ARGUMENT` …
    pub code: &'static str,
    pub message: String,
}

/// More than this, and it is no longer about single documents.
const REJECTED_AT_MOST: usize = 1_000;

/// Conflicts that are told apart, with values; of all others only the number is kept.
const CONFLICTS_AT_MOST: usize = 100;

impl Written {
    pub(super) fn add(&mut self, other: Written) -> Result<()> {
        self.documents += other.documents;
        self.retried += other.retried;
        let room = CONFLICTS_AT_MOST.saturating_sub(self.conflicts.len());
        self.conflicts.extend(other.conflicts.into_iter().take(room));
        self.conflicting += other.conflicting;
        for rejected in other.rejected {
            self.reject(rejected)?;
        }
        Ok(())
    }

    pub(super) fn reject(&mut self, rejected: Rejected) -> Result<()> {
        self.rejected.push(rejected);
        if let [.., last] = self.rejected.as_slice()
            && self.rejected.len() > REJECTED_AT_MOST
        {
            bail!(
                "Firestore refused more than {REJECTED_AT_MOST} documents, the last one, {}, with \
                 {}: {}",
                last.id,
                last.code,
                last.message
            );
        }
        Ok(())
    }
}

/// A code and what the server says to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn of(status: &Status) -> Refusal {
        let code = if credentials_failed(status) { Code::Unauthenticated } else { status.code() };
        Refusal { code, message: status.message().to_owned() }
    }

    /// Whether the same call may succeed later, and does no harm. The pauses end where it does not pass.
    pub(super) fn passes(&self) -> bool {
        self.may_be_the_connection() || matches!(self.code, Code::Aborted | Code::ResourceExhausted)
    }

    /// What a broken connection becomes depends on the moment: refused it is UNAVAILABLE; closed under a
    /// call that waits for it CANCELLED; reset UNKNOWN, CANCELLED or UNAVAILABLE, by the reason given; cut
    /// within an answer INTERNAL or UNKNOWN; and DEADLINE_EXCEEDED where it just falls silent.
    pub(super) fn may_be_the_connection(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Internal | Code::DeadlineExceeded
        )
    }

    /// Whether a change's own condition does not hold. Which of the codes it is, is up to the server.
    fn is_unmet(&self, change: &Change) -> bool {
        matches!(change, Change::Guarded(..))
            && matches!(self.code, Code::AlreadyExists | Code::FailedPrecondition | Code::NotFound)
    }

    fn rejected(self, change: &Change) -> Rejected {
        Rejected { id: change.id().to_owned(), code: name(self.code), message: self.message }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", name(self.code), self.message)
    }
}

/// Credentials that yield no token reach us as UNKNOWN; only some of these failures pass.
fn credentials_failed(status: &Status) -> bool {
    type Sdk = gcloud_sdk::error::Error;
    let failed = |error: &Sdk| match error.kind() {
        ErrorKind::Credentials(error) => !error.is_transient(),
        ErrorKind::CredentialsBuild(_) => true,
        _ => false,
    };
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<Sdk>().is_some_and(failed)
            || error.downcast_ref::<Box<Sdk>>().is_some_and(|error| failed(error))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// As Firestore's documentation spells them.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What an answer means for the changes that were sent.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Written, but for these (by their place in the batch): some to be sent again, some not.
    Each { again: Vec<(usize, Refusal)>, rejected: Vec<(usize, Refusal)> },
    /// Nothing is known about any of them: all again.
    AllAgain(Refusal),
    /// One or more of them are malformed.
    Halve(Refusal),
    /// It is not about these documents: no other would fare better.
    Stop(Refusal),
}

/// Judges the answer to a batch of `sent` changes.
pub(super) fn judge(sent: usize, answer: Result<Vec<rpc::Status>, Status>) -> Verdict {
    let statuses = match answer {
        Ok(statuses) => statuses,
        Err(status) => {
            let refusal = Refusal::of(&status);
            return match refusal.code {
                Code::InvalidArgument => Verdict::Halve(refusal),
                _ if refusal.passes() => Verdict::AllAgain(refusal),
                _ => Verdict::Stop(refusal),
            };
        }
    };
    if statuses.len() != sent {
        let message = format!("{} statuses for {sent} documents", statuses.len());
        return Verdict::AllAgain(Refusal { code: Code::Unknown, message });
    }
    let (mut again, mut rejected) = (Vec::new(), Vec::new());
    for (place, status) in statuses.into_iter().enumerate() {
        let refusal = Refusal { code: Code::from(status.code), message: status.message };
        match refusal.code {
            Code::Ok => {}
            Code::PermissionDenied | Code::Unauthenticated => return Verdict::Stop(refusal),
            _ if refusal.passes() => again.push((place, refusal)),
            _ => rejected.push((place, refusal)),
        }
    }
    Verdict::Each { again, rejected }
}

/// Whoever takes a batch: Firestore, and in the tests a script.
pub(super) trait Server: Sync {
    /// The changes' statuses, in their order.
    fn batch_write(
        &self,
        changes: &[Change],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<rpc::Status>, Status>> + Send;

    /// What a person should check.
    fn explain(&self, refusal: &Refusal) -> anyhow::Error;
}

/// What has become of the changes.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) written: Written,
    /// Those whose documents are not as the condition says: others have written there, or an earlier
    /// attempt of ours was applied after all.
    pub(super) unmet: Vec<Change>,
}

/// Sends changes until each is written, rejected or unmet.
///
/// # Errors
/// What concerns more than single documents: no permission, no database, no answer in all attempts.
pub(super) async fn submit(
    server: &impl Server,
    changes: Vec<Change>,
    pace: &Pace,
    limiter: &Limiter,
) -> Result<Sent> {
    let mut sent = Sent::default();
    let mut parts = vec![changes];
    while let Some(part) = parts.pop() {
        parts.extend(settle(server, part, pace, limiter, &mut sent).await?);
    }
    Ok(sent)
}

/// Sends one batch until it is settled. Returns its halves where one of it is malformed.
async fn settle(
    server: &impl Server,
    mut batch: Vec<Change>,
    pace: &Pace,
    limiter: &Limiter,
    sent: &mut Sent,
) -> Result<Vec<Vec<Change>>> {
    let mut patience = Patience::new(pace);
    while !batch.is_empty() {
        limiter.admit(batch.len()).await;
        match judge(batch.len(), server.batch_write(&batch, pace.timeout).await) {
            Verdict::Stop(refusal) => return Err(server.explain(&refusal)),
            Verdict::Halve(refusal) if batch.len() == 1 => {
                sent.written.reject(refusal.rejected(&batch[0]))?;
                break;
            }
            Verdict::Halve(_) => {
                let second = batch.split_off(batch.len() / 2);
                return Ok(vec![second, batch]);
            }
            Verdict::AllAgain(refusal) => {
                if !patience.pause(&refusal).await {
                    return Err(server.explain(&refusal).context(patience.spent()));
                }
                sent.written.retried += batch.len() as u64;
            }
            Verdict::Each { again, rejected } => {
                sent.written.documents += (batch.len() - again.len() - rejected.len()) as u64;
                for (place, refusal) in rejected {
                    match refusal.is_unmet(&batch[place]) {
                        true => sent.unmet.push(batch[place].clone()),
                        false => sent.written.reject(refusal.rejected(&batch[place]))?,
                    }
                }
                batch = next_batch(batch, again, &mut patience, &mut sent.written).await?;
            }
        }
    }
    Ok(Vec::new())
}

/// The changes to send again after a pause; none where patience has ended, they are rejected then:
/// one document that never passes must not cost the others.
async fn next_batch(
    mut batch: Vec<Change>,
    again: Vec<(usize, Refusal)>,
    patience: &mut Patience<'_>,
    written: &mut Written,
) -> Result<Vec<Change>> {
    let overload = again.iter().find(|(_, refusal)| refusal.code == Code::ResourceExhausted);
    let Some((_, refusal)) = overload.or(again.first()) else {
        return Ok(Vec::new());
    };
    if patience.pause(refusal).await {
        written.retried += again.len() as u64;
        let mut places = again.iter().map(|(place, _)| *place).peekable();
        let mut place = 0;
        batch.retain(|_| {
            place += 1;
            places.next_if_eq(&(place - 1)).is_some()
        });
        return Ok(batch);
    }
    for (place, mut refusal) in again {
        refusal.message = format!("{} ({})", refusal.message, patience.spent());
        written.reject(refusal.rejected(&batch[place]))?;
    }
    Ok(Vec::new())
}

/// The pauses of one batch, which end.
struct Patience<'p> {
    pace: &'p Pace,
    pauses: <ExponentialBuilder as BackoffBuilder>::Backoff,
    start: Instant,
    attempts: usize,
}

impl Patience<'_> {
    fn new(pace: &Pace) -> Patience<'_> {
        Patience { pace, pauses: pace.pauses().build(), start: Instant::now(), attempts: 0 }
    }

    /// Waits before the next attempt. False: there is to be none.
    async fn pause(&mut self, refusal: &Refusal) -> bool {
        self.attempts += 1;
        let Some(mut pause) = self.pauses.next() else {
            return false;
        };
        if refusal.code == Code::ResourceExhausted {
            pause = pause.max(self.pace.overload_pause);
        }
        if self.start.elapsed() + pause > self.pace.deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }

    fn spent(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        format!("given up after {} attempts in {seconds:.1} s", self.attempts)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::firestore::wire::Version;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    fn status(code: Code) -> rpc::Status {
        rpc::Status { code: code as i32, message: "m".to_owned(), details: Vec::new() }
    }

    fn refusal(code: Code) -> Refusal {
        Refusal { code, message: "m".to_owned() }
    }

    fn each(codes: &[Code]) -> Result<Vec<rpc::Status>, Status> {
        Ok(codes.iter().map(|&code| status(code)).collect())
    }

    const PASSING: [Code; 7] = [
        Code::Unavailable,
        Code::Aborted,
        Code::DeadlineExceeded,
        Code::ResourceExhausted,
        Code::Internal,
        Code::Unknown,
        Code::Cancelled,
    ];

    #[test]
    fn judges_each_document_by_its_own_status() {
        let answer = each(&[Code::Ok, Code::Aborted, Code::InvalidArgument, Code::Ok]);
        assert_eq!(
            judge(4, answer),
            Verdict::Each {
                again: vec![(1, refusal(Code::Aborted))],
                rejected: vec![(2, refusal(Code::InvalidArgument))]
            }
        );
        for code in PASSING {
            let again = vec![(0, refusal(code))];
            assert_eq!(judge(1, each(&[code])), Verdict::Each { again, rejected: vec![] });
        }
        for code in [Code::PermissionDenied, Code::Unauthenticated] {
            assert_eq!(judge(2, each(&[Code::Ok, code])), Verdict::Stop(refusal(code)));
        }
    }

    #[test]
    fn judges_a_failed_call() {
        let call = |code| judge(5, Err(Status::new(code, "m")));
        for code in PASSING {
            assert_eq!(call(code), Verdict::AllAgain(refusal(code)));
        }
        assert_eq!(call(Code::InvalidArgument), Verdict::Halve(refusal(Code::InvalidArgument)));
        let stops = [
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::NotFound,
            Code::FailedPrecondition,
            Code::Unimplemented,
        ];
        for code in stops {
            assert_eq!(call(code), Verdict::Stop(refusal(code)));
        }
    }

    #[test]
    fn credentials_that_will_never_yield_a_token_stop_it() {
        use gcloud_sdk::google_cloud_auth::errors::CredentialsError;
        // As the crate's middleware hands it on.
        let call = |transient| {
            let error = CredentialsError::from_msg(transient, "m");
            let error = gcloud_sdk::error::Error::from(error);
            judge(1, Err(Status::from_error(Box::new(Box::new(error)))))
        };
        let is = |verdict: Verdict| match verdict {
            Verdict::Stop(refusal) => ("stop", refusal.code),
            Verdict::AllAgain(refusal) => ("again", refusal.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(is(call(false)), ("stop", Code::Unauthenticated));
        assert_eq!(is(call(true)), ("again", Code::Unknown));
    }

    #[test]
    fn a_list_of_another_length_says_nothing() {
        for statuses in [vec![], vec![Code::Ok], vec![Code::Ok; 3]] {
            assert!(matches!(judge(2, each(&statuses)), Verdict::AllAgain(_)));
        }
    }

    /// Answers from a list, then with OK; refuses each batch that holds the change `bad`.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<Result<Vec<rpc::Status>, Status>>>,
        bad: Option<&'static str>,
        sent: Mutex<Vec<Vec<String>>>,
    }

    impl Script {
        fn new(answers: impl IntoIterator<Item = Result<Vec<rpc::Status>, Status>>) -> Script {
            Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() }
        }

        fn sent(&self) -> Vec<String> {
            self.sent.lock().unwrap().iter().map(|batch| batch.join(" ")).collect()
        }
    }

    impl Server for Script {
        async fn batch_write(&self, changes: &[Change], _: Duration) -> Result<Vec<rpc::Status>, Status> {
            let ids: Vec<String> = changes.iter().map(|c| c.id().to_owned()).collect();
            let bad = self.bad.is_some_and(|bad| ids.iter().any(|id| id == bad));
            self.sent.lock().unwrap().push(ids);
            if bad {
                return Err(Status::invalid_argument("m"));
            }
            let scripted = self.answers.lock().unwrap().pop_front();
            scripted.unwrap_or_else(|| each(&vec![Code::Ok; changes.len()]))
        }

        fn explain(&self, refusal: &Refusal) -> anyhow::Error {
            anyhow::anyhow!("{refusal}")
        }
    }

    fn impatient() -> Pace {
        let first_pause = Duration::from_micros(10);
        Pace { attempts: 3, first_pause, overload_pause: first_pause, ..Pace::for_emulator() }
    }

    async fn run(script: &Script, ids: &str) -> Result<Written> {
        let changes = ids.split(' ').map(|id| Change::Delete(id.to_owned())).collect();
        Ok(submit(script, changes, &impatient(), &Limiter::new(None)).await?.written)
    }

    #[tokio::test]
    async fn only_what_failed_is_sent_again() {
        let script = Script::new([
            each(&[Code::Unavailable, Code::Ok, Code::ResourceExhausted, Code::Ok]),
            each(&[Code::Aborted, Code::Ok]),
        ]);
        let written = run(&script, "a b c d").await.unwrap();
        assert_eq!(script.sent(), ["a b c d", "a c", "a"]);
        assert_eq!(written, Written { documents: 4, retried: 3, ..Written::default() });
    }

    #[tokio::test]
    async fn a_failed_call_and_a_short_answer_are_repeated_whole() {
        let script = Script::new([Err(Status::unavailable("m")), each(&[Code::Ok])]);
        let written = run(&script, "a b").await.unwrap();
        assert_eq!(script.sent(), ["a b", "a b", "a b"]);
        assert_eq!(written, Written { documents: 2, retried: 4, ..Written::default() });
    }

    #[tokio::test]
    async fn the_malformed_one_is_found_and_the_others_are_written() {
        let script = Script { bad: Some("d"), ..Script::default() };
        let written = run(&script, "a b c d e f").await.unwrap();
        assert_eq!(script.sent(), ["a b c d e f", "a b c", "d e f", "d", "e f"]);
        assert_eq!(written.documents, 5);
        let rejected = Rejected { id: "d".to_owned(), code: "INVALID_ARGUMENT", message: "m".to_owned() };
        assert_eq!(written.rejected, [rejected]);
    }

    #[tokio::test]
    async fn one_that_never_passes_costs_no_other() {
        let script = Script::new([
            each(&[Code::Ok, Code::Internal]),
            each(&[Code::Internal]),
            each(&[Code::Internal]),
        ]);
        let written = run(&script, "a b").await.unwrap();
        assert_eq!((written.documents, written.retried), (1, 2));
        assert_eq!((written.rejected[0].id.as_str(), written.rejected[0].code), ("b", "INTERNAL"));
        assert!(written.rejected[0].message.starts_with("m (given up after 3 attempts in "));
    }

    #[tokio::test]
    async fn ends_when_no_call_passes_and_at_once_without_permission() {
        let script = Script::new([Code::Unavailable; 3].map(|code| Err(Status::new(code, "m"))));
        let error = run(&script, "a").await.unwrap_err();
        assert!(format!("{error:#}").starts_with("given up after 3 attempts in 0.0 s: UNAVAILABLE"));
        assert_eq!(script.sent().len(), 3);

        let script = Script::new([Err(Status::permission_denied("m"))]);
        assert_eq!(run(&script, "a").await.unwrap_err().to_string(), "PERMISSION_DENIED: m");
        assert_eq!(script.sent().len(), 1);
    }

    #[tokio::test]
    async fn the_deadline_ends_it_before_the_attempts_do() {
        let pace = Pace { deadline: Duration::ZERO, ..impatient() };
        let script = Script::new([Err(Status::unavailable("m"))]);
        let changes = vec![Change::Delete("a".to_owned())];
        assert!(submit(&script, changes, &pace, &Limiter::new(None)).await.is_err());
        assert_eq!(script.sent().len(), 1);
    }

    #[tokio::test]
    async fn a_condition_that_does_not_hold_is_told_apart_whatever_its_code() {
        let codes = [Code::AlreadyExists, Code::FailedPrecondition, Code::NotFound];
        let script = Script::new([each(&codes), each(&codes)]);
        let changes = |guarded: bool| -> Vec<Change> {
            let bare = ["a", "b", "c"].map(|id| Change::Delete(id.to_owned()));
            let guard = |change| Change::Guarded(Box::new(change), Version::ABSENT);
            bare.into_iter().map(|change| if guarded { guard(change) } else { change }).collect()
        };
        let sent = submit(&script, changes(true), &impatient(), &Limiter::new(None)).await.unwrap();
        assert_eq!((sent.unmet, sent.written), (changes(true), Written::default()));
        // Without a condition it means something else.
        let sent = submit(&script, changes(false), &impatient(), &Limiter::new(None)).await.unwrap();
        assert_eq!((sent.unmet.len(), sent.written.rejected.len()), (0, 3));
        assert_eq!(script.sent().len(), 2, "they are not sent again");
    }

    #[test]
    fn of_very_many_conflicts_only_some_are_told_apart() {
        let one = |n: usize| Conflict { id: n.to_string(), differences: None };
        let of = |n: usize| Written { conflicts: vec![one(n)], conflicting: 1, ..Written::default() };
        let mut written = Written::default();
        (0..1_500).for_each(|n| written.add(of(n)).unwrap());
        assert_eq!((written.conflicts.len(), written.conflicting), (100, 1_500));
    }

    #[test]
    fn a_thousand_refusals_are_no_longer_about_single_documents() {
        let rejected = |n: usize| Rejected { id: n.to_string(), code: "INTERNAL", message: "m".to_owned() };
        let mut written = Written::default();
        (0..1_000).for_each(|n| written.reject(rejected(n)).unwrap());
        let other = Written { rejected: vec![rejected(1_000)], ..Written::default() };
        let error = written.add(other).unwrap_err().to_string();
        assert!(error.starts_with("Firestore refused more than 1000 documents"), "{error}");
    }
}
