//! The present instant.

/// As it stands in manifest and journal: UTC, ISO 8601, milliseconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// In seconds since 1970, as PostgreSQL's `extract(epoch …)` has it.
pub fn seconds_now() -> f64 {
    jiff::Timestamp::now().as_microsecond() as f64 / 1e6
}
