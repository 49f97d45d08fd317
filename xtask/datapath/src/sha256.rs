//! SHA-256 of files: what a manifest says of each.

use sha2::Digest as _;

/// A text that is not to be shown, by its hash.
pub fn in_place_of(text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    format!("(sha256 {})", &hash.hex()[..12])
}

/// A hash under way.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// 64 hexadecimal digits.
    pub fn hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |d: u8| char::from(DIGITS[usize::from(d)]);
        self.finish().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}
