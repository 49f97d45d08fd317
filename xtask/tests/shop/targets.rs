//! What an import does to a target database and what it leaves alone: grants and comments of empty
//! tables, tables of others, readers meanwhile, leftovers of a killed import; and what repeating it
//! brings back.

use crate::support::Shop;
use crate::tool::within;
use datapath::firestore::Unconditional;
use sqlx::Row;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use xtask::effects::postgres::{self, Connection};
use xtask::effects::wait::{self, State};
use xtask::model::{Database, Stop};
use xtask::phases::p4_import;
use xtask::run::command::visibly;
use xtask::settings::Server;
use xtask::steps::CommandName;
use xtask::stores::{staging, swap};
use xtask::tables::schema;

const GRANTS: &str = "
    GRANT SELECT ON orders TO reader;
    GRANT SELECT ON orders TO PUBLIC;
    GRANT INSERT ON orders TO writer WITH GRANT OPTION;
    GRANT UPDATE (status), SELECT (id, status) ON orders TO writer;
    GRANT REFERENCES (id) ON orders TO reader WITH GRANT OPTION;
    GRANT USAGE ON SEQUENCE orders_id_seq TO writer;
    GRANT SELECT ON SEQUENCE orders_id_seq TO PUBLIC;
    GRANT TRUNCATE ON payments TO \"Odd Role\";
    COMMENT ON TABLE orders IS 'it''s the \"orders\"
of two lines \\';
    COMMENT ON COLUMN orders.status IS 'a column';
    COMMENT ON CONSTRAINT orders_pkey ON orders IS 'a constraint';
    COMMENT ON CONSTRAINT order_items_order_id_fkey ON order_items IS 'a reference';
    COMMENT ON INDEX idx_orders_status IS 'an index';
    COMMENT ON INDEX orders_pkey IS 'the index of a key';
    COMMENT ON SEQUENCE orders_id_seq IS 'a sequence'";

/// Who may do what with the tables in public, their owners, and what is said about them.
async fn grants_and_comments(connection: &mut Connection) -> Vec<String> {
    let query = "
        WITH c AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        SELECT format('%s %s %s', c.relname, 'owner', pg_get_userbyid(c.relowner)) AS line FROM c
        UNION ALL
        SELECT format('%s %s %s %s', c.relname, g.grantee::regrole, g.privilege_type, g.is_grantable)
        FROM c, aclexplode(c.relacl) g
        UNION ALL
        SELECT format('%s.%s %s %s %s', c.relname, a.attname, g.grantee::regrole, g.privilege_type, g.is_grantable)
        FROM c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g
        UNION ALL
        SELECT format('%s.%s: %s', c.relname, d.objsubid, d.description)
        FROM c JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass
        UNION ALL
        SELECT format('%s: %s', k.conname, d.description)
        FROM c JOIN pg_constraint k ON k.conrelid = c.oid
        JOIN pg_description d ON d.objoid = k.oid AND d.classoid = 'pg_constraint'::regclass
        ORDER BY 1";
    connection.rows(query).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn number(connection: &mut Connection, query: &str) -> i64 {
    connection.row(query).await.unwrap().get(0)
}

/// Schemas that this tool set aside and did not remove.
async fn staging_schemas(shop: &Shop) -> i64 {
    let mut found = 0;
    for database in Database::ALL {
        let query = "SELECT count(*) FROM pg_namespace WHERE nspname = 'xtask_staging'";
        found += number(&mut shop.target(database).await, query).await;
    }
    found
}

/// Counts orders until told to stop; what it saw: a number of rows, or None for an error.
fn reader(server: Server, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<BTreeSet<Option<i64>>> {
    tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        let mut connection = postgres::connect(&server, "reader").await.unwrap();
        while !stop.load(Ordering::Relaxed) {
            let answer = connection.row("SELECT count(*) FROM public.orders").await;
            seen.insert(answer.ok().map(|row| row.get(0)));
            tokio::task::yield_now().await;
        }
        seen
    })
}

