//! The system's source of randomness.

use anyhow::{Context, Result};
use std::fs::File;
use std::io::Read;

pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// So many random bytes as hexadecimal digits.
pub fn hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    fill(&mut buffer)?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(bytes));
    read.context("reading /dev/urandom")
}
