//! Faults on purpose, for the chaos campaign and the tests: proxies in front of real servers, which
//! drop, hold back and cut connections, and answer writes to Firestore with its errors; a disk that fills up.

mod disk;
mod firestore;
mod tcp;

pub use disk::SmallDisk;
pub use firestore::{FirestoreFaults, WriteFault};
pub use tcp::{TcpFault, TcpFaults};
