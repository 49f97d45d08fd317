//! A shop that goes on writing while it is migrated, caught up with and cut over: what its clients see, and whether
//! in the end every store holds what the old database holds.

mod compare;
mod role;
mod writer;

pub use compare::differences;
pub use role::{SHOP, as_shop, make_role, role_of_the_shop};
pub use writer::{Told, Writer};
