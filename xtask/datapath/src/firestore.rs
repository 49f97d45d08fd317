//! The only place that talks to Firestore, Google's own or an emulator.
//!
//! What was learnt:
//! - Documents are written with raw BatchWrite calls, by `gcloud-sdk` alone: the writers of the crate
//!   `firestore` have no status per document, an unbounded queue, a throttle of 500 ms, or do not
//!   repeat what failed (see `firestore/submit.rs`).
//! - The emulator takes 5,000 writes a batch but no message over 4 MiB; Google 10 MiB and, in its
//!   own SDKs, 20 documents. The same document twice in a batch fails it; apart, both are written
//!   and the last one wins: ids are made unique before.
//! - BatchGet is by far the fastest way to read everything (117k documents/s against 21k by query;
//!   ListDocuments does not finish on the emulator). Its answers come in any order, one document a
//!   message, so the limit of 4 MiB a message is never met.
//! - A time limit on tonic's request surfaces as CANCELLED; `RequestTimeouts` is the way.
//! - NOT_FOUND of a whole call means database or project: a missing document is a normal answer.

mod address;
mod client;
mod connect;
mod elsewhere;
mod instant;
mod pace;
mod read;
mod since;
mod submit;
mod typed;
mod unconditional;
mod whole;
mod wire;
mod write;

pub use address::{Address, FailureKind, HOST, failure_kind};
pub use client::Firestore;
pub use instant::Instant;
pub use pace::{Limit, Pace};
pub use read::{Fields, Found, Versions};
pub use since::Since;
pub use submit::{Conflict, Rejected, Written};
pub use typed::Whole;
pub use unconditional::Unconditional;
pub use whole::{Put, PutPace};
pub use wire::Version;
pub use write::Guarded;
