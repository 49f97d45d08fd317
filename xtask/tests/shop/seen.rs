//! Only clients are sessions to end; what the role is not let see is said to be unseen.

use crate::doctor::{ROLE, grant_all, lines, role, the_line};
use crate::places::Places;
use crate::support::Shop;
use crate::tool::within;
use serde_json::Value;
use sqlx::Row;
use xtask::effects::wait::{self, State};

/// A table that autovacuum works on for minutes, with an index, on which it holds the lock of one who writes.
const SLOWLY_VACUUMED: &str = "\
    CREATE TABLE litter (id int PRIMARY KEY, filler text) WITH (autovacuum_vacuum_threshold = 1, \
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1); \
    INSERT INTO litter SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i; DELETE FROM litter";

/// The process of an autovacuum that is at work on that table.
async fn autovacuum(shop: &Shop) -> i32 {
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run(SLOWLY_VACUUMED).await.unwrap();
    source.run("ALTER SYSTEM SET autovacuum_naptime = '1s'").await.unwrap();
    source.run("SELECT pg_reload_conf()").await.unwrap();
    let query = "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.granted \
                 WHERE a.backend_type = 'autovacuum worker' AND l.relation = 'litter_pkey'::regclass";
    let at_work = wait::for_state("autovacuum to be at work", within(60, 100), async || {
        let rows = source.rows(query).await?;
        Ok(rows.first().map_or(State::NotYet("it is not"), |row| State::Ready(row.get(0))))
    });
    at_work.await.unwrap()
}

fn sessions<'a>(health: &'a Value, verdict: &str) -> Vec<&'a Value> {
    lines(health, verdict).into_iter().filter(|line| line["what"] == "other sessions").collect()
}

#[tokio::test]
async fn autovacuum_is_no_session_to_end() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    let pid = autovacuum(&shop).await;
    grant_all(&shop);
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run("REVOKE pg_read_all_stats FROM mover").await.unwrap();
    let places = Places::of(&shop, Some(ROLE));
    let health = places.run(&["doctor", "--json"]).expect_code(0).json();
    let [line] = sessions(&health, "warning")[..] else { panic!("{health:#}") };
    let found = line["found"].as_str().unwrap();
    assert!(found.contains("mover is not let see what these are"), "{found}");
    assert!(
        found
            .contains(&format!("pid {pid}, of no role, application \"\": holds a write transaction, unseen")),
        "{found}"
    );
    assert_eq!(line["fix"], "GRANT pg_read_all_stats TO \"mover\";");
    assert!(!health.to_string().contains("pg_terminate_backend"), "{health:#}");

    // A client that is in the way: who it is has to be seen before anybody is told to end it.
    let mut client = shop.superuser(&shop.settings.source).await;
    let locking: i32 = client.row("SELECT pg_backend_pid()").await.unwrap().get(0);
    client.run("BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let said = places.run(&["doctor", "--json"]);
    let line = the_line("unseen", said, "source", "other sessions", &format!("pid {locking}, postgres"));
    assert_eq!(line["fix"], "GRANT pg_read_all_stats TO \"mover\";");
    source.run("GRANT pg_read_all_stats TO mover").await.unwrap();
    let said = places.run(&["doctor", "--json"]);
    let line = the_line("seen", said, "source", "other sessions", "keeps others out of a table");
    let fix = line["fix"].as_str().unwrap();
    assert!(fix.contains(&format!("pg_terminate_backend(pid) FROM unnest(ARRAY[{locking}])")), "{fix}");
    client.run("ROLLBACK").await.unwrap();

    // Seen for what it is, it is no session of anybody.
    assert_eq!(autovacuum_still(&mut source, pid).await, 1, "it is at work still");
    let health = places.run(&["doctor", "--json"]).expect_code(0).json();
    assert!(!health.to_string().contains(&format!("pid {pid},")), "{health:#}");
}

async fn autovacuum_still(source: &mut xtask::effects::postgres::Connection, pid: i32) -> i64 {
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND backend_type = 'autovacuum worker'"
    );
    source.row(&query).await.unwrap().get(0)
}
