//! TABLES: the one description of every table, in load order. What a row becomes is said by the
//! SELECT in the table's folder under `sql/tables`; everything else about a table is said here.

use crate::model::{Database, Service};
use crate::sql_file;
use crate::sql_text::SqlFile;
use datapath::document::{Collection, Field, Kind};

/// A table of the monolith and where its rows go.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in the target, of its folder under `sql/tables`, and of its files.
    pub name: &'static str,
    /// Its name in the monolith.
    pub source: &'static str,
    pub home: Home,
    /// The one SELECT: a row as the target holds it, then `outcome` and `note`.
    pub export: SqlFile,
    /// The rules of `export`, written a second time: `id`, `kind`.
    pub audit: SqlFile,
    /// The mirror image of `export`: a row of the target as the old table holds it.
    pub back: SqlFile,
    /// Of a collection: a migrated row's id and document, told a second time.
    pub document: Option<SqlFile>,
    /// Further files of the folder, for `\ir`.
    pub fragments: &'static [SqlFile],
    /// Columns of `export` that stay in the file because the target has no place for them.
    pub file_only: &'static [&'static str],
    /// Columns whose value is assumed, with the value (the monolith does not know them).
    pub assumed: &'static [(&'static str, &'static str)],
    /// Columns with what a customer is, wrote or did: shown to nobody who does not ask for it.
    pub personal: &'static [&'static str],
    /// References that no foreign key can hold because they cross databases.
    pub references: &'static [Reference],
    /// Columns of the source, each with the table whose row decides about this one's: what `export` joins.
    pub depends: &'static [(&'static str, &'static str)],
    /// A column of `export`: rows with the same value decide about each other.
    pub shared: Option<&'static str>,
    /// The ids of the source's rows about which so many others decide that each pass reads them again: few.
    pub each_pass: Option<SqlFile>,
}

/// Where the migrated rows of a table live.
#[derive(Clone, Debug)]
pub enum Home {
    Postgres(Database),
    Firestore(Collection),
}

/// A column that refers to another store.
#[derive(Clone, Debug)]
pub struct Reference {
    pub column: &'static str,
    pub to: To,
}

/// What a cross-store reference points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// A user's `firebase_uid`.
    User,
    /// The id of a row of this table in this database.
    Row(Database, &'static str),
}

impl Table {
    pub fn database(&self) -> Option<Database> {
        match self.home {
            Home::Postgres(database) => Some(database),
            Home::Firestore(_) => None,
        }
    }

    /// The service whose it becomes.
    pub fn service(&self) -> Service {
        self.database().map_or(Service::User, Database::service)
    }

    pub fn collection(&self) -> Option<&Collection> {
        match &self.home {
            Home::Firestore(collection) => Some(collection),
            Home::Postgres(_) => None,
        }
    }

    /// Whether a column's values are masked where people read.
    pub fn hides(&self, column: &str) -> bool {
        self.personal.contains(&column)
    }

    /// Its file in the run directory.
    pub fn file(&self) -> String {
        format!("{}.csv", self.name)
    }
}

/// The schema of each new database.
pub fn schema(database: Database) -> SqlFile {
    match database {
        Database::Product => sql_file!("schema/product.sql"),
        Database::Order => sql_file!("schema/order.sql"),
        Database::Gateway => sql_file!("schema/gateway.sql"),
    }
}

/// The tables of one database, parents first.
pub fn of_database(tables: &[Table], database: Database) -> impl Iterator<Item = &Table> {
    tables.iter().filter(move |t| t.database() == Some(database))
}

const fn text(name: &'static str, default: &'static str) -> Field {
    Field { name, kind: Kind::Text(default) }
}
const fn time(name: &'static str) -> Field {
    Field { name, kind: Kind::Time }
}
const fn boolean(name: &'static str) -> Field {
    Field { name, kind: Kind::Boolean(false) }
}

/// A user's document, as the guide's import script writes it.
const USER: &[Field] = &[
    text("firebase_uid", ""),
    text("email", ""),
    text("first_name", ""),
    text("last_name", ""),
    text("phone_number", ""),
    text("status", "active"),
    time("last_login_at"),
    Field { name: "login_count", kind: Kind::Integer(0) },
    boolean("email_verified"),
    boolean("profile_completed"),
    text("timezone", "UTC"),
    text("language", "en"),
    text("source", "web"),
    text("ip_address", ""),
    text("user_agent", ""),
    time("created_at"),
    time("updated_at"),
    time("deleted_at"),
];

