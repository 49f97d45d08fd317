//! Copies of documents that stand where no service looks for them are found and named, at the root under
//! another spelling and below other documents; after the cut-over they are the services' work.

use crate::support::{Said, Shop, assert_words};
use datapath::document::{Document, Value};
use datapath::firestore::{Firestore, Unconditional};

const ADA: &str = "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g";

fn copy(id: &str) -> Document {
    Document { id: id.into(), fields: vec![("email", Value::Text("c@x".into()))] }
}

async fn copies(firestore: &Firestore, collection: &str, ids: &[&str]) {
    for id in ids {
        firestore.set(collection, &copy(id)).await.unwrap();
    }
}

async fn removed(firestore: &Firestore, collection: &str, ids: &[&str]) {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    firestore.delete(collection, &ids).await.unwrap();
}

/// The check as the proof holds it: what was looked at, and the findings.
fn check(said: &Said) -> (String, Vec<String>) {
    let json = said.json();
    let check =
        json["checks"].as_array().unwrap().iter().find(|c| c["name"] == "misplaced documents").unwrap();
    let findings =
        check["findings"].as_array().unwrap().iter().map(|f| f["text"].as_str().unwrap().to_string());
    (check["looked_at"].as_str().unwrap().to_string(), findings.collect())
}

#[tokio::test]
async fn copies_where_no_service_looks_are_named() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    let firestore = shop.firestore().await;
    // What is nobody's copy.
    copies(&firestore, "sessions", &["a"]).await;
    copies(&firestore, "users2", &["a"]).await;
    copies(&firestore, &format!("users/{ADA}/settings"), &["a"]).await;
    let (looked_at, findings) = check(&shop.xtask(&["verify", "--json"]).expect_code(0));
    assert_eq!(findings, Vec::<String>::new());
    assert_eq!(
        looked_at,
        "the names of 5 collections at the root, and users and user_sessions below documents"
    );

    let below = |name: &str| format!("users/{ADA}/{name}");
    let six = ["a", "b", "c", "d", "e", "f"];
    let cases: [(String, &[&str], String); 8] = [
        (
            "Users".into(),
            &six,
            "Users: 6 documents where no service looks for them: Users/a, Users/b, Users/c, Users/d, Users/e, …"
                .into(),
        ),
        ("us-ers".into(), &["a"], "us-ers: 1 documents where".into()),
        ("userSessions".into(), &["a", "b"], "them: userSessions/a, userSessions/b".into()),
        ("USER-SESSIONS".into(), &["x"], "them: USER-SESSIONS/x".into()),
        (
            below("user_sessions"),
            &["a", "b"],
            format!("2 documents where no service looks for them: users/{ADA}/user_sessions/a, users/{ADA}/"),
        ),
        (below("userSessions"), &["a"], format!("users/{ADA}/userSessions/a")),
        ("archive/2020/users".into(), &["a"], "…/users: 1 documents where no service looks for them: archive/2020/users/a".into()),
        // Below one of its own kind, and below a document that is not there.
        ("users/zzz/users".into(), &["a"], "users/zzz/users/a".into()),
    ];
    for (collection, ids, expected) in &cases {
        copies(&firestore, collection, ids).await;
        let said = shop.xtask(&["verify", "--json", "--show-values"]).expect_code(3);
        let (_, findings) = check(&said);
        let [finding] = &findings[..] else { panic!("{collection}: {findings:?}") };
        assert!(finding.contains(expected), "{collection}: {finding}");
        removed(&firestore, collection, ids).await;
    }
    shop.xtask(&["verify"]).expect_code(0);

    for (collection, ids, _) in &cases {
        copies(&firestore, collection, ids).await;
    }
    let said = shop.xtask(&["verify"]).expect_code(3);
    assert_words(
        &said,
        &["misplaced documents", "Users: 6 documents", "us-ers: 1 documents", "them: us-ers/a"],
    );
    // A session's token lets in whoever knows it.
    assert_words(&said, &["them: USER-SESSIONS/(sha256 "]);
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert_words(&said, &["the last proof of run", "findings"]);
    for (collection, ids, _) in &cases {
        removed(&firestore, collection, ids).await;
    }
    shop.xtask(&["verify"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    copies(&firestore, "Users", &["a"]).await;
    copies(&firestore, &below("user_sessions"), &["a"]).await;
    let (looked_at, findings) = check(&shop.xtask(&["verify", "--json"]).expect_code(0));
    assert_eq!(findings, Vec::<String>::new());
    for words in ["since the cut-over it is the services' work", "Users/a", "user_sessions/(sha256 "] {
        assert!(looked_at.contains(words), "{words}: {looked_at}");
    }
}
