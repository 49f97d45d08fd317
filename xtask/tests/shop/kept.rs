//! What hangs on a target's tables is there afterwards as it was, by the word of pg_dump, or it is a refusal
//! that names it before anything is written; and new tables get what the schema gives to new tables.

use crate::support::{Said, Shop, assert_refused};
use crate::tool::everything;
use secrecy::ExposeSecret;
use sqlx::Row;
use std::process::Command;
use xtask::effects::postgres::{self, Connection};
use xtask::model::{Database, Stop};
use xtask::servers::native;
use xtask::stores::{staging, swap};
use xtask::tables::schema;

/// A database's definitions as pg_dump tells them; `xtask` is this tool's own schema.
fn dumped(shop: &Shop, database: Database) -> String {
    let server = shop.settings.target(database);
    let mut command = Command::new(native::postgres_bindir().unwrap().join("pg_dump"));
    command.args(["--schema-only", "--exclude-schema=xtask", "--host=127.0.0.1", "--username=postgres"]);
    command.arg(format!("--port={}", server.port)).arg(format!("--dbname={}", server.database));
    let said: Said = command.env("PGPASSWORD", server.password.expose_secret()).output().unwrap().into();
    // A word that is another in every dump.
    let own = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    said.expect_code(0).stdout.lines().filter(own).collect::<Vec<_>>().join("\n")
}

/// The first lines that differ.
#[track_caller]
fn same(before: &str, after: &str) {
    let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let lost: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(before == after, "lost: {lost:#?}\nnew: {new:#?}");
}

async fn number(connection: &mut Connection, query: &str) -> i64 {
    connection.row(query).await.unwrap().get(0)
}

const ROLES: &str = "CREATE ROLE order_service LOGIN; CREATE ROLE reporting; CREATE ROLE dba; GRANT dba TO order_user; \
     GRANT CREATE ON SCHEMA public TO dba; GRANT USAGE ON SCHEMA public TO order_service";

/// What people hang on tables, as their owner.
const KEPT: &str = "
    CREATE PUBLICATION order_events FOR TABLE orders (id, status, user_uid) WHERE (id > 10 AND status = 'paid'), payments;
    CREATE PUBLICATION items FOR TABLE order_items;
    COMMENT ON PUBLICATION items IS 'for the search';
    ALTER TABLE orders REPLICA IDENTITY FULL;
    ALTER TABLE payments REPLICA IDENTITY NOTHING;
    ALTER TABLE order_items REPLICA IDENTITY USING INDEX order_items_pkey;
    ALTER TABLE orders SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_enabled = false);
    ALTER INDEX idx_orders_status SET (fillfactor = 70);
    ALTER INDEX orders_pkey SET (fillfactor = 71, deduplicate_items = off);
    ALTER TABLE orders ALTER COLUMN user_uid SET STATISTICS 1000;
    ALTER TABLE orders ALTER COLUMN status SET (n_distinct = 12, n_distinct_inherited = -0.5);
    ALTER TABLE payments ALTER COLUMN gateway_response SET STORAGE EXTERNAL;
    ALTER TABLE payments ALTER COLUMN gateway_response SET COMPRESSION pglz;
    ALTER TABLE payments ALTER COLUMN transaction_id SET STORAGE MAIN;
    CREATE STATISTICS orders_status_pair (dependencies) ON status, payment_status FROM orders;
    CREATE STATISTICS \"Odd One\" ON lower(status), (total_amount * 2) FROM orders;
    ALTER STATISTICS orders_status_pair SET STATISTICS 321;
    COMMENT ON STATISTICS orders_status_pair IS 'they go together';
    ALTER TABLE orders CLUSTER ON idx_orders_created_at;
    COMMENT ON TABLE orders IS 'it''s \\ \"orders\"';
    COMMENT ON COLUMN payments.amount IS 'gross';
    COMMENT ON SEQUENCE payments_id_seq IS 'a sequence';
    COMMENT ON INDEX orders_pkey IS 'a key';
    COMMENT ON CONSTRAINT payments_order_id_fkey ON payments IS 'a reference';
    REVOKE TRUNCATE, REFERENCES ON orders FROM order_user;
    REVOKE UPDATE ON SEQUENCE order_items_id_seq FROM order_user;
    GRANT SELECT (id, amount) ON payments TO reporting;
    GRANT SELECT ON orders TO PUBLIC;
    GRANT SELECT, INSERT ON orders TO order_service WITH GRANT OPTION;
    GRANT USAGE ON SEQUENCE orders_id_seq TO order_service;
    ALTER TABLE payments OWNER TO dba";

