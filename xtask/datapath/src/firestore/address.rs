//! Where a Firestore is, and what a person should check when it refuses.

use super::submit::Refusal;
use anyhow::anyhow;
use gcloud_sdk::tonic::Code;
use std::path::PathBuf;

/// Where a Firestore is, and who asks.
#[derive(Debug, Clone)]
pub struct Address {
    pub project: String,
    /// `(default)` unless the project has several.
    pub database: String,
    /// `host:port` of an emulator; None: Google's own.
    pub emulator: Option<String>,
    /// A service account's key file; None: application default credentials. Not for an emulator.
    pub credentials: Option<PathBuf>,
}

impl Address {
    /// `projects/…/databases/…`
    pub(super) fn database_path(&self) -> String {
        format!("projects/{}/databases/{}", self.project, self.database)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.emulator {
            Some(host) => write!(f, "the Firestore emulator at {host}"),
            None => write!(f, "Firestore database {} of project {}", self.database, self.project),
        }
    }
}

/// Where Google's Firestore is.
pub const HOST: &str = "firestore.googleapis.com";

/// What a person should check when there is no answer.
pub(super) const UNREACHED: &str = "check that it is running and can be reached";

/// What keeps us from a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nothing answers.
    Connection,
    Credentials,
    Permission,
    Other,
}

/// An error with what it is about.
#[derive(Debug)]
pub(super) struct FirestoreError {
    pub kind: FailureKind,
    pub text: String,
}

impl std::fmt::Display for FirestoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for FirestoreError {}

/// What an error of Firestore is about.
pub fn failure_kind(error: &anyhow::Error) -> FailureKind {
    let found = error.chain().find_map(|cause| cause.downcast_ref::<FirestoreError>());
    found.map_or(FailureKind::Other, |error| error.kind)
}

/// What a person should check when Firestore refuses.
pub(super) fn explain(address: &Address, refusal: &Refusal) -> anyhow::Error {
    let Address { project, database, .. } = address;
    let (kind, advice) = match refusal.code {
        Code::PermissionDenied => (
            FailureKind::Permission,
            format!(
                "check that the account has the role roles/datastore.user in project {project}, and \
                 that the project's Firestore API is enabled"
            ),
        ),
        Code::Unauthenticated => (
            FailureKind::Credentials,
            "check the service account's key file (revoked? another project's?), or run: gcloud auth \
             application-default login"
                .to_owned(),
        ),
        Code::NotFound => (
            FailureKind::Other,
            format!(
                "check the names: project {project}, database {database} (gcloud firestore databases \
                 list --project={project})"
            ),
        ),
        Code::FailedPrecondition => (
            FailureKind::Other,
            format!("check that database {database} of project {project} is in native mode"),
        ),
        _ if refusal.may_be_the_connection() => (
            FailureKind::Connection,
            match address.emulator {
                Some(_) => UNREACHED.to_owned(),
                None => format!("check that {HOST} can be reached from here"),
            },
        ),
        _ => return anyhow!("{address}: {refusal}"),
    };
    FirestoreError { kind, text: format!("{address}: {refusal}; {advice}") }.into()
}

/// Nothing answers at the host, for the innermost of these reasons: those around it name types of libraries.
pub(super) fn unreached(
    host: &str,
    error: &(dyn std::error::Error + 'static),
    advice: &str,
) -> anyhow::Error {
    let mut why = error;
    while let Some(cause) = why.source() {
        why = cause;
    }
    let text = format!("{host} cannot be reached: {why}; {advice}");
    FirestoreError { kind: FailureKind::Connection, text }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error as libraries wrap them.
    #[derive(Debug)]
    struct Wrapped(std::io::Error);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("transport error")
        }
    }

    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_host_that_is_not_reached_is_named_with_the_innermost_cause() {
        let cause = Wrapped(std::io::Error::other("no address"));
        let error = unreached("firestore.googleapis.com", &cause, "can this machine reach it?");
        let words = "firestore.googleapis.com cannot be reached: no address; can this machine reach it?";
        assert_eq!((error.to_string().as_str(), failure_kind(&error)), (words, FailureKind::Connection));
    }

    #[test]
    fn whatever_a_broken_connection_becomes_says_what_to_check() {
        let address = Address {
            project: "p".to_owned(),
            database: "(default)".to_owned(),
            emulator: Some("127.0.0.1:1".to_owned()),
            credentials: None,
        };
        let said = |code| {
            let message = "operation was canceled".to_owned();
            explain(&address, &Refusal { code, message }).to_string()
        };
        for code in
            [Code::Unavailable, Code::Cancelled, Code::Unknown, Code::Internal, Code::DeadlineExceeded]
        {
            assert!(said(code).starts_with("the Firestore emulator at 127.0.0.1:1: "), "{}", said(code));
            assert!(
                said(code).ends_with(": operation was canceled; check that it is running and can be reached")
            );
        }
        // A server has answered.
        for code in [Code::ResourceExhausted, Code::InvalidArgument, Code::Aborted] {
            assert!(!said(code).contains("check that it is running"), "{}", said(code));
        }
    }
}
