//! Docker's engine, over its socket (bollard), and Compose, over its command line.
//!
//! Compose does `up`, `down` and `config`, so that the checked-in YAML is the one truth and people can run
//! it by hand. The engine is asked for everything else: what is there, its health, logs, commands inside,
//! volumes. Rows travel over TCP to the published ports, as to any server.
//!
//! What was learnt: a list of containers does not tell their health on older engines, and the ports of a
//! stopped one nowhere but in its configuration: every container is inspected. `docker context` is
//! ignored. A port that is taken fails only at the start, and leaves the container behind as `created`.

mod compose;
mod container;
mod disposable;
mod engine;
mod failures;
mod ports;
mod shop;
mod waiting;

pub use compose::{Compose, DOTENV, Project, configuration, configuration_files};
pub use container::{Container, Health, MONOLITH, SERVICES};
pub use disposable::{
    Disposable, HOME_LABEL, HOME_PREFIX, RUN_LABEL, is_of_containers, kept, remove_leftovers, take_down,
};
pub use engine::{Engine, Ran};
pub use failures::{no_image, volume_in_use};
pub use ports::{holder, is_free};
pub use shop::ShopProject;
pub use waiting::state_of;
