//! What touches every row and every byte: CSV text, digests, hashes, documents, and what PostgreSQL and Firestore send.
//! A crate of its own, because it alone is optimised in the profile that everybody builds.
//!
//! Rust compiles what is generic, and every future, where it is used. Therefore nothing here that runs
//! once per row is generic over its caller's types, and public functions return boxed futures: so they
//! are compiled here.

pub mod collection;
pub mod csv_text;
pub mod digest;
pub mod document;
pub mod dump_text;
pub mod files;
pub mod firestore;
pub mod ids;
pub mod postgres;
pub mod sha256;
pub mod sorting;
