//! Statements that make, move, lock and drop: names come quoted from here.

use crate::sql_text::{ident, literal, qualified};

pub fn create_database(name: &str, owner: &str) -> String {
    format!("CREATE DATABASE {} OWNER {}", ident(name), ident(owner))
}

/// One that holds every text, sorted by its bytes: what a person types, with its semicolon.
pub fn create_utf8_database(name: &str, owner: &str) -> String {
    format!(
        "{} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';",
        create_database(name, owner)
    )
}

/// The same content as another one that nobody is connected to, row versions included. `oid`: by which it is
/// known from now on.
pub fn copy_database(name: &str, owner: &str, from: &str, oid: Option<i64>) -> String {
    let oid = oid.map_or(String::new(), |oid| format!(" OID {oid}"));
    format!("CREATE DATABASE {} OWNER {} TEMPLATE {}{oid}", ident(name), ident(owner), ident(from))
}

/// Whoever is connected to it is sent away.
pub fn drop_database(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(name))
}

/// Holds a secret: for `run_secret` only.
pub fn create_role(name: &str, password: &str) -> String {
    format!("CREATE ROLE {} LOGIN PASSWORD {}", ident(name), literal(password))
}

/// An empty schema, in place of whatever had its name, and the session's own from here on.
pub fn fresh_schema(name: &str) -> String {
    let name = ident(name);
    format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}; SET search_path = {name}")
}

/// With all that is in it; not waiting long for a session that uses it.
pub fn discard_schema(name: &str) -> String {
    format!("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {} CASCADE", ident(name))
}

/// Only where it is empty.
pub fn drop_schema(name: &str) -> String {
    format!("DROP SCHEMA {}", ident(name))
}

pub fn search_path(schema: &str) -> String {
    format!("SET search_path = {}", ident(schema))
}

/// Settings of a session that builds keys and indexes in a schema.
pub fn for_building(schema: &str) -> String {
    format!("{}; SET maintenance_work_mem = '256MB'", search_path(schema))
}

/// Of `public`, all in one statement, because they refer to each other; refused where others do.
pub fn drop_tables(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| qualified("public", n)).collect();
    format!("DROP TABLE {}", names.join(", "))
}

pub fn drop_index(schema: &str, name: &str) -> String {
    format!("DROP INDEX {}", qualified(schema, name))
}

pub fn drop_constraint(schema: &str, table: &str, name: &str) -> String {
    format!("ALTER TABLE {} DROP CONSTRAINT {}", qualified(schema, table), ident(name))
}

/// `definition`: as `pg_get_constraintdef` writes it.
pub fn add_constraint(schema: &str, table: &str, name: &str, definition: &str) -> String {
    format!("ALTER TABLE {} ADD CONSTRAINT {} {definition}", qualified(schema, table), ident(name))
}

/// `kind`: as `format_type` writes it. The values go with it.
pub fn alter_type(schema: &str, table: &str, column: &str, kind: &str) -> String {
    let (table, column) = (qualified(schema, table), ident(column));
    format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}")
}

/// `default`: as `pg_get_expr` writes it; `None`: it has none.
pub fn set_default(schema: &str, table: &str, column: &str, default: Option<&str>) -> String {
    let set = default.map_or_else(|| "DROP DEFAULT".to_string(), |default| format!("SET DEFAULT {default}"));
    format!("ALTER TABLE {} ALTER COLUMN {} {set}", qualified(schema, table), ident(column))
}

pub fn set_not_null(schema: &str, table: &str, column: &str, not_null: bool) -> String {
    let set = if not_null { "SET" } else { "DROP" };
    format!("ALTER TABLE {} ALTER COLUMN {} {set} NOT NULL", qualified(schema, table), ident(column))
}

pub fn drop_column(schema: &str, table: &str, column: &str) -> String {
    format!("ALTER TABLE {} DROP COLUMN {}", qualified(schema, table), ident(column))
}

/// A sequence for a table's id that goes with it; `definition`: as `definition.sql` says it.
pub fn create_sequence(schema: &str, name: &str, definition: &str, table: &str) -> String {
    let (name, table) = (qualified(schema, name), qualified(schema, table));
    format!("CREATE SEQUENCE {name} {definition} OWNED BY {table}.id")
}

/// From here on it goes with a table's id, and counts like this; `name` is quoted already; `definition`: as
/// `definition.sql` says it; `next`: the value that it gives next.
pub fn alter_sequence(name: &str, definition: &str, next: i64, schema: &str, table: &str) -> String {
    format!("ALTER SEQUENCE {name} {definition} RESTART WITH {next} OWNED BY {}.id", qualified(schema, table))
}

/// From here on it goes with no table; `name` is quoted already.
pub fn disown_sequence(name: &str) -> String {
    format!("ALTER SEQUENCE {name} OWNED BY NONE")
}

/// A key on an index that is there; the index takes the key's name.
pub fn add_key(schema: &str, table: &str, name: &str, primary: bool) -> String {
    let kind = if primary { "PRIMARY KEY" } else { "UNIQUE" };
    add_constraint(schema, table, name, &format!("{kind} USING INDEX {}", ident(name)))
}

/// What a table that is made in public gets from the server.
pub const PROBE: &str = "xtask_probe";

pub fn create_probe() -> String {
    format!("CREATE TABLE {} (id serial)", qualified("public", PROBE))
}

