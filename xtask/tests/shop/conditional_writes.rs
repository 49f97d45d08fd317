//! Somebody writes to Firestore while the tool does, and calls that were reported as failed were not: what
//! others have written is never overwritten nor removed, it is named, and nothing is called proven then; what
//! is ours already is not written again.

use crate::source::Elsewhere;
use crate::support::{Said, Shop, assert_refused, assert_words};
use crate::tool::{Tool, everything, targets};
use datapath::document::{Document, Value};
use datapath::firestore::{Address, Fields, Firestore, Unconditional, Version};
use gcloud_sdk::tonic::Code;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use xtask::lab::faults::{FirestoreFaults, WriteFault};
use xtask::stores::documents::only_missing;
use xtask::tables::TABLES;

const ADA: &str = "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g";
const HOW: &str = "last_name: expected string \"Lovelace\", found string \"theirs\"";

/// A shop whose emulator is reached through a proxy by the tool, and by the services without one.
struct Proxied {
    shop: Shop,
    proxy: FirestoreFaults,
    elsewhere: Elsewhere,
    services: Firestore,
}

impl Proxied {
    async fn open() -> Proxied {
        let mut shop = Shop::open(0).await;
        let emulator = shop.settings.firestore.emulator.clone().unwrap();
        let services = Firestore::connect(&Address::from(&shop.settings.firestore)).await.unwrap();
        let proxy = FirestoreFaults::start(&emulator).await.unwrap();
        shop.settings.firestore.emulator = Some(proxy.address());
        let elsewhere = Elsewhere::new(&shop, "postgres", "");
        shop.settings.firestore.emulator = Some(emulator);
        Proxied { shop, proxy, elsewhere, services }
    }

    /// One whose stores a run has filled; its documents.
    async fn migrated() -> (Proxied, BTreeMap<String, Option<Fields>>) {
        let proxied = Proxied::open().await;
        proxied.xtask(&["migrate", "--quiet"]).expect_code(0);
        let documents = proxied.shop.documents("users").await;
        (proxied, documents)
    }

    /// The tool, while the proxy goes on.
    fn xtask(&self, arguments: &[&str]) -> Said {
        // `doctor` shows no customer's value.
        let shown: &[&str] = if arguments == ["doctor"] { &[] } else { &["--show-values"] };
        let arguments = [arguments, shown].concat();
        tokio::task::block_in_place(|| self.elsewhere.xtask(&self.shop, &arguments))
    }

    /// Before the next call of the tool reaches Firestore, a service writes this.
    fn meanwhile(&self, document: Document) {
        let services = self.services.clone();
        self.proxy.before_next(async move { services.set("users", &document).await.unwrap() });
    }

    async fn emptied(&self) {
        for collection in ["users", "user_sessions"] {
            let ids: Vec<String> = self.shop.documents(collection).await.into_keys().collect();
            self.services.delete(collection, &ids).await.unwrap();
        }
    }

    /// What stands there, as of which write.
    async fn versions(&self, ids: &[String]) -> BTreeMap<String, (Option<Fields>, Version)> {
        self.services.read_versions("users", ids).await.unwrap()
    }

    async fn ada(&self) -> Option<Fields> {
        self.services.read("users", &[ADA.to_string()]).await.unwrap().remove(0).1
    }

    #[track_caller]
    fn all_met(&self) {
        assert_eq!(self.proxy.left(), 0, "not everything that was planned has happened");
    }
}

fn document(id: &str, fields: &Fields) -> Document {
    let fields = fields.iter().map(|(name, value)| (&*name.clone().leak(), value.clone())).collect();
    Document { id: id.to_string(), fields }
}

/// As a service changes it.
fn changed(id: &str, fields: &Fields) -> Document {
    let mut fields = fields.clone();
    fields.insert("last_name".into(), Value::Text("theirs".into()));
    document(id, &fields)
}