/// Given to what is made from now on: the tables that are there do not have it, and shall not get it.
const LATER: &str = "
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO reporting;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO reporting";

#[tokio::test]
async fn what_hangs_on_tables_is_kept() {
    let shop = Shop::open(0).await;
    let mut superuser = shop.superuser(&shop.settings.order).await;
    let mut order = shop.target(Database::Order).await;
    superuser.run(ROLES).await.unwrap();
    order.run(schema(Database::Order).text).await.unwrap();
    order.run(KEPT).await.unwrap();
    order.run(LATER).await.unwrap();
    superuser.run("CREATE PUBLICATION everything FOR ALL TABLES").await.unwrap();
    superuser.run("CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA public").await.unwrap();
    let before = dumped(&shop, Database::Order);
    let published = "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM pg_publication_tables t WHERE schemaname = 'public'";
    let publications: String = superuser.row(published).await.unwrap().get(0);

    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    assert!(number(&mut superuser, "SELECT count(*) FROM orders").await > 1);
    same(&before, &dumped(&shop, Database::Order));
    assert_eq!(superuser.row(published).await.unwrap().get::<String, _>(0), publications);
    let reads = "SELECT count(*) FROM pg_class WHERE relname IN ('payments', 'order_items') AND relkind = 'r' \
                 AND has_table_privilege('reporting', oid, 'SELECT')";
    assert_eq!(number(&mut superuser, reads).await, 0);

    // Nor does replacing tables that hold an earlier run's rows lose anything.
    shop.xtask(&["migrate", "--replace", "--quiet"]).expect_code(0);
    same(&before, &dumped(&shop, Database::Order));
}

/// Terraform's, or a DBA's: the service may use whatever its owner makes in public.
const DEFAULTS: &str = "
    ALTER DEFAULT PRIVILEGES FOR ROLE order_user IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO order_service;
    ALTER DEFAULT PRIVILEGES FOR ROLE order_user IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO order_service;
    ALTER DEFAULT PRIVILEGES FOR ROLE order_user GRANT REFERENCES ON TABLES TO reporting;
    ALTER DEFAULT PRIVILEGES FOR ROLE order_user REVOKE TRIGGER ON TABLES FROM order_user";

#[tokio::test]
async fn new_tables_get_the_default_privileges_of_their_schema() {
    let shop = Shop::open(0).await;
    let mut superuser = shop.superuser(&shop.settings.order).await;
    superuser.run(ROLES).await.unwrap();
    let mut order = shop.target(Database::Order).await;
    // One table is there already, and is as it was: the service may not use it.
    order.run(schema(Database::Order).text).await.unwrap();
    order.run("DROP TABLE orders, order_items CASCADE").await.unwrap();
    superuser.run(DEFAULTS).await.unwrap();
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);

    let privileges = "SELECT c.relname || ' ' || (SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(coalesce( \
                          c.relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner))) a) \
                      FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1";
    let found: Vec<String> = superuser.rows(privileges).await.unwrap().iter().map(|row| row.get(0)).collect();
    let table = "order_service=arwd/order_user, order_user=arwdDx/order_user, reporting=x/order_user";
    let sequence = "order_service=rU/order_user, order_user=rwU/order_user";
    let expected = [
        format!("order_items {table}"),
        format!("order_items_id_seq {sequence}"),
        format!("orders {table}"),
        format!("orders_id_seq {sequence}"),
        "payments order_user=arwdDxt/order_user".to_string(),
        "payments_id_seq order_user=rwU/order_user".to_string(),
    ];
    assert_eq!(found, expected);

    let mut service = shop.settings.order.clone();
    let password = service.password.expose_secret().to_string();
    superuser
        .run_secret("a password", &format!("ALTER ROLE order_service PASSWORD '{password}'"))
        .await
        .unwrap();
    service.user = "order_service".into();
    let mut service = postgres::connect(&service, "test").await.unwrap();
    assert!(number(&mut service, "SELECT count(*) FROM orders").await > 1);
    let insert =
        "INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('x', 1, now()) RETURNING id::bigint";
    assert!(number(&mut service, insert).await > 1);
    let refused = service.row("SELECT count(*) FROM payments").await.unwrap_err();
    assert!(format!("{refused:#}").contains("permission denied for table payments"), "{refused:#}");
}

