//! What PostgreSQL keeps of a password (RFC 5803): made here, so that the password itself is in no statement and
//! in no log of the server. Pure.

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// PostgreSQL's own default.
const ITERATIONS: u32 = 4096;

/// # Errors
/// Where the password has signs outside of printable ASCII: what they are normalized to is not known here.
pub fn verifier(password: &str, salt: &[u8; 16]) -> Result<String> {
    if password.is_empty() || !password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        bail!("a password that this tool sets is of printable ASCII characters")
    }
    let first = hmac(password.as_bytes(), &[&salt[..], &1u32.to_be_bytes()].concat())?;
    let (mut salted, mut round) = (first, first);
    for _ in 1..ITERATIONS {
        round = hmac(password.as_bytes(), &round)?;
        salted.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(hmac(&salted, b"Client Key")?);
    let server = hmac(&salted, b"Server Key")?;
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    Ok(format!("SCRAM-SHA-256${ITERATIONS}:{}${}:{}", text(salt), text(&stored), text(&server)))
}

fn hmac(key: &[u8], message: &[u8]) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).context("a key of HMAC")?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python's hashlib makes it; that a server takes it is shown by who logs in (tests/shop/harden.rs).
    #[test]
    fn it_is_the_servers_own() {
        let salt = BASE64_STANDARD.decode("AAECAwQFBgcICQoLDA0ODw==").unwrap().try_into().unwrap();
        assert_eq!(verifier("pencil", &salt).unwrap(), EXPECTED);
        assert!(verifier("Straße", &salt).is_err() && verifier("", &salt).is_err());
    }

    const EXPECTED: &str = "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$zHCdol2044/ZyWzPLi7oxApCkamKw9Z+E4U/QApd/5Y=:dd5peBOitVnLNFu7VmwP+HiDaaw4OUCv396eVCWhYiE=";
}