pub fn move_to_public(schema: &str, table: &str) -> String {
    format!("ALTER TABLE {} SET SCHEMA public", qualified(schema, table))
}

pub fn lock_alone(table: &str) -> String {
    format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", qualified("public", table))
}

/// Against TRUNCATE and changes of their definition; `tables`: schema and name.
pub fn lock_for_reading<'a>(tables: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let names: Vec<String> = tables.into_iter().map(|(schema, table)| qualified(schema, table)).collect();
    format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", names.join(", ONLY "))
}

/// A session that looks at the source and changes nothing.
pub const FOR_READING: &str = "SET default_transaction_read_only = on; SET work_mem = '256MB'";

/// The first statements of a worker that sees an exported snapshot.
pub fn in_snapshot(id: &str) -> String {
    // Who waits behind us to alter a table keeps this session waiting, too: not for ever.
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; \
         SET LOCAL work_mem = '256MB'; SET LOCAL lock_timeout = '60s'",
        literal(id)
    )
}

pub fn analyze(schema: &str, table: &str) -> String {
    format!("ANALYZE {}", qualified(schema, table))
}

/// Sets the sequence of a table's id.
pub fn set_sequence(schema: &str, table: &str, last: i64, called: bool) -> String {
    let table = literal(&qualified(schema, table));
    format!("SELECT setval(pg_get_serial_sequence({table}, 'id'), {last}, {called})")
}

/// The same of a sequence by its quoted name.
pub fn raise_sequence(quoted: &str, last: i64, called: bool) -> String {
    format!("SELECT setval({}::regclass, {last}, {called})", literal(quoted))
}

/// Holds a database back: new sessions are read-only, and these roles cannot log in. All or nothing.
pub fn freeze(database: &str, roles: &[String]) -> String {
    let roles = roles.iter().map(|r| format!("ALTER ROLE {} NOLOGIN; ", ident(r))).collect::<String>();
    format!("BEGIN; {roles}ALTER DATABASE {} SET default_transaction_read_only = on; COMMIT", ident(database))
}

/// The way back: these roles log in again, and the database's setting is what it was. `setting`: `None`
/// where it stays as it is, `Some(None)` where there was none.
pub fn unfreeze(database: &str, roles: &[String], setting: Option<Option<&str>>) -> String {
    let roles = roles.iter().map(|r| format!("ALTER ROLE {} LOGIN; ", ident(r))).collect::<String>();
    let database = ident(database);
    let setting = match setting {
        None => String::new(),
        Some(None) => format!("ALTER DATABASE {database} RESET default_transaction_read_only; "),
        Some(Some(value)) => {
            format!("ALTER DATABASE {database} SET default_transaction_read_only = {}; ", literal(value))
        }
    };
    format!("BEGIN; {roles}{setting}COMMIT")
}

/// Gives the session a mark of its own: the mark and the process.
pub fn mark_session(mark: &str) -> String {
    format!("SELECT set_config('xtask.mark', {}, false), pg_backend_pid()", literal(mark))
}

/// The session's mark, NULL where it has none, and its process.
pub const MARK_OF_SESSION: &str = "SELECT current_setting('xtask.mark', true), pg_backend_pid()";

/// Seconds since 1970.
pub const CLOCK: &str = "SELECT extract(epoch FROM clock_timestamp())::float8";

/// A transaction that reads one instant and changes nothing.
pub const BEGIN_LOOKING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What a person types to repair a role or a database: with its semicolon.
pub fn unlimited_database(name: &str) -> String {
    format!("ALTER DATABASE {} CONNECTION LIMIT -1;", ident(name))
}

pub fn unlimited_role(name: &str) -> String {
    format!("ALTER ROLE {} CONNECTION LIMIT -1;", ident(name))
}

pub fn let_log_in(role: &str) -> String {
    format!("ALTER ROLE {} LOGIN;", ident(role))
}

pub fn let_connect(role: &str, database: &str) -> String {
    format!("GRANT CONNECT ON DATABASE {} TO {};", ident(database), ident(role))
}

/// Where the role, or the database, has it: a superuser gave it.
pub fn reset_replication_role(role: &str, database: &str) -> String {
    let (role, database) = (ident(role), ident(database));
    format!(
        "ALTER ROLE {role} RESET session_replication_role; \
         ALTER DATABASE {database} RESET session_replication_role;"
    )
}

/// One role can log in and write to a database that is read-only for everybody else.
pub fn let_role_write(database: &str, role: &str, log_in: bool) -> String {
    let (database, role) = (ident(database), ident(role));
    let log_in = if log_in { format!("ALTER ROLE {role} LOGIN; ") } else { String::new() };
    format!(
        "BEGIN; {log_in}ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = off; COMMIT"
    )
}

/// It is as read-only again as the others.
pub fn role_as_others(database: &str, role: &str) -> String {
    format!("ALTER ROLE {} IN DATABASE {} RESET default_transaction_read_only", ident(role), ident(database))
}

pub fn let_write(database: &str) -> String {
    format!("ALTER DATABASE {} RESET default_transaction_read_only;", ident(database))
}

pub fn let_see_sessions(role: &str) -> String {
    format!("GRANT pg_read_all_stats TO {};", ident(role))
}

pub fn end_sessions(pids: &str) -> String {
    format!("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{pids}]) pid;")
}
