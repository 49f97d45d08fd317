//! A set of ids that remembers 8 bytes of each: a large collection's fit into memory.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Two ids are taken for one with a chance of 1 in 2^64 per pair; the hash differs in every process.
#[derive(Default)]
pub struct IdSet {
    hasher: RandomState,
    hashes: HashSet<u64>,
}

impl IdSet {
    pub fn insert(&mut self, id: &str) {
        self.hashes.insert(self.hasher.hash_one(id));
    }

    pub fn contains(&self, id: &str) -> bool {
        self.hashes.contains(&self.hasher.hash_one(id))
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}