/// Kinds that are not carried over: how they are made as a superuser, and taken away; what the refusal says.
const REFUSED: &[(&str, &str, &str, &[&str])] = &[
    (
        "a rule",
        "CREATE RULE no_deletes AS ON DELETE TO payments DO INSTEAD NOTHING",
        "DROP RULE no_deletes ON payments",
        &["order.payments: rule no_deletes is not in sql/schema"],
    ),
    (
        "how a sequence counts",
        "ALTER SEQUENCE orders_id_seq CACHE 20 INCREMENT BY 2",
        "ALTER SEQUENCE orders_id_seq CACHE 1 INCREMENT BY 1",
        &["order.orders: sequence id is", "INCREMENT BY 2", "CACHE 20"],
    ),
    (
        "a second sequence",
        "SET ROLE order_user; CREATE SEQUENCE more OWNED BY orders.id; RESET ROLE",
        "DROP SEQUENCE more",
        &["order.orders: sequence id (more) is not in sql/schema"],
    ),
    (
        "a policy",
        "CREATE POLICY own ON orders USING (user_uid = current_user)",
        "DROP POLICY own ON orders",
        &["order.orders: policy own is not in sql/schema"],
    ),
    (
        "a security label",
        "SET allow_system_table_mods = on; INSERT INTO pg_seclabel VALUES ('orders'::regclass, 'pg_class'::regclass, 0, 'selinux', 'secret')",
        "DELETE FROM pg_seclabel",
        &["order: table orders", "security label", "selinux: secret"],
    ),
    (
        "a tablespace",
        "ALTER TABLE payments SET TABLESPACE fast",
        "ALTER TABLE payments SET TABLESPACE pg_default",
        &["order: table payments", "tablespace", "fast"],
    ),
    (
        "an index that goes with an extension",
        "ALTER INDEX idx_orders_status DEPENDS ON EXTENSION plpgsql",
        "ALTER INDEX idx_orders_status NO DEPENDS ON EXTENSION plpgsql",
        &["order: index idx_orders_status", "depends", "extension plpgsql"],
    ),
    (
        "a privilege that another than the owner has granted",
        "GRANT SELECT ON orders TO reporting WITH GRANT OPTION; SET ROLE reporting; GRANT SELECT ON orders TO order_service; RESET ROLE",
        "REVOKE ALL ON orders FROM reporting CASCADE",
        &["order: table orders", "privileges", "order_service: SELECT by reporting"],
    ),
    (
        "a table that inherits",
        "CREATE TABLE base (id integer NOT NULL); ALTER TABLE orders INHERIT base",
        "ALTER TABLE orders NO INHERIT base; DROP TABLE base",
        &["order.orders: inheritance", "base"],
    ),
    (
        "a table with a child",
        "CREATE TABLE old_orders () INHERITS (orders)",
        "DROP TABLE old_orders",
        &["order.orders: inheritance", "old_orders"],
    ),
    (
        "a publication that belongs to somebody else",
        "CREATE PUBLICATION theirs FOR TABLE orders",
        "DROP PUBLICATION theirs",
        &["ownership of publication theirs is missing", "ALTER PUBLICATION theirs OWNER TO order_user"],
    ),
    (
        "a subscription that feeds a table",
        "CREATE SUBSCRIPTION feed CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE); \
         SET allow_system_table_mods = on; \
         INSERT INTO pg_subscription_rel SELECT oid, 'orders'::regclass, 'r', NULL FROM pg_subscription",
        "DELETE FROM pg_subscription_rel; DROP SUBSCRIPTION feed",
        &["order: table orders", "subscription", "feed"],
    ),
    (
        "columns in another order",
        "ALTER TABLE orders DROP COLUMN tracking_number; ALTER TABLE orders ADD COLUMN tracking_number varchar(100)",
        "",
        &["order: column tracking_number of table orders", "position"],
    ),
];

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_its_name() {
    let shop = Shop::open(0).await;
    let mut superuser = shop.superuser(&shop.settings.order).await;
    superuser.run(ROLES).await.unwrap();
    shop.target(Database::Order).await.run(schema(Database::Order).text).await.unwrap();
    let tablespace = shop.dir().join("fast");
    std::fs::create_dir(&tablespace).unwrap();
    let owner = std::fs::metadata(shop.dir().join("order"))
        .unwrap_or_else(|_| std::fs::metadata(shop.dir()).unwrap());
    let uid = std::os::unix::fs::MetadataExt::uid(&owner);
    std::os::unix::fs::chown(&tablespace, Some(uid), None).unwrap();
    superuser.run(&format!("CREATE TABLESPACE fast LOCATION '{}'", tablespace.display())).await.unwrap();
    for (case, make, undo, words) in REFUSED {
        superuser.run(make).await.unwrap();
        let (before, definitions) = (everything(&shop).await, dumped(&shop, Database::Order));
        // They look in the same way: one case of each kind of refusal.
        let verbs: &[&str] = match *case {
            "a rule" | "a security label" | "a publication that belongs to somebody else" => {
                &["doctor", "plan"]
            }
            _ => &[],
        };
        for verb in verbs {
            let said = shop.xtask(&[verb]).expect_code(4);
            words.iter().for_each(|word| {
                assert!(said.stdout.contains(word), "{case}: {verb}: {word}: {}", said.stdout)
            });
        }
        let said = shop.xtask(&["migrate"]);
        assert_refused(case, &said, words);
        assert_refused(case, &said, &["the targets are not ready", "Nothing has been changed"]);
        assert!(everything(&shop).await == before, "{case}: something has changed");
        same(&definitions, &dumped(&shop, Database::Order));
        superuser.run(undo).await.unwrap();
    }
    assert_eq!(shop.directories(), 0, "a refused run leaves no directory");
}

