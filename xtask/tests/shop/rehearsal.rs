//! The whole migration by the real binary on real servers.

use crate::support::Shop;
use std::sync::Arc;
use xtask::commands::backup;
use xtask::source::Handling;

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
    the_compose_configuration_is_kept(&shop).await;
}

/// By Compose where there is one, else as a plain copy.
async fn the_compose_configuration_is_kept(shop: &Shop) {
    let workspace = tempfile::tempdir().unwrap();
    let text = "services:\n  postgres-product:\n    image: postgres:15\n";
    std::fs::write(workspace.path().join("docker-compose.yml"), text).unwrap();
    let mut ctx = Arc::into_inner(shop.ctx()).unwrap();
    ctx.workspace = workspace.path().to_path_buf();
    let ctx = Arc::new(ctx);
    let made = backup::run(&ctx, &Handling::default()).await.unwrap();
    assert!(made.files.contains_key("docker-compose-before.yml"), "{:?}", made.files.keys());
    let kept = std::fs::read_to_string(ctx.run.file("docker-compose-before.yml")).unwrap();
    assert!(kept.contains("postgres-product") && kept.contains("image: postgres:15"), "{kept}");
}
