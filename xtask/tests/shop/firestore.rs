//! Documents on the real emulator: written, read back, counted, listed, deleted, refused.

use crate::support::emulator::Emulator;
use crate::tool::within;
use anyhow::Result;
use datapath::document::{Collection, Document, Field, Kind, Layout, NullPolicy, Value, differences};
use datapath::firestore::{Address, Fields, Firestore, Guarded, Limit, Pace, Since, Unconditional, Written};
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::google::firestore::v1::firestore_client::FirestoreClient;
use gcloud_sdk::google_cloud_auth::credentials::anonymous;
use gcloud_sdk::tonic::Code;
use gcloud_sdk::{GoogleApi, GoogleAuthMiddleware};
use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use xtask::effects::wait::{self, State};
use xtask::lab::faults::{FirestoreFaults, TcpFault, TcpFaults, WriteFault};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn address(host: &str, project: &str) -> Address {
    Address {
        project: project.to_owned(),
        database: "(default)".to_owned(),
        emulator: Some(host.to_owned()),
        credentials: None,
    }
}

const FIELDS: &[Field] = &[
    Field { name: "uid", kind: Kind::Text("") },
    Field { name: "name", kind: Kind::Text("nobody") },
    Field { name: "logins", kind: Kind::Integer(0) },
    Field { name: "verified", kind: Kind::Boolean(false) },
    Field { name: "created_at", kind: Kind::Time },
];
const USERS: Collection = Collection { name: "users", id: "uid", fields: FIELDS };

fn document(id: &str, name: &str) -> Document {
    let text = |text: &str| Value::Text(text.to_owned());
    Document { id: id.to_owned(), fields: vec![("uid", text(id)), ("name", text(name))] }
}

fn numbered(count: usize) -> Vec<Document> {
    (0..count).map(|n| document(&format!("u{n:06}"), "x")).collect()
}

fn ids(documents: &[Document]) -> Vec<String> {
    documents.iter().map(|document| document.id.clone()).collect()
}

/// Writes with small chunks from a producer of its own, as the import does.
async fn write(firestore: &Firestore, documents: Vec<Document>, pace: &Pace) -> Result<Written> {
    let (sender, receiver) = mpsc::channel(2);
    let producer = tokio::spawn(async move {
        for chunk in documents.chunks(70) {
            if sender.send(chunk.to_vec()).await.is_err() {
                break;
            }
        }
    });
    let written = firestore.write(USERS.name, receiver, pace, |_| {}).await;
    producer.await.unwrap();
    written
}

async fn list(firestore: &Firestore) -> Vec<String> {
    let mut all = Vec::new();
    let page = |ids: Vec<String>| {
        all.extend(ids);
        Ok(())
    };
    firestore.ids(USERS.name, page).await.unwrap();
    all
}