/// A document of a service where one of ours should be.
fn theirs() -> Document {
    Document { id: ADA.into(), fields: vec![("last_name", Value::Text("theirs".into()))] }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_writes_between_look_and_write_is_left_alone() {
    let shop = Proxied::open().await;
    shop.meanwhile(theirs());
    let said = shop.xtask(&["migrate"]).expect_code(3);
    shop.all_met();
    assert_words(
        &said,
        &[
            "another client has written to Firestore meanwhile: 1 documents are not as this run writes them",
            &format!("users/{ADA}: "),
            HOW,
            "Stop who writes there",
            "migrate --resume",
        ],
    );
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("PROVEN"), "{}", said.stdout);
    let found = shop.ada().await.unwrap();
    assert_eq!(found, BTreeMap::from([("last_name".to_string(), Value::Text("theirs".into()))]));
    let others = shop.shop.documents("users").await.len();
    assert!(others > 10, "the others are written: {others}");
    // Values are a customer's.
    let said = tokio::task::block_in_place(|| shop.elsewhere.xtask(&shop.shop, &["import"]));
    assert_refused(
        "import",
        &said,
        &["last_name: expected string *** (8 characters), found string *** (6 characters)"],
    );
    assert!(!shop.shop.documents("user_sessions").await.is_empty());

    // Still there at the next look: nothing is written at all.
    let before = everything(&shop.shop).await;
    let said = shop.xtask(&["migrate", "--resume", "latest"]);
    assert_refused("resume", &said, &["holds 1 documents that are not this run's", ADA, HOW]);
    assert!(everything(&shop.shop).await == before, "something has changed");
    shop.services.delete("users", &[ADA.to_string()]).await.unwrap();
    shop.xtask(&["migrate", "--resume", "latest"]).expect_code(0);
    assert!(shop.ada().await.unwrap().len() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_tool_exports_is_refused_before_any_store_is_written() {
    let shop = Proxied::open().await;
    let before = targets(&shop.shop).await;
    let mut migrate = Tool::start(shop.elsewhere.command(&shop.shop, &["migrate", "--show-values"]));
    migrate.wait_for_words("Phases 1 and 2");
    migrate.signal(Signal::SIGSTOP);
    shop.services.set("users", &theirs()).await.unwrap();
    let stranger = Document { id: "stranger".into(), ..theirs() };
    shop.services.set("user_sessions", &stranger).await.unwrap();
    migrate.signal(Signal::SIGCONT);
    let said = tokio::task::block_in_place(|| migrate.ends_within(60));
    let words = [
        "another client has written to Firestore",
        &format!("users/{ADA}: "),
        HOW,
        "user_sessions/stranger: is not of this run",
        "No store has been changed",
        "migrate --resume",
    ];
    assert_refused("while it exports", &said, &words);
    shop.services.delete("users", &[ADA.to_string()]).await.unwrap();
    shop.services.delete("user_sessions", &["stranger".to_string()]).await.unwrap();
    assert!(targets(&shop.shop).await == before, "something has been written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_already_is_not_written_again() {
    let (shop, documents) = Proxied::migrated().await;
    let ids: Vec<String> = documents.keys().cloned().collect();
    shop.services.delete("users", &[ADA.to_string()]).await.unwrap();
    let before = shop.versions(&ids).await;
    shop.xtask(&["import"]).expect_code(0);
    let mut after = shop.versions(&ids).await;
    let ada = after.insert(ADA.to_string(), before[ADA].clone());
    assert_eq!(ada.unwrap().0, documents[ADA], "it is there again");
    assert!(after == before, "a document that was there has been written again");

    // Written by somebody between look and write, and equal: nobody can tell whose it is.
    shop.emptied().await;
    shop.meanwhile(document(ADA, documents[ADA].as_ref().unwrap()));
    shop.xtask(&["import"]).expect_code(0);
    shop.all_met();
    let mut others = shop.versions(&ids).await;
    let equal = others.remove(ADA).unwrap();
    assert_eq!(equal.0, documents[ADA]);
    let batch = others.values().map(|(_, version)| format!("{version:?}")).collect::<Vec<_>>();
    assert!(!batch.contains(&format!("{:?}", equal.1)), "it was written with the others");
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_what_is_all_there_asks_for_no_write() {
    let (shop, _) = Proxied::migrated().await;
    shop.proxy.set([WriteFault::Refused(Code::PermissionDenied)]);
    shop.xtask(&["import"]).expect_code(0);
    assert_eq!(shop.proxy.left(), 1, "something was to be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_and_different_is_refused() {
    let (shop, documents) = Proxied::migrated().await;
    shop.services.delete("users", &["nobody".to_string()]).await.unwrap();
    shop.services.set("users", &changed(ADA, documents[ADA].as_ref().unwrap())).await.unwrap();
    let missing = documents.keys().find(|id| *id != ADA).unwrap().clone();
    shop.services.delete("users", std::slice::from_ref(&missing)).await.unwrap();
    let before = everything(&shop.shop).await;
    let said = shop.xtask(&["import"]);
    let line = format!("users/{ADA}: {HOW}");
    assert_refused("import", &said, &["holds 1 documents that are not this run's", &line]);
    assert!(everything(&shop.shop).await == before, "something has changed");

    // Changed after the look, beside documents that are ours already.
    shop.services.set("users", &document(ADA, documents[ADA].as_ref().unwrap())).await.unwrap();
    let other = documents.keys().find(|id| *id != ADA && **id != missing).unwrap().clone();
    shop.meanwhile(Document { id: missing.clone(), ..theirs() });
    let said = shop.xtask(&["import"]).expect_code(3);
    shop.all_met();
    assert_words(&said, &[&format!("users/{missing}: "), "are left alone"]);
    let found = shop.shop.documents("users").await;
    assert_eq!(found[&missing].as_ref().unwrap().len(), 1, "it is theirs");
    assert_eq!(found[&other], documents[&other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_though_it_was_reported_as_failed_is_ours() {
    let (shop, documents) = Proxied::migrated().await;
    for fault in [
        WriteFault::Lost(Code::Unavailable),
        WriteFault::Lost(Code::DeadlineExceeded),
        WriteFault::Unconfirmed(1),
        WriteFault::Unconfirmed(2),
        WriteFault::ShortAnswer,
    ] {
        for code in [Code::AlreadyExists, Code::FailedPrecondition] {
            shop.emptied().await;
            // Whatever a server calls it when a document is there already.
            shop.proxy.set([fault, WriteFault::Unmet(code)]);
            let said = shop.xtask(&["import"]).expect_code(0);
            shop.all_met();
            assert!(shop.shop.documents("users").await == documents, "{fault:?} {code:?}: {}", said.stderr);
        }
    }
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_writes_before_a_call_is_repeated_is_seen() {
    let (shop, documents) = Proxied::migrated().await;
    let theirs = changed(ADA, documents[ADA].as_ref().unwrap());
    for code in [Code::AlreadyExists, Code::FailedPrecondition] {
        shop.emptied().await;
        shop.proxy.set([WriteFault::Lost(Code::Unavailable), WriteFault::Unmet(code)]);
        shop.proxy.before_next(async {});
        shop.meanwhile(theirs.clone());
        let said = shop.xtask(&["import"]).expect_code(3);
        shop.all_met();
        assert_words(&said, &["1 documents are not as this run writes them", &format!("users/{ADA}: {HOW}")]);
        assert_eq!(shop.ada().await.unwrap()["last_name"], Value::Text("theirs".into()), "{code:?}");
    }
}

/// Another name in the source: the documents of the run before have to give way.
async fn renamed(shop: &Shop, name: &str) {
    shop.source().await.run(&format!("UPDATE users SET timezone = '{name}'")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_while_it_is_replaced_is_left_alone() {
    let (shop, documents) = Proxied::migrated().await;
    renamed(&shop.shop, "first").await;
    shop.meanwhile(changed(ADA, documents[ADA].as_ref().unwrap()));
    let said = shop.xtask(&["migrate", "--replace"]).expect_code(3);
    shop.all_met();
    assert_words(
        &said,
        &[
            "another client has written to users while it was replaced",
            &format!("users/{ADA}: is not what run "),
            HOW,
            "they are left alone",
        ],
    );
    assert_eq!(shop.ada().await.unwrap()["last_name"], Value::Text("theirs".into()));
    assert_eq!(shop.shop.documents("users").await.len(), 1, "the others were removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_though_it_was_reported_as_failed_is_gone() {
    let (shop, documents) = Proxied::migrated().await;
    for (name, fault) in
        [("second", WriteFault::Lost(Code::Unavailable)), ("third", WriteFault::Unconfirmed(2))]
    {
        renamed(&shop.shop, name).await;
        shop.proxy.set([fault]);
        let said = shop.xtask(&["migrate", "--replace"]).expect_code(0);
        shop.all_met();
        let found = shop.shop.documents("users").await;
        assert!(found.keys().eq(documents.keys()), "{}", said.stderr);
        assert!(found.values().flatten().all(|fields| fields["timezone"] == Value::Text(name.into())));
        let journal = std::fs::read_to_string(shop.shop.latest().file("journal.jsonl")).unwrap();
        let removed = format!("{} documents of run", documents.len());
        assert!(journal.contains(&removed), "{removed}: {journal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_leaves_alone_what_is_written_meanwhile_and_knows_its_own() {
    let (shop, documents) = Proxied::migrated().await;
    let whole = documents[ADA].as_ref().unwrap();
    let mut damaged = whole.clone();
    damaged.insert("first_name".into(), Value::Text("Damaged".into()));
    // A call that was reported as failed: changed, made again and removed.
    let stranger = Document { id: "stranger".into(), ..theirs() };
    let gone = documents.keys().find(|id| *id != ADA).unwrap().clone();
    shop.services.set("users", &document(ADA, &damaged)).await.unwrap();
    shop.services.set("users", &stranger).await.unwrap();
    shop.services.delete("users", std::slice::from_ref(&gone)).await.unwrap();
    shop.proxy.set([WriteFault::Lost(Code::Unavailable); 2]);
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    shop.all_met();
    assert!(shop.shop.documents("users").await == documents);

    shop.services.set("users", &document(ADA, &damaged)).await.unwrap();
    shop.meanwhile(changed(ADA, whole));
    let said = shop.xtask(&["repair", "--apply"]).expect_code(3);
    shop.all_met();
    assert_words(&said, &[&format!("firestore users/{ADA}: conflict, left alone"), HOW]);
    assert_eq!(shop.ada().await.unwrap()["last_name"], Value::Text("theirs".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctors_probe_goes_whatever_was_reported() {
    let shop = Proxied::open().await;
    shop.proxy.set([WriteFault::Lost(Code::Unavailable), WriteFault::Refused(Code::Aborted)]);
    let said = shop.xtask(&["doctor"]);
    shop.all_met();
    assert_words(&said, &["written, read back and removed"]);
    assert!(shop.shop.documents("xtask_doctor").await.is_empty());
}

/// What comes to differ between the look and the import's own reading of it: neither ours nor written again.
#[tokio::test]
async fn a_document_in_our_place_counts_as_ours_only_if_it_is_the_same() {
    let shop = Shop::open(0).await;
    let collection = TABLES.iter().find_map(|table| table.collection()).unwrap();
    let name = |name: &str| vec![("last_name", Value::Text(name.into()))];
    let ours = ["same", "changed", "missing"].map(|id| Document { id: id.into(), fields: name("ours") });
    let services = shop.firestore().await;
    services.set(collection.name, &ours[0]).await.unwrap();
    services.set(collection.name, &Document { id: "changed".into(), fields: name("theirs") }).await.unwrap();
    let (sender, documents) = mpsc::channel(1);
    let (missing, mut written) = mpsc::channel(1);
    sender.send(ours.to_vec()).await.unwrap();
    drop(sender);
    let already = only_missing(&services, collection, 10, documents, missing).await.unwrap();
    assert_eq!(already.own, 1);
    assert_eq!(already.conflicts.iter().map(|conflict| &conflict.id).collect::<Vec<_>>(), ["changed"]);
    assert_eq!(written.recv().await.unwrap(), [ours[2].clone()]);
}
