//! The whole migration by the real binary on real servers.
#![allow(clippy::unwrap_used)]

mod support;

use support::Shop;

#[tokio::test]
async fn every_row_is_accounted_for_and_proven() {
    let shop = Shop::open(0).await;
    let report = shop.xtask(&["migrate", "--json"]).expect_code(0).json();
    assert_eq!(report["proven"], true);
    let tables = report["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 10);
    for table in tables {
        let sums = &table["sums"];
        let sum =
            ["migrated", "excluded", "quarantined"].map(|k| sums[k].as_u64().unwrap()).iter().sum::<u64>();
        assert_eq!(table["source_rows"].as_u64().unwrap(), sum, "{table}");
        assert_eq!(table["verified"], true, "{table}");
    }
    shop.xtask(&["verify"]).expect_code(0);
}
