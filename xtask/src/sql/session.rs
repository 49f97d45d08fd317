//! The settings of every session.

/// Settings that every session of ours pins, so that a value has one text on every server and
/// nothing of the server's or role's defaults can change or hide a row (DESIGN rules 1 and 7). No
/// parallel workers: as many statements run at once as there are processors (`run/permits.rs`).
pub const SESSION: &str = "\
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; \
    SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; \
    SET client_encoding = 'UTF8'; SET client_min_messages = 'warning'; SET search_path = public; \
    SET row_security = off; SET statement_timeout = 0; SET lock_timeout = 0; \
    SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; \
    SET jit = off; SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 0; \
    SET max_parallel_maintenance_workers = 0; SET client_connection_check_interval = '2s'";

/// For a session that looks: it waits for a table that somebody keeps locked, but not for ever.
pub const WAIT_FOR_LOCKS: &str = "SET lock_timeout = '30s'";

/// What nobody else can have: this session's process, and when it began.
pub const WHO_AM_I: &str = "SELECT pid, backend_start::text FROM pg_stat_get_activity(pg_backend_pid())";
