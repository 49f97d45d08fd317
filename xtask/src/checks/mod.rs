//! What only looks and changes nothing: the preflight, `doctor`, the forecast of `plan`.
//! May import: phases and all below them.

pub mod doctor;
pub mod forecast;
pub mod preflight;
mod privileges;
