//! One service alone goes back to the old database: it alone can write there, and the others stay where they are.

use crate::source::{Elsewhere, log_in, run, shop_with_a_service, state};
use crate::support::{Said, Shop, assert_refused, assert_words};
use crate::tool::Tool;
use nix::sys::signal::Signal;
use sqlx::Row;
use std::collections::BTreeMap;
use xtask::lab::rollbacks::{Collisions, services_write};
use xtask::model::Database;

/// Rows that the services have written: a number per table of the old database.
async fn counts(shop: &Shop) -> BTreeMap<String, i64> {
    let query = "SELECT 'users' AS t, count(*) FROM users UNION ALL SELECT 'user_sessions', count(*) FROM user_sessions \
                 UNION ALL SELECT 'products', count(*) FROM products UNION ALL SELECT 'orders', count(*) FROM orders \
                 UNION ALL SELECT 'order_items', count(*) FROM order_items \
                 UNION ALL SELECT 'product_reviews', count(*) FROM product_reviews \
                 UNION ALL SELECT 'system_logs', count(*) FROM system_logs";
    let rows = shop.source().await.rows(query).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn changed(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> Vec<String> {
    before.iter().filter(|(table, rows)| after[*table] != **rows).map(|(table, _)| table.clone()).collect()
}

async fn can_write(shop: &Shop, database: Database) -> bool {
    let target = shop.settings.target(database);
    let mut service = log_in(target, &target.user).await.unwrap();
    run(&mut service, "CREATE TABLE written (); DROP TABLE written").await.is_ok()
}

/// Of the old database, as this role.
async fn writes(shop: &Shop, role: &str) -> Result<(), String> {
    let mut session = log_in(&shop.settings.source, role).await.map_err(|error| error.to_string())?;
    let set = "UPDATE products SET description = 'by the old service' WHERE id = 2";
    run(&mut session, set).await.map_err(|error| error.to_string())
}

const ROLES: &str = "[services.roles]\nproduct = \"shop_app\"\norder = \"report\"";

async fn cut_over(shop: &Shop, env: &Elsewhere) {
    env.xtask(shop, &["migrate", "--quiet"]).expect_code(0);
    env.xtask(shop, &["cutover"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_back_alone_and_the_rest_after_it() {
    let shop = shop_with_a_service().await;
    let user = shop.settings.source.user.clone();
    let env = Elsewhere::new(&shop, &user, "");
    let with_roles =
        |roles: &str| env.set_policy(&format!("freeze_roles = [\"shop_app\", \"report\"]\n{roles}"));
    with_roles("");
    cut_over(&shop, &env).await;
    let before = counts(&shop).await;
    services_write(&shop.settings, 3, Collisions::None).await.unwrap();

    // Who cannot be let in alone.
    let back = ["rollback", "service", "product"];
    assert_refused("no role", &env.xtask(&shop, &back), &["product = \"its role\"", "[services.roles]"]);
    with_roles("[services.roles]\nproduct = \"shop_app\"\nuser = \"shop_app\"");
    let words = ["product-service and user-service share the role shop_app", "rollback after-start"];
    assert_refused("shared", &env.xtask(&shop, &back), &words);
    with_roles("[services.roles]\nproduct = \"nobody\"");
    assert_refused("unknown", &env.xtask(&shop, &back), &["nobody", "no role of this server"]);
    with_roles(ROLES);
    env.xtask(&shop, &["rollback", "service"]).expect_code(2);
    assert_refused(
        "two",
        &env.xtask(&shop, &["rollback", "after-start", "product"]),
        &["rollback service <user|"],
    );
    assert_eq!(counts(&shop).await, before);
    assert!(can_write(&shop, Database::Product).await && writes(&shop, "shop_app").await.is_err());

    let said = env.xtask(&shop, &["rollback", "service", "product", "--dry-run", "--full"]).expect_code(0);
    assert_words(&said, &["Would go back (service product)", "products ", "rollback service product --run"]);
    assert!(!said.stdout.contains("orders "), "{}", said.stdout);
    assert_eq!(counts(&shop).await, before);
    let said = env.xtask(&shop, &["rollback", "service", "product", "--full"]).expect_code(0);
    let words = [
        "✓ product-service of run",
        "is taken back",
        "product-service can write to the old database again, as shop_app",
    ];
    assert_words(&said, &words);
    // Its tables and no others; it and no other.
    let product = counts(&shop).await;
    assert_eq!(changed(&before, &product), ["product_reviews", "products"]);
    assert_eq!(state(&shop, "shop_app").await, (Some("default_transaction_read_only=on".into()), true));
    assert_eq!(writes(&shop, "shop_app").await, Ok(()));
    assert!(writes(&shop, "report").await.unwrap_err().contains("not permitted to log in"));
    assert!(!can_write(&shop, Database::Product).await && can_write(&shop, Database::Order).await);
    assert_eq!(shop.documents("xtask").await.len(), 1);

    // Again: it is done. The run is not cut over again, and says what has become of it.
    let again = env.xtask(&shop, &back).expect_code(0);
    assert_words(&again, &["✓ product-service of run"]);
    assert_eq!(counts(&shop).await, product);
    let said = env.xtask(&shop, &["cutover"]);
    assert_refused("cutover", &said, &["product-service of run", "rollback after-start --run"]);
    assert!(!can_write(&shop, Database::Product).await, "nothing is let in by a refusal");
    assert_words(
        &env.xtask(&shop, &["status"]).expect_code(0),
        &["product-service went back to the old database at"],
    );
    env.xtask(&shop, &["migrate", "--replace"]).expect_code(4);

    // The others go on, and come back later; what the old service has done meanwhile stays.
    let row = "INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('nobody', 5, '2026-11-05')";
    shop.target(Database::Order).await.run(row).await.unwrap();
    let said: Said = env.xtask(&shop, &["rollback", "after-start", "--full"]).expect_code(0);
    assert_words(&said, &["is taken back (after-start)", "orders "]);
    assert!(!said.stdout.contains("products "), "{}", said.stdout);
    let all = counts(&shop).await;
    assert_eq!((all["products"], all["product_reviews"]), (product["products"], product["product_reviews"]));
    assert!(all["orders"] > before["orders"] && all["users"] > before["users"]);
    let query = "SELECT count(*) FROM products WHERE description = 'by the old service'";
    assert_eq!(shop.source().await.row(query).await.unwrap().get::<i64, _>(0), 1);
    assert_eq!(state(&shop, "shop_app").await, (None, true));
    let own = "SELECT count(*) FROM pg_db_role_setting WHERE setrole <> 0";
    assert_eq!(
        shop.source().await.row(own).await.unwrap().get::<i64, _>(0),
        0,
        "nothing of the role is left"
    );
    assert_eq!(writes(&shop, "report").await, Ok(()));
    // And forward again, all of it.
    env.xtask(&shop, &["migrate", "--replace", "--quiet"]).expect_code(0);
    env.xtask(&shop, &["cutover"]).expect_code(0);
    env.xtask(&shop, &["verify"]).expect_code(0);
    assert!(can_write(&shop, Database::Product).await);
}

/// One after the other, each killed on its way: after the last one the run is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_service_takes_the_run_back() {
    let shop = shop_with_a_service().await;
    let user = shop.settings.source.user.clone();
    let roles = ["user_app", "order_app", "gateway_app"];
    for role in roles {
        shop.source().await.run(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    }
    let roles = "[services.roles]\nproduct = \"shop_app\"\nuser = \"user_app\"\norder = \"order_app\"\ngateway = \"gateway_app\"";
    let env = Elsewhere::new(&shop, &user, roles);
    cut_over(&shop, &env).await;
    services_write(&shop.settings, 5, Collisions::None).await.unwrap();
    let killed = [
        (["rollback", "service", "user"], "Rollback: the old service's again"),
        (["rollback", "service", "order"], "services held out"),
        (["rollback", "service", "gateway"], "api-gateway can write"),
        (["rollback", "service", "product"], "Rollback: into the old database"),
    ];
    for (back, step) in killed {
        let service = back[2];
        let mut tool = Tool::start(env.command(&shop, &[&back[..], &["--json"]].concat()));
        tokio::task::block_in_place(|| {
            if tool.says(step) {
                tool.signal(Signal::SIGKILL);
                tool.wait_for_its_end();
            }
        });
        if service == "order" {
            let next = format!("rollback service {service} --run");
            assert_words(&env.xtask(&shop, &["status"]).expect_code(0), &[&next]);
        }
        env.xtask(&shop, &[&back[..], &["--full"]].concat()).expect_code(0);
    }
    assert_eq!(shop.manifest().rolled_back.len(), 1);
    assert!(shop.documents("users").await.is_empty() && shop.documents("user_sessions").await.is_empty());
    assert_eq!(state(&shop, "order_app").await, (None, true), "the source is not frozen any more");
    let own = "SELECT count(*) FROM pg_db_role_setting WHERE setrole <> 0";
    assert_eq!(shop.source().await.row(own).await.unwrap().get::<i64, _>(0), 0);
    for verb in ["cutover", "verify", "rollback after-start"] {
        let arguments: Vec<&str> = verb.split(' ').collect();
        assert_refused(verb, &env.xtask(&shop, &arguments), &["was taken back already"]);
    }
    env.xtask(&shop, &["migrate", "--replace", "--quiet"]).expect_code(0);
    env.xtask(&shop, &["cutover"]).expect_code(0);
    env.xtask(&shop, &["verify"]).expect_code(0);
}
