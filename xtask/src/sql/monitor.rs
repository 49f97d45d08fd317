//! Statements of `monitor` and `decommission` that are no files.

use crate::sql_text::{ident, literal};

/// For a session that looks in passing: nobody waits for it, and it waits for nobody.
pub const LOOK_BRIEFLY: &str = "\
    SET default_transaction_read_only = on; SET statement_timeout = '10s'; SET lock_timeout = '5s'";

/// Takes CONNECT away; `role`: `None` for everybody.
pub fn revoke_connect(database: &str, role: Option<&str>) -> String {
    format!("REVOKE CONNECT ON DATABASE {} FROM {}", ident(database), grantee(role))
}

/// Gives it back as it was.
pub fn grant_connect(database: &str, role: Option<&str>, with_grant_option: bool) -> String {
    let option = if with_grant_option { " WITH GRANT OPTION" } else { "" };
    format!("GRANT CONNECT ON DATABASE {} TO {}{option}", ident(database), grantee(role))
}

fn grantee(role: Option<&str>) -> String {
    role.map_or("PUBLIC".to_string(), ident)
}

/// What a person types to see who is in a database.
pub fn who_is_in(database: &str) -> String {
    format!(
        "SELECT pid, usename, application_name FROM pg_stat_activity WHERE datname = {}",
        literal(database)
    )
}
