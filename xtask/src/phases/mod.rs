//! The five phases, each a function from what the phase before it proved to what this one has.
//! May import: source, stores, servers and all below them.

pub mod catch_up;
pub mod cutover;
pub mod p1_backup;
pub mod p2_export;
pub mod p3_transform;
pub mod p4_import;
pub mod p5_verify;
pub mod repair;
pub mod replay;
pub mod rollback;
