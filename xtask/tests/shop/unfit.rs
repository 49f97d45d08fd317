//! Target databases that cannot take the tables, whatever those are: known before anything is written, with the
//! statement that fixes it.

use crate::support::{Shop, assert_refused};
use crate::tool::everything;
use xtask::model::Database;

/// Refused by every verb that looks; nothing changes.
async fn refused(shop: &Shop, case: &str, words: &[&str]) {
    let before = everything(shop).await;
    for verb in ["doctor", "plan"] {
        let said = shop.xtask(&[verb]).expect_code(4);
        for word in words {
            assert!(said.stdout.contains(word), "{case}: {verb}: not a word of {word:?} in\n{}", said.stdout);
        }
    }
    let said = shop.xtask(&["migrate"]);
    assert_refused(case, &said, words);
    assert_refused(case, &said, &["the targets are not ready", "Nothing has been changed"]);
    assert!(everything(shop).await == before, "{case}: something has changed");
    assert_eq!(shop.directories(), 0, "{case}: a refused run leaves no directory");
}

const GUARD: &str = "
    CREATE FUNCTION public.no_drops() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'dropping is forbidden here: ask the DBA'; END $$;
    CREATE EVENT TRIGGER no_drops ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP INDEX') EXECUTE FUNCTION public.no_drops()";

#[tokio::test]
async fn a_database_that_cannot_take_the_tables() {
    let shop = Shop::open(0).await;
    let mut order = shop.superuser(&shop.settings.order).await;
    order.run(GUARD).await.unwrap();
    let words = [
        "the tables of order cannot be made",
        "dropping is forbidden here: ask the DBA",
        "no_drops (on sql_drop): ALTER EVENT TRIGGER no_drops DISABLE;",
    ];
    refused(&shop, "a guard against drops", &words).await;
    order.run("ALTER EVENT TRIGGER no_drops DISABLE").await.unwrap();

    order.run("REVOKE CREATE ON DATABASE order_database FROM order_user").await.unwrap();
    let words = [
        "CREATE on database order_database is missing",
        "GRANT CREATE ON DATABASE order_database TO order_user;",
    ];
    refused(&shop, "no place for a schema", &words).await;
    order.run("GRANT CREATE ON DATABASE order_database TO order_user").await.unwrap();

    let mut gateway = shop.superuser(&shop.settings.gateway).await;
    order.run("ALTER DATABASE order_database SET default_transaction_read_only = on").await.unwrap();
    gateway
        .run("ALTER ROLE gateway_user IN DATABASE gateway_database SET default_transaction_read_only = true")
        .await
        .unwrap();
    let words = [
        "new sessions are read-only (default_transaction_read_only)",
        "ALTER DATABASE order_database RESET default_transaction_read_only;",
        "ALTER ROLE gateway_user IN DATABASE gateway_database RESET default_transaction_read_only;",
    ];
    refused(&shop, "read-only", &words).await;
    order.run("ALTER DATABASE order_database RESET default_transaction_read_only").await.unwrap();
    gateway
        .run("ALTER ROLE gateway_user IN DATABASE gateway_database RESET default_transaction_read_only")
        .await
        .unwrap();

    // What it asks for was enough.
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
}

#[tokio::test]
async fn a_database_in_another_encoding() {
    let shop = Shop::open(0).await;
    let server = shop.settings.target(Database::Product);
    let mut elsewhere = server.clone();
    elsewhere.database = "postgres".into();
    let mut superuser = shop.superuser(&elsewhere).await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        superuser.run("DROP DATABASE product_database WITH (FORCE)").await.unwrap();
        let create = format!(
            "CREATE DATABASE product_database OWNER product_user TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        superuser.run(&create).await.unwrap();
        let found = format!("its encoding is {encoding}, and UTF8 is needed to hold every text");
        refused(&shop, encoding, &[&found, "CREATE DATABASE \"product_database\" OWNER \"product_user\""])
            .await;
    }
    // The statements are those that fix it.
    let said = shop.xtask(&["migrate"]).expect_code(4);
    let statements = said.stderr.split("once it is empty: ").nth(1).unwrap().lines().next().unwrap();
    for statement in statements.split_terminator(';') {
        superuser.run(statement).await.unwrap();
    }
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
}

/// Each table, index and sequence that is made or dropped is a lock.
#[tokio::test]
async fn a_server_without_room_for_the_locks() {
    let shop = Shop::open(0).await;
    let mut superuser = shop.superuser(&shop.settings.product).await;
    let take = "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000000) n";
    let full = superuser.run(take).await.unwrap_err();
    assert!(format!("{full:#}").contains("out of shared memory"), "{full:#}");
    let words = ["out of shared memory", "max_locks_per_transaction", "restart the server"];
    // Not even a session has room, or it has and the tables have not: whoever is the first to notice.
    for (first, last) in [(1, 4), (5, 10), (11, 15), (16, 20), (21, 25), (26, 30), (31, 35), (36, 40)] {
        let release = format!("SELECT count(pg_advisory_unlock(n)) FROM generate_series({first}, {last}) n");
        superuser.run(&release).await.unwrap();
        let said = shop.xtask(&["migrate"]);
        assert_refused(&format!("room for {last} locks"), &said, &words);
    }
    assert!(shop.documents("users").await.is_empty(), "nothing was written to Firestore");
    assert_eq!(shop.directories(), 0, "a refused run leaves no directory");
    superuser.run("SELECT pg_advisory_unlock_all()").await.unwrap();
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
}

/// What has room is not looked at row by row: that would read each table a second time.
#[tokio::test]
async fn a_source_whose_columns_are_no_wider_is_not_asked_what_does_not_fit() {
    let shop = Shop::open(0).await;
    shop.xtask(&["export"]).expect_code(0);
    let looked_at = |shop: &Shop| -> Vec<String> {
        let limits = shop.manifest().export.unwrap().snapshot.reading.limits;
        let columns = |(table, columns): (String, Vec<(String, xtask::sql::Limit)>)| {
            columns.into_iter().map(move |(column, _)| format!("{table}.{column}"))
        };
        limits.into_iter().flat_map(columns).collect()
    };
    assert_eq!(looked_at(&shop), ["products.tags"], "an index takes each tag, and none of any length");
    let mut source = shop.source().await;
    source.run("ALTER TABLE users ALTER firebase_uid TYPE varchar(300)").await.unwrap();
    shop.xtask(&["export"]).expect_code(0);
    let wider =
        ["analytics_events", "api_logs", "orders", "product_reviews"].map(|t| format!("{t}.user_uid"));
    assert_eq!(looked_at(&shop), [&wider[..], &["products.tags".to_string()]].concat());
}