const OTHERS: &str = "
    CREATE TABLE public.others (id serial PRIMARY KEY, note text);
    INSERT INTO public.others (note) VALUES ('a'), ('b');
    CREATE VIEW public.others_view AS SELECT note FROM public.others;
    CREATE SCHEMA elsewhere;
    CREATE TABLE elsewhere.orders (id integer);
    INSERT INTO elsewhere.orders VALUES (7)";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_import_keeps_and_what_repeating_it_brings_back() {
    let shop = Shop::open(0).await;
    let mut order = shop.target(Database::Order).await;
    let mut superuser = shop.superuser(&shop.settings.order).await;
    superuser.run("CREATE ROLE reader; CREATE ROLE writer; CREATE ROLE \"Odd Role\"").await.unwrap();
    order.run(schema(Database::Order).text).await.unwrap();
    order.run(GRANTS).await.unwrap();
    order.run(OTHERS).await.unwrap();
    let granted = grants_and_comments(&mut order).await;
    // What a killed import left.
    let leftover = "CREATE SCHEMA xtask_staging; CREATE TABLE xtask_staging.orders (x text, y text)";
    order.run(leftover).await.unwrap();
    // Of the gateway's tables one is there, the other is not.
    let mut gateway = shop.target(Database::Gateway).await;
    gateway.run(schema(Database::Gateway).text).await.unwrap();
    gateway.run("DROP TABLE analytics_events; COMMENT ON TABLE api_logs IS 'kept'").await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let seen = reader(shop.settings.order.clone(), stop.clone());
    let run = tokio::task::block_in_place(|| shop.xtask(&["migrate", "--json"]).expect_code(0).json());
    let full = number(&mut order, "SELECT count(*) FROM orders").await;
    stop.store(true, Ordering::Relaxed);
    let seen = seen.await.unwrap();
    assert!(full > 1);
    assert!(seen.iter().all(|n| [None, Some(0), Some(full)].contains(n)), "of {full}: {seen:?}");
    assert!(seen.contains(&Some(0)) && seen.contains(&Some(full)), "it looked before and after: {seen:?}");

    assert_eq!(grants_and_comments(&mut order).await, granted);
    let comment = "SELECT count(*) FROM pg_class WHERE obj_description(oid, 'pg_class') = 'kept'";
    assert_eq!(number(&mut gateway, comment).await, 1);
    assert_eq!(number(&mut order, "SELECT count(*) FROM public.others_view").await, 2);
    assert_eq!(number(&mut order, "SELECT id::bigint FROM elsewhere.orders").await, 7);
    assert_eq!(staging_schemas(&shop).await, 0);
    for database in Database::ALL {
        let row = shop.target(database).await.row("SELECT run, tables::text FROM xtask.runs").await.unwrap();
        assert_eq!(row.get::<String, _>(0), run["run"].as_str().unwrap());
        let tables: serde_json::Value = serde_json::from_str(&row.get::<String, _>(1)).unwrap();
        assert!(!tables.as_object().unwrap().is_empty(), "{tables}");
        if database == Database::Order {
            assert_eq!(tables["orders"]["rows"], full, "{tables}");
        }
    }

    again(&shop).await;
    one_database_comes_back(&shop).await;
    documents_come_back(&shop).await;
    crate::tool::contents(&mut order).await;
}

/// An import of what is there already changes nothing.
async fn again(shop: &Shop) {
    let before = crate::tool::contents(&mut shop.target(Database::Order).await).await;
    let said = shop.xtask(&["import"]).expect_code(0);
    for database in Database::ALL {
        assert!(
            said.stderr.contains(&format!("{database} holds exactly this run's rows")),
            "{}",
            said.stderr
        );
    }
    assert_eq!(crate::tool::contents(&mut shop.target(Database::Order).await).await, before);
    shop.xtask(&["verify"]).expect_code(0);
}

async fn one_database_comes_back(shop: &Shop) {
    let mut order = shop.target(Database::Order).await;
    order.run("DROP TABLE payments, order_items, orders").await.unwrap();
    let published = "SELECT published::text FROM xtask.runs";
    let before: String = shop.target(Database::Product).await.row(published).await.unwrap().get(0);

    // A file that is not what was exported is not published, and nothing is left of the attempt.
    let file = shop.latest().file("order_items.csv");
    let text = fs::read(&file).unwrap();
    let mut other = text.clone();
    other[text.iter().rposition(u8::is_ascii_digit).unwrap()] ^= 1;
    fs::write(&file, other).unwrap();
    let said = shop.xtask(&["import"]).expect_code(3);
    assert!(said.stderr.contains("order_items.csv is not the file that was written"), "{}", said.stderr);
    assert_eq!(number(&mut order, "SELECT count(*) FROM pg_class WHERE relname = 'payments'").await, 0);
    assert_eq!(staging_schemas(shop).await, 0);
    fs::write(&file, text).unwrap();

    let said = shop.xtask(&["import"]).expect_code(0);
    assert!(said.stderr.contains("product holds exactly") && said.stderr.contains("gateway holds exactly"));
    assert!(!said.stderr.contains("order holds exactly"), "{}", said.stderr);
    let after: String = shop.target(Database::Product).await.row(published).await.unwrap().get(0);
    assert_eq!(before, after, "the others were left alone");
    assert_eq!(number(&mut order, "SELECT count(*) FROM xtask.runs").await, 1);
    shop.xtask(&["verify"]).expect_code(0);
}

