//! The compose stack of this checkout, started by this tool or by hand: found, started, taken down.

mod display;
pub mod doctor;
mod found;
mod inside;
mod lifecycle;
pub mod network;
mod new_stores;
mod post_mortem;
mod readiness;
mod removed;
mod servers;

pub use display::{how_to_connect, logs, status};
pub use found::{all_run, of};
pub use inside::{ended_inside, inside};
pub use lifecycle::{at_work, down, up, volumes};
pub use new_stores::NewStores;
pub use post_mortem::post_mortem;
pub use readiness::ready;
pub use removed::Removed;
pub use servers::{answering, answers, emulator, server, server_of, settings};
