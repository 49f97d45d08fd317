//! `connectivity`: for each server where it fails, and the verdict in the first line; with TLS what was asked and what
//! was got. The pooler is in doctor.rs, where there is one.

use crate::by_hand::ByHand;
use crate::places::Places;
use crate::support::{Said, Shop, says};

/// It fails there: exit code 4, the verdict first, four other servers well.
#[track_caller]
fn fails(case: &str, said: Said, verdict: &str, fix: &str) {
    assert_eq!(said.code, Some(4), "{case}: {}{}", said.stdout, said.stderr);
    assert!(said.stdout.starts_with(&format!("✗ {verdict}")), "{case}: {}", said.stdout);
    assert!(said.stdout.contains(fix), "{case}: {fix}: {}", said.stdout);
    assert_eq!(said.stdout.matches("  ✓ ").count(), 4, "{case}: {}", said.stdout);
    assert!(said.stderr.contains("1 of 5 servers cannot be used"), "{case}: {}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_on_the_way_to_a_server_fails_by_itself() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    let well = places.run(&["connectivity"]).expect_code(0);
    assert!(well.stdout.starts_with("✓ all 5 servers can be reached from here"), "{}", well.stdout);
    let order =
        format!("✓ order     127.0.0.1:{}/order_database: name 127.0.0.1 · TCP ", shop.settings.order.port);
    says(&well, &[&order, "TLS asked disable, got none", "session its own", "read-write"]);
    let mut narrow = places.command_with("", "", &["connectivity"]);
    let said: Said = narrow.env("COLUMNS", "80").output().unwrap().into();
    for line in said.expect_code(0).stdout.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    let network = places.run(&["doctor", "--network"]).expect_code(0);
    assert!(network.stdout.starts_with("✓ all 5 servers can be reached from here"), "{}", network.stdout);

    let at = format!("host = \"127.0.0.1\"\nport = {}", shop.settings.order.port);
    let with = |to: &str| places.run_with(&at, to, &["connectivity"]);
    let name = at.replace("127.0.0.1", "no-such-host.invalid");
    fails("a wrong name", with(&name), "order fails at name: the host no-such-host.invalid", "getent hosts");
    let port = "host = \"127.0.0.1\"\nport = 1";
    fails(
        "a wrong port",
        with(port),
        "order fails at TCP: nothing listens at 127.0.0.1:1",
        "nc -zv 127.0.0.1 1",
    );
    let mut wrong = places.command_with("", "", &["connectivity"]);
    let said: Said = wrong.env("ORDER_PASSWORD", "canary-wrong").output().unwrap().into();
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("canary-wrong"));
    let fix = "read -rs ORDER_PASSWORD && export ORDER_PASSWORD";
    fails("a wrong password", said, "order fails at login: the server refuses this user or password", fix);
    let tls = places.text.find("[targets.order]").unwrap();
    let part = places.text[tls..].split("[targets.gateway]").next().unwrap();
    let asked = part.replace("tls = \"disable\"", "tls = \"require\"");
    let said = places.run_with(part, &asked, &["connectivity"]);
    fails("TLS that is not offered", said, "order fails at TLS: the server does not offer it", "→ ");
    let host = shop.settings.firestore.emulator.clone().unwrap();
    let said = places.run_with(&host, "127.0.0.1:1", &["connectivity"]);
    fails("no emulator", said, "firestore fails at TCP: nothing listens", "gcloud emulators firestore start");

    let mut superuser = shop.superuser(&shop.settings.gateway).await;
    superuser.run("ALTER DATABASE gateway_database SET default_transaction_read_only = on").await.unwrap();
    let said = places.run(&["connectivity", "--json"]).expect_code(0).json();
    let servers = said["servers"].as_array().unwrap();
    assert_eq!(
        (&servers[3]["place"], &servers[3]["state"]),
        (&"gateway".into(), &"read-only for new sessions".into())
    );
    assert_eq!(servers[2]["state"], "read-write");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_of_tls_and_what_was_got() {
    let hand = ByHand::open().await;
    let well = hand.run(&["connectivity"]).expect_code(0);
    assert_eq!(well.stdout.matches("TLS asked verify-full, got TLSv1.3, ").count(), 4, "{}", well.stdout);
    hand.offer_tls("order", false).await;
    let said = hand.run(&["connectivity"]).expect_code(4);
    assert!(said.stdout.starts_with("✗ order fails at TLS: the server does not offer it"), "{}", said.stdout);
}
