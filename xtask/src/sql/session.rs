//! The settings of every session.

use crate::sql_text::literal;

/// Settings that every session of ours pins, so that a value has one text on every server and nothing of the
/// server's, database's or role's defaults can change or hide a row, or end a session that waits (DESIGN
/// rules 1, 7 and 21). No parallel workers: as many statements run at once as there are processors
/// (`run/permits.rs`).
const PINNED: &[(&str, &str)] = &[
    // What a statement means.
    ("standard_conforming_strings", "on"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("quote_all_identifiers", "off"),
    ("search_path", "public"),
    // What a value's text is.
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmloption", "content"),
    ("xmlbinary", "base64"),
    ("lc_monetary", "C"),
    // Which rows are seen: a check after a lock reads with a snapshot from after the lock (rule 22).
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("default_transaction_read_only", "off"),
    ("row_security", "off"),
    ("gin_fuzzy_search_limit", "0"),
    // When it ends.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("client_connection_check_interval", "2s"),
    // What it costs, and says.
    ("client_min_messages", "warning"),
    ("jit", "off"),
    ("work_mem", "64MB"),
    ("max_parallel_workers_per_gather", "0"),
    ("max_parallel_maintenance_workers", "0"),
];

/// What the database's own programs decide for themselves: the dump's encoding is an option of theirs.
const NOT_FOR_PROGRAMS: [&str; 2] = ["search_path", "client_encoding"];

/// The first statements of a session: its settings, and what [`WHO_AM_I`] answers.
pub fn session() -> String {
    let settings = PINNED.iter().map(|(name, value)| format!("SET {name} = {}; ", literal(value)));
    settings.collect::<String>() + WHO_AM_I
}

/// The same as `PGOPTIONS` of pg_dump and its like: what is asked for at the start counts more than what role
/// and database say.
pub fn options_of_programs() -> String {
    let settings = PINNED.iter().filter(|(name, _)| !NOT_FOR_PROGRAMS.contains(name));
    let settings = settings.map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ ")));
    settings.collect::<Vec<_>>().join(" ")
}

/// What nobody else can have: this session's process, and when it began; and whether its triggers fire, which
/// only a superuser may set. What can be set on some servers only is set beside it: a limit of PostgreSQL 17,
/// and that a commit is on disk, where the role goes without.
const WHO_AM_I: &str = "\
    SELECT pid, backend_start::text, current_setting('session_replication_role'), \
           CASE WHEN current_setting('server_version_num')::int >= 170000 \
                THEN set_config('transaction_timeout', '0', false) END, \
           CASE WHEN current_setting('synchronous_commit') = 'off' \
                THEN set_config('synchronous_commit', 'on', false) END \
    FROM pg_stat_get_activity(pg_backend_pid())";

/// For a session that looks: it waits for a table that somebody keeps locked, but not for ever.
pub const WAIT_FOR_LOCKS: &str = "SET lock_timeout = '30s'";

/// For a session that counts rows themselves: an index alone does not say which transaction wrote a row.
pub const COUNT_IN_THE_HEAP: &str = "SET enable_indexonlyscan = off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_the_same_settings_as_options() {
        let options = options_of_programs();
        assert!(options.contains("-c DateStyle=ISO,\\ MDY -c "), "{options}");
        assert!(options.contains("-c default_transaction_isolation=read\\ committed"), "{options}");
        assert!(options.ends_with("-c max_parallel_maintenance_workers=0"), "{options}");
        assert!(!options.contains("search_path"), "{options}");
    }
}