/// What comes to hang on a table while the import is under way is kept, or the import is refused.
#[tokio::test]
async fn what_is_hung_on_a_table_meanwhile() {
    let shop = Shop::open(0).await;
    shop.xtask(&["export"]).expect_code(0);
    let ctx = shop.ctx_of(shop.latest());
    let mut connection = shop.target(Database::Order).await;
    connection.run(schema(Database::Order).text).await.unwrap();
    staging::prepare(&mut connection, Database::Order, &[]).await.unwrap();
    let mut superuser = shop.superuser(&shop.settings.order).await;
    let label = "SET allow_system_table_mods = on; \
                 INSERT INTO pg_seclabel VALUES ('orders'::regclass, 'pg_class'::regclass, 0, 'selinux', 'secret')";
    superuser.run(label).await.unwrap();
    let before = (dumped(&shop, Database::Order), crate::tool::contents(&mut superuser).await);
    let error = swap::publish(&ctx, &mut connection, Database::Order, "{}").await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Stop::Refused(_))), "{error:#}");
    let said = error.to_string();
    assert!(said.contains("table orders") && said.contains("security label"), "{said}");
    drop(connection);
    assert_eq!(dumped(&shop, Database::Order), before.0, "nothing was published");
    assert_eq!(crate::tool::contents(&mut superuser).await, before.1, "nothing was published");
}
