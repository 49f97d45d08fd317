//! Every wait has an end: for a table that somebody keeps locked, and for an answer that never comes because
//! the connection was dropped without a word. And what pg_dump is told to connect to is taken as it is.

use crate::source::{Elsewhere, shop_with_a_service, state};
use crate::support::{Shop, assert_words};
use crate::tool::Tool;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use xtask::model::Database;

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_locked_table_says_for_whom() {
    let shop = shop_with_a_service().await;
    shop.xtask(&["migrate"]).expect_code(0);
    let mut busy = shop.target(Database::Order).await;
    busy.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let (cutover, verify) = (Tool::start(shop.command(&["cutover"])), Tool::start(shop.command(&["verify"])));
    for tool in [cutover, verify] {
        let said = tokio::task::block_in_place(|| tool.ends_within(60)).expect_code(1);
        let words = ["a table is locked, by", "keeps everybody out of orders", "(xtask test)", "ends it"];
        assert_words(&said, &words);
    }
    assert!(began.elapsed() > Duration::from_secs(30), "it is waited for");
    assert_eq!(state(&shop, "shop_app").await, (None, true), "the source is free again");
    assert!(shop.manifest().cutover.is_none());
}

/// A role that somebody else is changing cannot be kept out yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_waits_says_for_whom() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", "freeze_roles = [\"shop_app\"]");
    let mut busy = shop.source().await;
    busy.run("BEGIN; ALTER ROLE shop_app CONNECTION LIMIT 7").await.unwrap();
    let freeze = Tool::start(there.command(&shop, &["freeze"]));
    let said = tokio::task::block_in_place(|| freeze.ends_within(60)).expect_code(1);
    assert_words(&said, &["a role or the database is being changed, by", "(xtask test)", "ends it"]);
    busy.run("ROLLBACK").await.unwrap();
    assert_eq!(state(&shop, "shop_app").await, (None, true));
}

/// What becomes of the session that holds the snapshot when it is to end.
#[derive(Clone, Copy, PartialEq)]
enum Silence {
    /// Nothing passes any more, and nobody is told.
    Nothing,
    /// Besides, the server has seen it end.
    ServerGone,
}

/// A way to the source on which one session falls silent.
fn proxy(to: u16, silence: Silence) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            relay(client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap(), silence);
        }
    });
    port
}

fn relay(client: TcpStream, server: TcpStream, silence: Silence) {
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let (mut buffer, mut holder) = ([0; 65_536], false);
        let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        while let Ok(n @ 1..) = from_client.read(&mut buffer) {
            holder |= has(&buffer[..n], " snapshot ");
            if holder && has(&buffer[..n], "COMMIT") {
                if silence == Silence::ServerGone {
                    let _ = to_server.shutdown(Shutdown::Both);
                }
                // As long as the client keeps it open.
                while let Ok(1..) = from_client.read(&mut buffer) {}
                break;
            }
            if to_server.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            if to_client.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_dropped_without_a_word_ends() {
    let shop = Shop::open(0).await;
    for (silence, words) in
        [(Silence::Nothing, "waits for us (idle in transaction)"), (Silence::ServerGone, "of ours any more")]
    {
        let mut source = shop.settings.source.clone();
        source.port = proxy(source.port, silence);
        let there = Elsewhere::with_source(&shop, &source, "postgres", "");
        let export = Tool::start(there.command(&shop, &["export"]));
        let said = tokio::task::block_in_place(|| export.ends_within(90)).expect_code(1);
        assert_words(&said, &["no answer for 20 s", words, "limit for idle connections"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_no_connection_string() {
    let shop = Shop::open(0).await;
    for name in ["host=nowhere", "postgresql://nowhere/it's"] {
        let quoted = xtask::sql_text::ident(name);
        let mut superuser = shop.settings.source.clone();
        superuser.database = "postgres".into();
        let create = format!("CREATE DATABASE {quoted} TEMPLATE {}", shop.settings.source.database);
        shop.superuser(&superuser).await.run(&create).await.unwrap();
        let mut source = shop.settings.source.clone();
        source.database = name.into();
        let there = Elsewhere::with_source(&shop, &source, "postgres", "");
        there.xtask(&shop, &["backup"]).expect_code(0);
    }
}