/// A session's document, as the guide's import script writes it.
const SESSION: &[Field] = &[
    text("session_token", ""),
    text("user_uid", ""),
    text("device_type", "desktop"),
    text("browser", ""),
    text("os", ""),
    text("ip_address", ""),
    text("location_country", ""),
    text("location_city", ""),
    boolean("is_active"),
    time("last_activity_at"),
    time("created_at"),
    time("expires_at"),
];

const BY_USER: Reference = Reference { column: "user_uid", to: To::User };

/// A table with its two SQL files, named like its folder.
macro_rules! table {
    ($name:literal from $source:literal in $home:expr $(, $field:ident: $value:expr)* $(,)?) => {
        Table {
            $($field: $value,)*
            ..Table {
                name: $name,
                source: $source,
                home: $home,
                export: sql_file!(concat!("tables/", $name, "/2-export.sql")),
                audit: sql_file!(concat!("tables/", $name, "/2-audit.sql")),
                back: sql_file!(concat!("tables/", $name, "/4-rollback.sql")),
                document: None,
                fragments: &[],
                file_only: &[],
                assumed: &[],
                personal: &[],
                references: &[],
                depends: &[],
                shared: None,
                each_pass: None,
            }
        }
    };
}

/// Every table, parents before children.
pub const TABLES: &[Table] = &[
    table!("users" from "users" in Home::Firestore(Collection {
        name: "users", id: "firebase_uid", fields: USER,
    }),
        document: Some(sql_file!("tables/users/3-document.sql")),
        fragments: &[sql_file!("tables/users/known.sql")],
        shared: Some("firebase_uid"),
        personal: &["email", "first_name", "last_name", "phone_number", "ip_address", "user_agent"],
    ),
    table!("user_sessions" from "user_sessions" in Home::Firestore(Collection {
        name: "user_sessions", id: "session_token", fields: SESSION,
    }),
        document: Some(sql_file!("tables/user_sessions/3-document.sql")),
        depends: &[("user_id", "users")],
        shared: Some("session_token"),
        personal: &[
            "session_token", "user_uid", "device_type", "browser", "os", "ip_address", "location_country",
            "location_city",
        ],
    ),
    table!("categories" from "categories" in Home::Postgres(Database::Product),
        fragments: &[sql_file!("tables/categories/broken.sql")],
        each_pass: Some(sql_file!("tables/categories/each_pass.sql")),
    ),
    table!("products" from "products" in Home::Postgres(Database::Product),
        fragments: &[sql_file!("tables/products/referenced.sql")],
        depends: &[("category_id", "categories")],
        each_pass: Some(sql_file!("tables/products/each_pass.sql")),
    ),
    table!("product_reviews" from "product_reviews" in Home::Postgres(Database::Product),
        personal: &["user_uid", "title", "comment"],
        references: &[BY_USER, Reference { column: "order_id", to: To::Row(Database::Order, "orders") }],
        depends: &[("user_id", "users"), ("product_id", "products"), ("order_id", "orders")],
    ),
    table!("orders" from "orders" in Home::Postgres(Database::Order),
        personal: &["user_uid", "tracking_number"],
        references: &[BY_USER],
        depends: &[("user_id", "users")],
    ),
    table!("order_items" from "order_items" in Home::Postgres(Database::Order),
        references: &[Reference { column: "product_id", to: To::Row(Database::Product, "products") }],
        depends: &[("order_id", "orders"), ("product_id", "products")],
    ),
    table!("payments" from "payments" in Home::Postgres(Database::Order),
        personal: &["transaction_id", "gateway_response"],
        depends: &[("order_id", "orders")],
    ),
    table!("api_logs" from "system_logs" in Home::Postgres(Database::Gateway),
        personal: &["path", "user_uid", "ip_address", "user_agent", "request_id"],
        file_only: &["level"],
        assumed: &[("method", "GET"), ("status_code", "200"), ("latency_ms", "0")],
        references: &[BY_USER],
        depends: &[("user_id", "users")],
    ),
    table!("analytics_events" from "analytics_events" in Home::Postgres(Database::Gateway),
        personal: &["user_uid", "session_id", "properties", "ip_address", "user_agent", "referrer"],
        references: &[BY_USER],
        depends: &[("user_id", "users")],
    ),
];

/// user_id → firebase_uid of every user, with the outcome of the user's document.
pub const MAPPING: &str = "user_id_mapping.csv";

/// The table whose rows are the users.
pub const USERS: &str = "users";
