//! What a DBA may rightly decide about a target's tables is said by `verify`, and is no difference: exit code 0;
//! and `repair` leaves it as it is.

use crate::support::{Shop, assert_refused, says};
use crate::tool::contents;
use xtask::model::Database;

/// Each decision, and the remark about it.
const DECISIONS: &[(&str, &str)] = &[
    (
        "GRANT SELECT ON orders TO reporting",
        "order: table orders: privileges \"its owner: DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE; reporting: SELECT\"",
    ),
    (
        "GRANT UPDATE (status) ON orders TO reporting",
        "order: column status of table orders: privileges \"reporting: UPDATE\"",
    ),
    (
        "REVOKE DELETE ON payments FROM order_user",
        "order: table payments: privileges \"its owner: INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE\"",
    ),
    ("GRANT USAGE ON SEQUENCE orders_id_seq TO reporting", "order: sequence orders_id_seq: privileges"),
    ("ALTER TABLE order_items OWNER TO dba", "order: table order_items: owner \"dba\""),
    (
        "ALTER TABLE orders SET (fillfactor = 80)",
        "order: table orders: storage parameters \"[\\\"fillfactor=80\\\"]\"",
    ),
    (
        "ALTER TABLE orders SET (toast.autovacuum_enabled = off)",
        "order: table orders: storage parameters of its large values",
    ),
    (
        "ALTER INDEX idx_orders_status SET (fillfactor = 70)",
        "order: index idx_orders_status: storage parameters",
    ),
    ("ALTER TABLE orders REPLICA IDENTITY FULL", "order: table orders: replica identity \"f\""),
    (
        "CREATE PUBLICATION order_events FOR TABLE orders",
        "order: publication of table orders in publication order_events: is there",
    ),
    (
        "CREATE STATISTICS pair ON status, payment_status FROM orders",
        "order: statistics object pair: is there",
    ),
    (
        "ALTER TABLE orders ALTER status SET STATISTICS 500",
        "order: column status of table orders: statistics target \"500\"",
    ),
    (
        "ALTER TABLE payments ALTER gateway_response SET STORAGE EXTERNAL",
        "order: column gateway_response of table payments: storage \"e\"",
    ),
    (
        "ALTER TABLE orders CLUSTER ON idx_orders_status",
        "order: index idx_orders_status: cluster mark \"true\"",
    ),
    ("COMMENT ON TABLE orders IS 'since 2024'", "order: table orders: comment \"since 2024\""),
];

#[tokio::test]
async fn what_a_dba_decides_is_a_remark() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    let said = shop.xtask(&["verify", "--json"]).expect_code(0).json();
    assert_eq!(said["remarks"], serde_json::json!([]), "nobody has decided anything");
    let mut superuser = shop.superuser(&shop.settings.order).await;
    superuser.run("CREATE ROLE reporting; CREATE ROLE dba; GRANT dba TO order_user").await.unwrap();
    for (decision, _) in DECISIONS {
        superuser.run(decision).await.unwrap();
    }

    let said = shop.xtask(&["verify"]).expect_code(0);
    says(&said, &["Remarks"]);
    for (decision, remark) in DECISIONS {
        assert!(said.stdout.contains(remark), "{decision}: not a word of {remark} in\n{}", said.stdout);
    }
    let json = shop.xtask(&["verify", "--json"]).expect_code(0).json();
    let remarks = json["remarks"].as_array().unwrap();
    assert_eq!(remarks.len(), DECISIONS.len(), "{remarks:#?}");
    let owner = remarks.iter().find(|remark| remark["column"] == "owner").unwrap();
    let expected = serde_json::json!({
        "kind": "remark", "store": "order", "table": "table order_items", "column": "owner",
        "expected": "order_user", "found": "dba", "text": "order: table order_items: owner \"dba\"",
    });
    assert_eq!(*owner, expected);

    // Nor is it undone.
    let before = contents(&mut superuser).await;
    let said = shop.xtask(&["repair", "--apply"]).expect_code(0);
    says(&said, &["NOTHING TO REPAIR"]);
    assert_eq!(contents(&mut superuser).await, before);
    let said = shop.xtask(&["verify", "--json"]).expect_code(0).json();
    assert_eq!(said["remarks"].as_array().unwrap(), remarks);
}

/// Where the rows are kept from the tool's role, `repair` says so, and how they are not.
#[tokio::test]
async fn an_owner_who_keeps_the_rows_to_himself() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    let mut superuser = shop.superuser(&shop.settings.gateway).await;
    superuser.run("ALTER TABLE api_logs OWNER TO postgres").await.unwrap();
    let said = shop.xtask(&["verify"]).expect_code(3);
    says(&said, &["gateway: table api_logs: owner \"postgres\"", "GRANT SELECT ON \"public\".\"api_logs\""]);
    let before = contents(&mut superuser).await;
    for arguments in [&["repair"][..], &["repair", "--apply"]] {
        let said = shop.xtask(arguments);
        let words = [
            "gateway_user may not read api_logs",
            "GRANT SELECT ON \"public\".\"api_logs\" TO \"gateway_user\";",
        ];
        assert_refused("repair", &said, &words);
    }
    assert_eq!(contents(&mut superuser).await, before);
    superuser.run("GRANT SELECT ON api_logs, api_logs_id_seq TO gateway_user").await.unwrap();
    let said = shop.xtask(&["verify"]).expect_code(0);
    says(&said, &["gateway: table api_logs: owner \"postgres\""]);
    assert!(shop.target(Database::Gateway).await.run("DELETE FROM api_logs").await.is_err());
}