async fn documents_come_back(shop: &Shop) {
    let firestore = shop.firestore().await;
    for collection in ["users", "user_sessions"] {
        let mut ids = Vec::new();
        let page = |page: Vec<String>| {
            ids.extend(page.into_iter().step_by(3));
            Ok(())
        };
        firestore.ids(collection, page).await.unwrap();
        assert!(ids.len() > 1);
        firestore.delete(collection, &ids).await.unwrap();
    }
    shop.xtask(&["verify"]).expect_code(3);
    shop.xtask(&["import"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
}

/// Somebody writes into a table that was empty when the import began.
#[tokio::test]
async fn rows_that_appear_meanwhile_are_not_overwritten() {
    let shop = Shop::open(0).await;
    shop.xtask(&["export"]).expect_code(0);
    let ctx = shop.ctx_of(shop.latest());
    for database in Database::ALL {
        let mut connection = shop.target(database).await;
        connection.run(schema(database).text).await.unwrap();
        staging::prepare(&mut connection, database, &[]).await.unwrap();
    }
    let mut product = shop.target(Database::Product).await;
    product.run("INSERT INTO categories (name, created_at) VALUES ('meanwhile', now())").await.unwrap();
    let before = crate::tool::contents(&mut product).await;
    let mut connection = shop.target(Database::Product).await;
    let error = swap::publish(&ctx, &mut connection, Database::Product, "{}").await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Stop::Refused(_))), "{error:#}");
    let said = error.to_string();
    assert!(said.contains("product: 1 rows have appeared in categories"), "{said}");
    drop(connection);
    assert_eq!(crate::tool::contents(&mut product).await, before, "nothing was published");

    // The import refuses it as well, beforehand; once it is away all leftovers are no hindrance.
    let said = shop.xtask(&["import"]).expect_code(4);
    assert!(said.stderr.contains("categories in") && said.stderr.contains("holds 1 rows"), "{}", said.stderr);
    product.run("DELETE FROM categories").await.unwrap();
    shop.xtask(&["import"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    assert_eq!(staging_schemas(&shop).await, 0);
}

/// The slowest index is begun first, and every key is made as what it is: told by the catalogue.
#[tokio::test]
async fn what_is_built_and_in_which_order() {
    let shop = Shop::open(0).await;
    let mut product = shop.target(Database::Product).await;
    let plan = staging::prepare(&mut product, Database::Product, &[]).await.unwrap();
    let indexes = plan.indexes_of("products");
    let gin = |statement: &String| statement.contains(" USING gin ");
    assert!(indexes.len() > 5 && gin(&indexes[0]) && !indexes[1..].iter().any(gin), "{indexes:#?}");
    let keys = plan.keys_of("products");
    assert!(keys.len() == 1 && keys[0].contains("PRIMARY KEY USING INDEX"), "{keys:?}");
    assert!(plan.references().iter().all(|statement| statement.contains("FOREIGN KEY")), "{plan:?}");
}

/// As it is told of one that waits to be exported.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_waits_for_its_turn_says_so() {
    let shop = Shop::open(0).await;
    shop.xtask(&["export"]).expect_code(0);
    let ctx = shop.ctx_of(shop.latest());
    let export = Arc::new(ctx.run.load_manifest().unwrap().export.unwrap());
    let mut permits = Vec::new();
    for _ in 0..4 {
        permits.push(ctx.target_permit(Database::Order, u64::MAX).await);
    }
    let waiting = || {
        let imports = ctx.terminal.under_way().into_iter().filter(|task| task.what.starts_with("import "));
        imports
            .filter(|task| task.waits.as_ref().is_some_and(|what| what.starts_with("its turn on ")))
            .count()
    };
    let work = {
        let (ctx, export) = (ctx.clone(), export.clone());
        let import = async move {
            visibly(&ctx, CommandName::Import, Box::pin(p4_import::databases(&ctx, &export))).await
        };
        tokio::spawn(import)
    };
    let tables = ctx.tables.iter().filter(|table| table.database().is_some()).count();
    wait::for_state("all tables to wait", within(30, 20), async || {
        let all = waiting() == tables;
        Ok(if all { State::Ready(()) } else { State::NotYet(format!("{:?}", ctx.terminal.under_way())) })
    })
    .await
    .unwrap();
    permits.clear();
    work.await.unwrap().unwrap();
    assert_eq!(waiting(), 0);
}