const CSV: &str = "\
id,uid,name,logins,verified,created_at,null_fields
1,u1,\"line
break, \"\"quotes\"\", \\N \\. 🦀 שלום\",9223372036854775807,t,2026-01-31 23:59:59.123456+00,
2,Ünï #?%&+ø,\"\",-1,f,1969-12-31 23:59:59.999999+00,
3,u3,,,,,name logins verified created_at
4,u4,x,0,t,0001-01-01 00:00:00+00,
5,u5,x,0,t,9999-12-31 23:59:59.999999+00,
";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_comes_back() {
    let emulator = Emulator::shared().await;
    for (policy, name) in
        [(NullPolicy::Default, Value::Text("nobody".to_owned())), (NullPolicy::Keep, Value::Null)]
    {
        let address = address(&emulator.host, &format!("every-kind-{policy:?}").to_lowercase());
        let firestore = Firestore::connect(&address).await.unwrap();
        let mut reader = csv::Reader::from_reader(CSV.as_bytes());
        let mut layout = Layout::new(reader.headers().unwrap(), &USERS, policy).unwrap();
        let documents: Vec<Document> =
            reader.records().map(|r| layout.document(&r.unwrap()).unwrap()).collect();

        let written = write(&firestore, documents.clone(), &Pace::for_emulator()).await.unwrap();
        assert_eq!(written, Written { documents: 5, ..Written::default() });

        let found = firestore.read(USERS.name, &ids(&documents)).await.unwrap();
        assert_eq!(found.len(), 5);
        for (document, (id, fields)) in documents.iter().zip(&found) {
            assert_eq!((&document.id, differences(document, fields.as_ref().unwrap())), (id, vec![]));
        }
        // '' stays '', NULL is what the policy says.
        assert_eq!(found[1].1.as_ref().unwrap()["name"], Value::Text(String::new()));
        assert_eq!(found[2].1.as_ref().unwrap()["name"], name);
        assert_eq!(found[2].1.as_ref().unwrap()["created_at"], Value::Null);
        assert_eq!(firestore.count(USERS.name).await.unwrap(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_somebody_wrote_to_since_is_left_alone() {
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "guarded")).await.unwrap();
    for id in ["quiet", "written", "deleted", "wanted-gone"] {
        firestore.set(USERS.name, &document(id, "before")).await.unwrap();
    }
    let all = ["quiet", "written", "deleted", "wanted-gone", "new", "taken"].map(String::from);
    let mut read = firestore.read_versions(USERS.name, &all).await.unwrap();
    let mut version = |id: &str| read.remove(id).unwrap().1;
    let set = |id: &str| Guarded::Set(document(id, "ours"));
    let changes = vec![
        (set("quiet"), version("quiet")),
        (set("written"), version("written")),
        (set("deleted"), version("deleted")),
        (Guarded::Delete("wanted-gone".into()), version("wanted-gone")),
        (set("new"), version("new")),
        (set("taken"), version("taken")),
    ];
    // Between reading and writing.
    firestore.set(USERS.name, &document("written", "theirs")).await.unwrap();
    firestore.set(USERS.name, &document("wanted-gone", "theirs")).await.unwrap();
    firestore.set(USERS.name, &document("taken", "theirs")).await.unwrap();
    firestore.delete(USERS.name, &["deleted".to_string()]).await.unwrap();

    let mut left = firestore.change(USERS.name, changes).await.unwrap();
    left.sort();
    assert_eq!(left, ["deleted", "taken", "wanted-gone", "written"]);
    let name = |fields: Option<Fields>| fields.map(|f| f["name"].clone());
    let found = firestore.read(USERS.name, &all).await.unwrap();
    let found: Vec<Option<Value>> = found.into_iter().map(|(_, fields)| name(fields)).collect();
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let (ours, theirs) = (text("ours"), text("theirs"));
    assert_eq!(found, [ours.clone(), theirs.clone(), None, theirs.clone(), ours, theirs]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_extra_and_different_documents_are_found() {
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "damage")).await.unwrap();
    assert_eq!(firestore.count(USERS.name).await.unwrap(), 0);
    assert!(list(&firestore).await.is_empty());
    assert_eq!(firestore.read(USERS.name, &[]).await.unwrap(), []);

    // More than two pages, and not a multiple of one.
    let documents = numbered(10_017);
    let written = write(&firestore, documents.clone(), &Pace::for_emulator()).await.unwrap();
    assert_eq!(written.documents, 10_017);
    assert_eq!(firestore.count(USERS.name).await.unwrap(), 10_017);
    assert_eq!(list(&firestore).await, ids(&documents));

    let gone = ids(&documents[5..8]);
    assert_eq!(firestore.delete(USERS.name, &gone).await.unwrap(), 3);
    let extra = document("u000009x", "x");
    firestore.set(USERS.name, &extra).await.unwrap();
    let mut changed = documents[9].clone();
    changed.fields[1].1 = Value::Integer(1);
    firestore.set(USERS.name, &changed).await.unwrap();

    let found = firestore.read(USERS.name, &ids(&documents[4..10])).await.unwrap();
    let there: Vec<bool> = found.iter().map(|(_, fields)| fields.is_some()).collect();
    assert_eq!(there, [true, false, false, false, true, true]);
    let twice = [gone[0].clone(), "u000001".to_owned(), gone[0].clone(), "u000001".to_owned()];
    let twice = firestore.read(USERS.name, &twice).await.unwrap();
    assert!(twice[..2] == twice[2..] && twice[1].1.is_some() && twice[2].1.is_none());
    let difference = differences(&documents[9], found[5].1.as_ref().unwrap());
    assert_eq!(difference[0].to_string(), "name: expected string \"x\", found integer 1");
    assert_eq!(firestore.count(USERS.name).await.unwrap(), 10_015);
    let listed = list(&firestore).await;
    assert_eq!(listed[6..8], ["u000009", "u000009x"]);
    assert_eq!(listed.len(), 10_015);
}

/// A client that shares no code with ours.
async fn foreign(host: &str) -> FirestoreClient<GoogleAuthMiddleware> {
    let (url, nobody) = (format!("http://{host}"), anonymous::Builder::new().build());
    let api = GoogleApi::from_function_with_credentials(FirestoreClient::new, url, None, nobody);
    api.await.unwrap().get()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_described() {
    use fs::value::ValueType::{ArrayValue, DoubleValue, MapValue};
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "foreign")).await.unwrap();
    let value = |value| fs::Value { value_type: Some(value) };
    let one = value(DoubleValue(1.0));
    let fields = HashMap::from([
        ("array".to_owned(), value(ArrayValue(fs::ArrayValue { values: vec![one.clone()] }))),
        ("map".to_owned(), value(MapValue(fs::MapValue::default()))),
        ("number".to_owned(), one),
    ]);
    let request = fs::CreateDocumentRequest {
        parent: "projects/foreign/databases/(default)/documents".to_owned(),
        collection_id: USERS.name.to_owned(),
        document_id: "u1".to_owned(),
        document: Some(fs::Document { fields, ..Default::default() }),
        ..Default::default()
    };
    foreign(&emulator.host).await.create_document(request).await.unwrap();

    let found = firestore.read(USERS.name, &["u1".to_owned()]).await.unwrap();
    let shown: BTreeMap<&str, String> =
        found[0].1.iter().flatten().map(|(field, value)| (field.as_str(), value.to_string())).collect();
    let expected = [("array", "array of 1"), ("map", "map of 0"), ("number", "double 1.0")];
    assert_eq!(shown, expected.map(|(k, v)| (k, v.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_written_since_an_instant_is_told() {
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "since")).await.unwrap();
    // Of an empty collection, too.
    let empty = firestore.instant(USERS.name).await.unwrap();
    write(&firestore, numbered(12), &Pace::for_emulator()).await.unwrap();
    let then = firestore.instant(USERS.name).await.unwrap();
    assert!(empty < then);
    let since = async |then| {
        let (mut written, mut all) = (Vec::new(), 0);
        let tell = |id, since| {
            all += 1;
            written.extend((since == Since::Written).then_some(id));
            Ok(())
        };
        firestore.since(USERS.name, then, tell).await.unwrap();
        (written, all)
    };
    assert_eq!(since(then).await, (vec![], 12));
    let ids = ids(&numbered(12));
    // Another value, a new one; the same again is no change to the server either; and one that is gone is not told.
    let again = vec![document(&ids[3], "other"), numbered(12).remove(5), document("new", "new")];
    let wanted = [&ids[..], &["new".to_string()]].concat();
    let versions = firestore.read_versions(USERS.name, &wanted).await.unwrap();
    let mut changes: Vec<_> = again
        .into_iter()
        .map(|d| (versions[&d.id].1.clone(), Guarded::Set(d)))
        .map(|(v, d)| (d, v))
        .collect();
    changes.push((Guarded::Delete(ids[7].clone()), versions[&ids[7]].1.clone()));
    assert!(firestore.change(USERS.name, changes).await.unwrap().is_empty());
    let mut told = vec![ids[3].clone(), "new".to_string()];
    told.sort_unstable();
    assert_eq!(since(then).await, (told, 12));
    assert_eq!(since(empty).await.0.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_document_never_costs_another() {
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "one-bad")).await.unwrap();
    let mut documents = numbered(450);
    documents.insert(222, document("__x__", "x"));
    documents.insert(333, document("too-large", &"x".repeat(1_048_488)));
    documents.insert(400, document("fits-in-no-call", &"x".repeat(5_000_000)));
    documents.insert(410, document("double", "x"));
    documents[410].fields[1].1 = Value::Other("double 1.0".to_owned());
    let told = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = mpsc::channel(1);
    let chunk = tokio::spawn(async move { sender.send(documents).await });
    let counter = Arc::clone(&told);
    let count = move |documents| {
        counter.fetch_add(documents, Ordering::Relaxed);
    };
    let written = firestore.write(USERS.name, receiver, &Pace::for_emulator(), count).await.unwrap();
    chunk.await.unwrap().unwrap();

    assert_eq!((written.documents, written.retried), (450, 0));
    let mut rejected = written.rejected;
    rejected.sort_by(|a, b| a.id.cmp(&b.id));
    let names: Vec<_> = rejected.iter().map(|r| (r.id.as_str(), r.code)).collect();
    let expected = ["__x__", "double", "fits-in-no-call", "too-large"];
    assert_eq!(names, expected.map(|id| (id, "INVALID_ARGUMENT")), "{rejected:?}");
    assert_eq!(rejected[1].message, "field name: double 1.0 cannot be written");
    assert_eq!(told.load(Ordering::Relaxed), 450);
    assert_eq!(firestore.count(USERS.name).await.unwrap(), 450);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_documents_share_no_call_that_is_too_large() {
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "large")).await.unwrap();
    let large = "x".repeat(1_000_000);
    let documents: Vec<Document> = (0..20).map(|n| document(&format!("u{n}"), &large)).collect();
    let pace = Pace { workers: 2, ..Pace::for_emulator() };
    let written = write(&firestore, documents.clone(), &pace).await.unwrap();
    assert_eq!(written, Written { documents: 20, ..Written::default() });
    // 20 MB in one answer: a document a message.
    let found = firestore.read(USERS.name, &ids(&documents)).await.unwrap();
    assert!(documents.iter().zip(&found).all(|(d, (_, f))| differences(d, f.as_ref().unwrap()).is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_for_all_workers_together() {
    let emulator = Emulator::shared().await;
    let firestore = Firestore::connect(&address(&emulator.host, "limit")).await.unwrap();
    let limit = Limit { start: 1_000.0, ..Limit::up_to(1_000.0) };
    let pace = Pace { batch: 20, limit: Some(limit), ..Pace::for_emulator() };
    let start = Instant::now();
    write(&firestore, numbered(500), &pace).await.unwrap();
    // The 25 batches leave 20 ms apart.
    assert!(start.elapsed() >= Duration::from_millis(480), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn says_where_nobody_answers() {
    let host = format!("127.0.0.1:{}", free_port());
    let error = Firestore::connect(&address(&host, "nobody")).await.err().unwrap();
    let message = format!("{error:#}");
    assert!(message.contains(&format!("the Firestore emulator at {host}")), "{message}");

    let key = std::path::PathBuf::from("/does/not/exist.json");
    let google = Address { emulator: None, credentials: Some(key), ..address("", "nobody") };
    let error = Firestore::connect(&google).await.err().unwrap();
    let message = format!("{error:#}");
    assert!(message.contains("/does/not/exist.json"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_ends_the_write_with_an_error() {
    let emulator = Emulator::start().await;
    let firestore = Firestore::connect(&address(&emulator.host, "dies")).await.unwrap();
    let host = emulator.host.clone();
    let (sender, receiver) = mpsc::channel(1);
    let pace = Pace { attempts: 3, ..Pace::for_emulator() };
    let mut emulator = Some(emulator);
    let (first, mut wrote) = mpsc::unbounded_channel();
    let producer = tokio::spawn(async move {
        let mut sent = 0_usize;
        while sender.send(numbered(200)).await.is_ok() {
            sent += 1;
            if sent == 20 {
                wrote.recv().await.unwrap();
                drop(emulator.take());
            }
        }
        sent
    });
    let told = move |documents| {
        let _ = first.send(documents);
    };
    let error = firestore.write(USERS.name, receiver, &pace, told).await.unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("given up after 3 attempts") && message.contains(&host), "{message}");
    assert!(producer.await.unwrap() >= 20, "the producer is told by a failing send");
}

/// The environment of this test's process cannot be changed safely: a child runs a test in one
/// that names decoys.
#[test]
fn the_environment_chooses_no_server() {
    let decoy = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "firestore::every_kind_comes_back"])
        .env("FIRESTORE_EMULATOR_HOST", decoy.local_addr().unwrap().to_string())
        .env("GOOGLE_APPLICATION_CREDENTIALS", "/does/not/exist.json")
        .env("GOOGLE_CLOUD_PROJECT", "decoy")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    decoy.set_nonblocking(true).unwrap();
    assert!(decoy.accept().is_err(), "somebody connected to the decoy");
}

/// Everything that passes sooner or later: each document arrives once, whatever became of the calls.
#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_cost_no_document() {
    let emulator = Emulator::shared().await;
    let proxy = FirestoreFaults::start(&emulator.host).await.unwrap();
    let firestore = Firestore::connect(&address(&proxy.address(), "demo-faults")).await.unwrap();
    let faults = [
        WriteFault::Refused(Code::Unavailable),
        WriteFault::Lost(Code::Unavailable),
        WriteFault::Refused(Code::ResourceExhausted),
        WriteFault::Refused(Code::Aborted),
        WriteFault::Lost(Code::DeadlineExceeded),
        WriteFault::Some(3),
        WriteFault::Some(1),
        WriteFault::ShortAnswer,
        WriteFault::Hang,
    ];
    proxy.set(faults);
    let documents = numbered(4_000);
    let pace = Pace { timeout: Duration::from_secs(2), ..Pace::for_emulator() };
    let written = write(&firestore, documents.clone(), &pace).await.unwrap();
    assert_eq!(proxy.left(), 0, "not every fault was met");
    assert_eq!((written.documents, written.rejected.len()), (4_000, 0));
    assert!(written.retried > 0);
    assert_eq!(list(&firestore).await, ids(&documents));
    for piece in documents.chunks(500) {
        let found = firestore.read(USERS.name, &ids(piece)).await.unwrap();
        for (document, (_, fields)) in piece.iter().zip(found) {
            assert_eq!(differences(document, &fields.unwrap()), []);
        }
    }
}

/// A connection that is cut in the middle of a write.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_costs_no_document() {
    let emulator = Emulator::shared().await;
    let proxy = TcpFaults::start(emulator.host.clone()).await.unwrap();
    let host = format!("127.0.0.1:{}", proxy.port());
    let firestore = Firestore::connect(&address(&host, "demo-cut")).await.unwrap();
    let documents = numbered(4_000);
    proxy.set(TcpFault::CutAfter(100_000));
    let healed = async {
        // Cut, and so for a while.
        let cut = wait::for_state("the connection to be cut", within(60, 5), async || {
            Ok(if proxy.spent() { State::Ready(()) } else { State::NotYet("it is not") })
        });
        cut.await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(TcpFault::None);
    };
    let pace = Pace::for_emulator();
    let (written, ()) = tokio::join!(write(&firestore, documents.clone(), &pace), healed);
    assert_eq!(written.unwrap().documents, 4_000);
    assert_eq!(list(&firestore).await, ids(&documents));
}
