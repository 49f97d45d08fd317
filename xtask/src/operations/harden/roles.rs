//! Who becomes what: decided from what the server says, before anything is changed. Pure.

use crate::model::Database;

/// What a server says of the roles.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Of the role by which the service logs in: made by initdb.
    pub is_bootstrap: bool,
    pub is_superuser: bool,
    pub admin_is_there: bool,
    /// One that logs in, beside the service's role.
    pub other_superuser: bool,
}

/// How the admin comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there.
    Nothing,
    /// It is made, with this attribute.
    Make(&'static str),
    /// The service's role becomes the admin, and the service gets an ordinary one of its name.
    Rename,
}

/// The roles as they are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Ordinary: reads and writes rows.
    pub service: String,
    /// Owns everything; the tool works as this one.
    pub admin: String,
    /// Read everything; nobody logs in as it.
    pub readonly: String,
    pub change: Change,
}

/// The role by which the guide lets a service log in: `product_user`.
pub fn of_guide(database: Database) -> String {
    format!("{database}_user")
}

/// The role that is the tool's. Whom the environment names, unless that is the service itself.
pub fn admin_of(database: Database, user: &str, service: &str) -> String {
    if user == service { format!("{database}_admin") } else { user.to_string() }
}

impl Roles {
    /// `user`: whom the environment names; `name`: the database's. `None`: the name that the admin is to get is taken.
    pub fn of(database: Database, name: &str, user: &str, service: &str, facts: &Facts) -> Option<Roles> {
        let admin = admin_of(database, user, service);
        let change = match (facts.is_bootstrap, facts.admin_is_there) {
            (true, true) => return None,
            (true, false) => Change::Rename,
            (false, true) => Change::Nothing,
            // Somebody has to be left to whom nothing is refused.
            (false, false) if facts.is_superuser && !facts.other_superuser => Change::Make("SUPERUSER"),
            (false, false) => Change::Make("NOSUPERUSER"),
        };
        Some(Roles { service: service.to_string(), admin, readonly: format!("{name}_readonly"), change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(user: &str, facts: Facts) -> Option<Roles> {
        Roles::of(Database::Product, "product_database", user, "product_user", &facts)
    }

    const OLD_STACK: Facts =
        Facts { is_bootstrap: true, is_superuser: true, admin_is_there: false, other_superuser: false };

    #[test]
    fn the_role_of_initdb_becomes_the_admin() {
        let found = roles("product_user", OLD_STACK).unwrap();
        assert_eq!((&*found.service, &*found.admin), ("product_user", "product_admin"));
        assert_eq!((found.change, &*found.readonly), (Change::Rename, "product_database_readonly"));
        // Also where somebody has taken SUPERUSER from it: it owns pg_authid all the same.
        let taken = Facts { is_superuser: false, other_superuser: true, ..OLD_STACK };
        assert_eq!(roles("product_user", taken).unwrap().change, Change::Rename);
        assert_eq!(roles("product_user", Facts { admin_is_there: true, ..OLD_STACK }), None);
    }

    #[test]
    fn somebody_is_left_to_whom_nothing_is_refused() {
        let made = Facts { is_bootstrap: false, ..OLD_STACK };
        assert_eq!(roles("product_user", made).unwrap().change, Change::Make("SUPERUSER"));
        let others = Facts { other_superuser: true, ..made };
        assert_eq!(roles("product_user", others).unwrap().change, Change::Make("NOSUPERUSER"));
        let owner = Facts { is_superuser: false, ..others };
        assert_eq!(roles("product_user", owner).unwrap().change, Change::Make("NOSUPERUSER"));
    }

    #[test]
    fn whom_the_environment_names_beside_the_service_is_the_admin() {
        let facts =
            Facts { is_bootstrap: false, is_superuser: false, admin_is_there: true, other_superuser: true };
        let found = roles("migration", facts).unwrap();
        assert_eq!(
            (&*found.service, &*found.admin, found.change),
            ("product_user", "migration", Change::Nothing)
        );
        assert_eq!(roles("product_user", facts).unwrap().change, Change::Nothing);
    }
}
