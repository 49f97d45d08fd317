//! Files of `sql/harden`, which psql's `\gexec` runs: queries whose rows are the statements to be made.

use super::files::bind;
use crate::sql_text::{SqlFile, ident};

/// The queries of such a file, in their order: each sees what the statements of those before it have done.
pub fn generators(file: SqlFile, values: &[(&str, &str)]) -> Vec<String> {
    let text = bind(file, values);
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with("\\set ")).collect();
    let queries = code.join("\n");
    queries.split("\\gexec").map(str::trim).filter(|query| !query.is_empty()).map(String::from).collect()
}

/// Before something is tried as another role, in a transaction.
pub fn as_role(role: &str) -> String {
    format!("SAVEPOINT trial; SET LOCAL ROLE {}", ident(role))
}

/// After it, whatever came of it.
pub const AS_BEFORE: &str = "ROLLBACK TO SAVEPOINT trial; RELEASE SAVEPOINT trial";

/// A transaction that changes rights, and does not wait long for those who use the tables.
pub const BEGIN_TO_HARDEN: &str = "BEGIN; SET LOCAL lock_timeout = '5s'";

/// What a trial may wait for a lock: whoever gets so far was not refused.
pub const TRY_WITHOUT_WAITING: &str = "SET LOCAL lock_timeout = '100ms'";

pub fn drop_role(name: &str) -> String {
    format!("DROP ROLE {}", ident(name))
}

pub fn drop_role_if_there(name: &str) -> String {
    format!("DROP ROLE IF EXISTS {}", ident(name))
}

/// What is said of a role that is made: as it is typed, without its password.
pub fn new_role(role: &str, attribute: &str) -> String {
    format!("CREATE ROLE {} LOGIN {attribute}", ident(role))
}

/// The same of a password.
pub fn new_password(role: &str) -> String {
    format!("ALTER ROLE {} PASSWORD (of its file)", ident(role))
}

/// The same of the role that becomes the admin, and the one that takes its name.
pub fn renamed_role(service: &str, admin: &str) -> String {
    let (service, admin) = (ident(service), ident(admin));
    format!(
        "ALTER ROLE {service} RENAME TO {admin}; CREATE ROLE {service} LOGIN NOSUPERUSER (its password as it was)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_stands_by_itself() {
        let text = "-- why\n\\set ON_ERROR_STOP on\n\nSELECT :'a'\n\\gexec\n\n-- more\nSELECT 2\n\\gexec\n";
        let queries = generators(SqlFile { path: "x.sql", text }, &[("a", "it's")]);
        assert_eq!(queries, ["SELECT 'it''s'", "SELECT 2"]);
    }
}
