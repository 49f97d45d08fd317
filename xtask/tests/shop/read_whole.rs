//! The source can be read whole, or no run begins: what pg_dump needs is asked of the catalogue, each right that is
//! missing is named with the statement that gives it, and nothing is touched.

use crate::doctor::{ROLE, grant_all, lines, psql, role, statement, the_line};
use crate::places::Places;
use crate::support::{Shop, assert_refused};
use crate::tool::everything;

/// `cases/12`: product photos that belong to the application.
const PHOTOS: &str = "\
    DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_app') THEN CREATE ROLE shop_app; END IF; END $$; \
    DO $$ DECLARE photo oid; BEGIN \
        FOR i IN 1..COUNT LOOP \
            photo := lo_from_bytea(0, '\\x89504e47'); EXECUTE format('ALTER LARGE OBJECT %s OWNER TO shop_app', photo); \
        END LOOP; \
    END $$";

async fn photos(shop: &Shop, count: usize) {
    let statements = PHOTOS.replace("COUNT", &count.to_string());
    shop.superuser(&shop.settings.source).await.run(&statements).await.unwrap();
}

/// Every verb that reads the source refuses with these words, and has begun nothing.
#[track_caller]
fn refused_by_every_verb(shop: &Shop, places: &Places, words: &[&str]) {
    for verb in ["migrate", "backup", "export", "plan"] {
        let said = places.run(&[verb]);
        assert_refused(
            verb,
            &said,
            &[&["cannot be read whole by mover", "Nothing has been changed"], words].concat(),
        );
        assert_eq!(shop.directories(), 0, "{verb}: no run");
    }
}

#[tokio::test]
async fn large_objects_of_others() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    grant_all(&shop);
    let places = Places::of(&shop, Some(ROLE));
    places.run(&["doctor"]).expect_code(0);
    photos(&shop, 1).await;
    let before = everything(&shop).await;
    let missing = "SELECT on large objects of shop_app (1 of them) is missing";
    let said = places.run(&["doctor", "--json"]);
    let line = the_line("one", said, "source", "privileges", missing);
    let grant = statement(&line);
    assert!(grant.starts_with("GRANT SELECT ON LARGE OBJECT ") && grant.ends_with(" TO mover"), "{grant}");
    refused_by_every_verb(&shop, &places, &[missing, &grant, "sql/grants/migrate_source.sql"]);
    assert!(everything(&shop).await == before, "something has changed");
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run(&grant).await.unwrap();
    places.run(&["doctor"]).expect_code(0);

    // Many of one owner have one line, and one statement for all.
    photos(&shop, 30).await;
    let said = places.run(&["doctor", "--json"]);
    let line = the_line("many", said, "source", "privileges", "shop_app (30 of them) is missing");
    let fix = line["fix"].as_str().unwrap();
    source.run(fix.split("\nall that are needed: ").next().unwrap()).await.unwrap();
    places.run(&["doctor"]).expect_code(0);
    // What an owner has taken away from everybody, and what everybody may read.
    source
        .run(
            "SELECT lo_create(4711), lo_create(4712); REVOKE ALL ON LARGE OBJECT 4711 FROM postgres; \
             GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC",
        )
        .await
        .unwrap();
    let said = places.run(&["doctor", "--json"]);
    let line = the_line("a superuser's", said, "source", "privileges", "of postgres (1 of them) is missing");
    assert_eq!(statement(&line), "GRANT SELECT ON LARGE OBJECT 4711 TO mover");
    // And the script gives them all.
    photos(&shop, 2).await;
    psql(&shop.settings.source, "migrate_source.sql", &["role=mover"]);
    places.run(&["doctor"]).expect_code(0);
    places.run(&["migrate"]).expect_code(0);
    let dump = std::fs::read_to_string(shop.latest().file("full_backup.sql")).unwrap();
    assert_eq!(dump.matches("89504e47").count(), 33, "every photo is in the dump");
}

#[tokio::test]
async fn tables_sequences_schemas_and_policies() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    let mut source = shop.superuser(&shop.settings.source).await;
    // Nobody migrates it, and it is dumped all the same.
    let stock = "CREATE SCHEMA stock; CREATE TABLE stock.shelves (id serial, name text); \
                 INSERT INTO stock.shelves (name) VALUES ('a'), ('b'); \
                 CREATE POLICY own ON stock.shelves USING (name = 'a')";
    source.run(stock).await.unwrap();
    grant_all(&shop);
    let places = Places::of(&shop, Some(ROLE));
    let before = everything(&shop).await;
    for (take, words) in [
        (
            "REVOKE SELECT ON orders FROM mover",
            "SELECT on public.orders is missing: GRANT SELECT ON TABLE public.orders TO mover;",
        ),
        (
            "REVOKE SELECT ON SEQUENCE stock.shelves_id_seq FROM mover",
            "SELECT on sequence stock.shelves_id_seq is missing: GRANT SELECT ON SEQUENCE stock.shelves_id_seq TO mover;",
        ),
        (
            "REVOKE USAGE ON SCHEMA stock FROM mover",
            "USAGE on schema stock is missing: GRANT USAGE ON SCHEMA stock TO mover;",
        ),
        (
            "ALTER TABLE stock.shelves ENABLE ROW LEVEL SECURITY",
            "BYPASSRLS past the policies of stock.shelves is missing: ALTER ROLE mover BYPASSRLS;",
        ),
    ] {
        source.run(take).await.unwrap();
        refused_by_every_verb(&shop, &places, &[words]);
        let missing = places.run(&["doctor", "--json"]).expect_code(4).json();
        assert_eq!(lines(&missing, "not_met").len(), 1, "{missing:#}");
        let given = words.split(" is missing: ").nth(1).unwrap();
        source.run(given).await.unwrap();
        places.run(&["doctor"]).expect_code(0);
    }
    source.run("ALTER TABLE stock.shelves DISABLE ROW LEVEL SECURITY").await.unwrap();
    assert!(everything(&shop).await == before, "something has changed");
    places.run(&["migrate"]).expect_code(0);
    let backup = shop.manifest().backup.unwrap();
    assert_eq!(backup.raw["stock.shelves"].rows, 2);
}
