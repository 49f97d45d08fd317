//! What only looks and changes nothing: the preflight, `doctor`, the forecast of `plan`, `perf`; and `smoke`, which
//! takes back what it has made.
//! May import: phases and all below them.

pub mod doctor;
pub mod earlier;
pub mod forecast;
pub mod perf;
pub mod preflight;
pub mod smoke;
