//! The shop's services on real stores, and `smoke` over them: green, with each failure provoked, and what it makes taken
//! back in every case. One shop is enough: whatever a case has made must be gone before the next one.

use crate::source::Elsewhere;
use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::{Place, Tool, command_lines, targets, within};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::Row;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use xtask::checks::smoke::Side;
use xtask::effects::http::{Answered, Call, Http};
use xtask::effects::wait::{self, State};
use xtask::lab::shop_services::ShopServices;
use xtask::model::{Database, Service};
use xtask::run::dir::load_journal;
use xtask::sql_text::literal;

const SMOKE: [&str; 3] = ["smoke", "--wait", "5s"];

/// The services' program, which the workspace builds beside the tool.
fn program() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_xtask")).with_file_name("shop-services");
    assert!(program.is_file(), "{} is not there: `cargo build --workspace`", program.display());
    program
}

/// A shop with its services, and the environment that says where they answer.
struct Town {
    shop: Shop,
    env: Elsewhere,
    home: tempfile::TempDir,
    services: Option<ShopServices>,
}

impl Town {
    async fn open() -> Town {
        let shop = Shop::open(0).await;
        let env = Elsewhere::new(&shop, &shop.settings.source.user, "");
        Town { shop, env, home: tempfile::tempdir().unwrap(), services: None }
    }

    async fn start(&mut self, side: Side) {
        let services = ShopServices::start(&program(), &self.shop.settings, side, self.home.path()).await;
        self.services = Some(services.unwrap());
        self.says(&[]);
    }

    async fn stop(&mut self) {
        self.services.take().unwrap().stop().await.unwrap();
    }

    fn running(&self) -> &ShopServices {
        self.services.as_ref().unwrap()
    }

    /// What the environment says of the services, with something else in the place of some of it.
    fn says(&self, instead: &[(&str, &str)]) {
        let services = &self.running().services;
        let mut text = String::from("[services]\ntoken = { env = \"SMOKE_TOKEN\" }\n");
        services.endpoints.iter().for_each(|(one, url)| text += &format!("{} = \"{url}\"\n", one.key()));
        text += "[services.logs]\n";
        services
            .logs
            .iter()
            .for_each(|(one, log)| text += &format!("{} = \"{}\"\n", one.key(), log.display()));
        for (from, to) in instead {
            assert!(text.contains(from), "{from}: {text}");
            text = text.replacen(from, to, 1);
        }
        self.env.set_policy(&text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.command(&self.shop, arguments);
        command.env("SMOKE_TOKEN", self.running().token.expose_secret());
        command
    }

    fn smoke(&self, more: &[&str]) -> Said {
        self.command(&[&SMOKE[..], more].concat()).output().unwrap().into()
    }

    fn endpoint(&self, service: Service) -> &str {
        &self.running().services.endpoints[&service]
    }

    /// All that the stores hold, but for where sequences stand: numbers are given out in vain.
    async fn content(&self) -> Vec<String> {
        let all = targets(&self.shop).await.join("\n");
        all.lines().filter(|line| !line.contains("last_value")).map(String::from).collect()
    }

    async fn ask(&self, service: Service, request: &str, body: Value, token: Option<&str>) -> Answered {
        let (method, path) = request.split_once(' ').unwrap();
        let call = Call {
            method: method.parse().unwrap(),
            url: reqwest::Url::parse(self.endpoint(service)).unwrap().join(path).unwrap(),
            request_id: "by hand".to_string(),
            token: token.map(|token| token.to_string().into()),
            body: Some(body.to_string()),
        };
        Http::new().unwrap().send(&call).await.unwrap()
    }

    async fn alter(&self, database: Database, statement: &str) {
        self.shop.target(database).await.run(statement).await.unwrap();
    }

    /// A scenario of its own.
    fn scenario(&self, text: &str) -> String {
        let path = self.home.path().join("own.toml");
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// The whole story: the old services before and after, the new ones in between; nothing stays.
#[test]
fn a_rehearsal_with_services() {
    let place = Place::new();
    let said =
        place.start(&["rehearse", "--full", "--services", "--scale", "0"]).ends_within(240).expect_code(0);
    let smoked: Vec<&str> =
        said.stderr.lines().filter_map(|line| line.strip_prefix("✓ SMOKED ")?.split(',').next()).collect();
    let (old, new) = ("old services: 16 passed", "new services: 17 passed");
    let expected = [old, old, new, new, new, new, old, old];
    assert_eq!(
        smoked, expected,
        "also with the rights that are left, and the verdict twice each: {}",
        said.stderr
    );
    let operated = ["forbidden things were tried and refused", "✓ RESTORED 4 of 4 backups, equal"];
    assert!(operated.iter().all(|words| said.stderr.contains(words)), "{}", said.stderr);
    place.assert_empty();

    // They end with it: its child would hold the sessions of a shop that is not there any more.
    let mut killed = place.start(&["rehearse", "--full", "--services", "--scale", "0"]);
    killed.wait_for_words("Smoke: the services answer");
    let services = || -> Vec<u32> {
        let lines = command_lines().into_iter();
        let ours =
            lines.filter(|(pid, line)| line.contains("shop-services ") && is_child(*pid, killed.pid()));
        ours.map(|(pid, _)| pid).collect()
    };
    let running = services();
    assert_eq!(running.len(), 4, "{running:?}");
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.ends_within(5).code, None);
    let gone = wait::for_state_blocking("the end of the services", within(10, 10), || {
        let left: Vec<u32> = running.iter().copied().filter(|pid| is_there(*pid)).collect();
        Ok(if left.is_empty() { State::Ready(()) } else { State::NotYet(format!("{left:?}")) })
    });
    gone.unwrap();
}

/// Refused before a server is started.
#[test]
fn a_rehearsal_whose_services_are_not_built() {
    let lonely = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let tool = lonely.path().join("xtask");
    fs::hard_link(env!("CARGO_BIN_EXE_xtask"), &tool).unwrap();
    let said = Command::new(&tool).args(["rehearse", "--services", "--scale", "0"]).output().unwrap();
    let words =
        ["the shop's services are not built", "shop-services is not there", "`cargo build --workspace`"];
    assert_refused("not built", &said.into(), &words);
}

fn is_child(pid: u32, parent: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map(|(_, after)| after.to_string()).unwrap_or_default();
    after.split_whitespace().nth(1) == Some(&parent.to_string())
}

/// Not ended, nor waiting to be reaped.
fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, after)| !after.trim_start().starts_with(['Z', 'X']))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_are_smoked_and_nothing_is_left_of_it() {
    let mut town = Town::open().await;
    on_the_old_database(&mut town).await;
    town.env.xtask(&town.shop, &["migrate", "--quiet"]).expect_code(0);
    town.env.xtask(&town.shop, &["cutover", "--quiet"]).expect_code(0);
    town.start(Side::New).await;
    let before = town.content().await;

    green(&town).await;
    assert_eq!(town.content().await, before);
    what_is_refused_before_anything_is_asked(&town);
    services_that_do_not_answer(&town);
    a_wrong_token(&town);
    assert_eq!(town.content().await, before);
    a_service_that_fails(&town).await;
    a_request_that_is_not_logged(&town).await;
    an_unknown_product(&town);
    an_answer_that_is_lost(&town);
    an_answer_without_an_id(&town).await;
    what_does_not_go_away(&town).await;
    assert_eq!(town.content().await, before, "the clean-up after a failure");
    interrupted(&town).await;
    assert_eq!(town.content().await, before, "the clean-up after an interruption");
    what_is_kept(&town).await;
    assert_eq!(town.content().await, before, "what is left is taken away by what was said");
    foreign_ids(&town).await;

    let endpoints = town.running().services.endpoints.clone();
    town.stop().await;
    for (service, endpoint) in endpoints {
        let address = endpoint.strip_prefix("http://").unwrap().split('/').next().unwrap();
        assert!(std::net::TcpStream::connect(address).is_err(), "{service} is still there");
    }
    // Its rows are the run's still.
    town.alter(Database::Gateway, "DELETE FROM api_logs WHERE request_id = 'by hand'").await;
    assert_eq!(town.content().await, before);
}

async fn on_the_old_database(town: &mut Town) {
    town.start(Side::Old).await;
    let count = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items), \
                 (SELECT count(*) FROM product_reviews), (SELECT count(*) FROM system_logs)";
    let mut source = town.shop.source().await;
    let row = source.row(count).await.unwrap();
    let before: Vec<i64> = (0..4).map(|n| row.get(n)).collect();
    let said = town.smoke(&["--old"]).expect_code(0);
    says(
        &said,
        &["✓ SMOKED old services: 16 passed, 0 failed, 0 not looked at", "the order is in its database"],
    );
    assert_words(&said, &["no run here is cut over: nothing is noted"]);
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    // The same services are not those of the new stores.
    let said = town.smoke(&["answers"]).expect_code(3);
    says(&said, &["FAIL", "no line of the log of user-service holds \"Firestore connected\""]);
    // Where nobody could look, that is no finding; what was made is taken back all the same.
    let said = town.smoke(&["order-and-review"]).expect_code(1);
    assert_words(
        &said,
        &["relation \"orders\" does not exist", "undo it with `psql", "DELETE FROM api_logs WHERE"],
    );
    let row = source.row(count).await.unwrap();
    let after: Vec<i64> = (0..4).map(|n| row.get(n)).collect();
    assert_eq!(after[..3], before[..3]);
    town.stop().await;
}

async fn green(town: &Town) {
    let junit = town.home.path().join("smoke.xml");
    let said = town.smoke(&["--json", "--junit", junit.to_str().unwrap()]).expect_code(0).json();
    let of = |key: &str| said[key].as_u64().unwrap();
    assert_eq!((of("passed"), of("failed"), of("not_looked_at")), (17, 0, 0), "{said}");
    let checks = said["checks"].as_array().unwrap();
    let order = checks.iter().find(|check| check["name"] == "create an order").unwrap();
    assert_eq!((&order["verdict"], &order["status"]), (&json!("PASS"), &json!(201)));
    assert!(checks.iter().any(|check| check["name"] == "user-service is connected to Firestore"));
    let cases = xml(town, &junit, "//testcase/@name").await;
    assert_eq!(cases.len(), 17, "{cases:?}");
    assert_eq!(xml(town, &junit, "/testsuites/@failures").await, ["0"]);

    let run = town.shop.latest();
    let journal = load_journal(run.path()).unwrap();
    let noted = journal.commands.iter().find(|command| command.whole.step.to_string() == "smoke").unwrap();
    assert!(noted.only_looks());
    let text = fs::read_to_string(run.file("journal.jsonl")).unwrap();
    assert!(text.contains("new services: 17 passed, 0 failed, 0 not looked at"), "{text}");

    // Only those that are named; and nothing at all.
    let said = town.smoke(&["answers"]).expect_code(0);
    says(&said, &["✓ SMOKED new services: 8 passed"]);
    assert_words(&said, &[&format!("next: cargo xtask verify --run {}", run.id())]);
    let before = fs::read_to_string(run.file("journal.jsonl")).unwrap();
    let said = town.smoke(&["--dry-run"]).expect_code(0);
    says(&said, &["POST /api/orders of api-gateway, 201; taken back by DELETE /api/orders/{order}"]);
    assert_eq!(fs::read_to_string(run.file("journal.jsonl")).unwrap(), before);
    // A log that nobody names is not one that was looked into.
    let named = format!("user = \"{}\"\n", town.running().services.logs[&Service::User].display());
    town.says(&[(&named, "")]);
    let said = town.smoke(&["answers"]).expect_code(0);
    says(&said, &["7 passed, 0 failed, 1 not looked at", "[services.logs] user = \"path\""]);
    town.says(&[]);
}

/// What XPath finds in a file, by PostgreSQL's parser.
async fn xml(town: &Town, path: &std::path::Path, xpath: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split_once("?>").unwrap().1;
    let query =
        format!("SELECT unnest(xpath({}, xmlparse(document {})))::text", literal(xpath), literal(text));
    let rows = town.shop.source().await.rows(&query).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn what_is_refused_before_anything_is_asked(town: &Town) {
    let head = "about = \"a\"\n\n[[steps]]\nname = \"s\"\n";
    for (text, line, words) in [
        ("about = \n", 1, "string"),
        (
            &format!("{head}request = \"GET /\"\nservice = \"gateway\"\nstatus = 200\nstatsu = 1\n"),
            8,
            "statsu",
        ),
        (&format!("{head}request = \"GET /\"\nservice = \"gatway\"\nstatus = 200\n"), 6, "gatway"),
        (&format!("{head}request = \"FETCH /\"\nservice = \"gateway\"\nstatus = 200\n"), 3, "\"FETCH /\""),
        (
            &format!("{head}request = \"GET /{{order}}\"\nservice = \"gateway\"\nstatus = 200\n"),
            3,
            "captures {order}",
        ),
        (&format!("{head}rows = \"order\"\n"), 3, "its SQL needs order"),
        (&format!("{head}log = \"user\"\n"), 3, "what has the log to hold?"),
        (&format!("{head}status = 200\n"), 3, "one of request"),
    ] {
        let path = town.scenario(text);
        let said = town.smoke(&[&path]);
        assert_refused(text, &said, &[&format!("own.toml line {line}: "), words]);
    }
    assert_refused("name", &town.smoke(&["order-and-revue"]), &["order-and-revue.toml", "answers"]);
    let nowhere = town.home.path().join("nowhere/smoke.xml");
    let said = town.smoke(&["--junit", nowhere.to_str().unwrap()]);
    assert_refused("junit", &said, &["nowhere/smoke.xml cannot be written"]);

    let mut command = town.command(&SMOKE);
    let said = command.env_remove("SMOKE_TOKEN").output().unwrap().into();
    assert_refused("token", &said, &["services.token comes from $SMOKE_TOKEN, which is not set"]);
    // Nobody else is refused for want of it.
    let shown: Said = town.command(&["config", "show"]).env_remove("SMOKE_TOKEN").output().unwrap().into();
    says(&shown.expect_code(0), &["services.token", "(secret, NOT SET)"]);
    town.says(&[("token = { env = \"SMOKE_TOKEN\" }\n", "")]);
    assert_refused(
        "none",
        &town.smoke(&[]),
        &["order-and-review wants the test token", "[services] token ="],
    );
    town.says(&[("{ env = \"SMOKE_TOKEN\" }", "\"hunter2\"")]);
    let said = town.smoke(&[]);
    assert_refused("written down", &said, &["`services.token` has to be named, never written down"]);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    town.env.set_policy("");
    assert_refused("nowhere", &town.smoke(&["answers"]), &["does not say where the services answer"]);
    town.env.set_policy("confirm = true\n[services]\ngateway = \"http://127.0.0.1:1/\"");
    assert_refused("confirm", &town.smoke(&["answers"]), &["--confirm shop/ecommerce_db"]);
    town.says(&[]);
}

fn services_that_do_not_answer(town: &Town) {
    let junit = town.home.path().join("down.xml");
    let gateway = town.endpoint(Service::Gateway).to_string();
    town.says(&[(&gateway, "http://127.0.0.1:1/health")]);
    let said = town.command(&["smoke", "--wait", "1s", "--junit", junit.to_str().unwrap()]).output().unwrap();
    let said = Said::from(said).expect_code(3);
    says(&said, &["✗ FAILED new services", "FAIL           ready: api-gateway answers"]);
    says(&said, &["waited 1 s for http://127.0.0.1:1/health; the last that was seen: Connection refused"]);
    says(&said, &["not looked at  order-and-review: create an order", "api-gateway does not answer"]);
    let text = fs::read_to_string(&junit).unwrap();
    assert!(
        text.contains("<failure message=\"waited 1 s for") && text.contains("<skipped message="),
        "{text}"
    );
    // It answers, and not well.
    let products = town.endpoint(Service::Product).to_string();
    town.says(&[(&products, &products.replace("/products", "/nothing"))]);
    let said = town.command(&["smoke", "--wait", "1s", "answers"]).output().unwrap();
    says(&Said::from(said).expect_code(3), &["the last that was seen: status 404", "  404  "]);
    town.says(&[]);
}

fn a_wrong_token(town: &Town) {
    let mut command = town.command(&SMOKE);
    let said = Said::from(command.env("SMOKE_TOKEN", "not-the-token").output().unwrap()).expect_code(3);
    says(&said, &["FAIL           order-and-review: create an order", "status 201 expected, 401 found"]);
    says(&said, &["it answered: {\"reason\":\"this bearer token is not known\"}"]);
    says(&said, &["not looked at  order-and-review: create a review", "it comes after `create an order`"]);
    says(&said, &["log of api-gateway: POST /api/orders 401 xtask-smoke-"]);
    assert!(!said.stdout.contains("not-the-token") && !said.stderr.contains("not-the-token"));
}

async fn a_service_that_fails(town: &Town) {
    town.alter(Database::Order, "ALTER TABLE order_items RENAME COLUMN final_price TO last_price").await;
    let junit = town.home.path().join("failed.xml");
    let said = town.smoke(&["--junit", junit.to_str().unwrap()]).expect_code(3);
    says(&said, &["FAIL           order-and-review: create an order", "status 201 expected, 500 found"]);
    says(&said, &["this service failed: its log says why", "log of order-service: POST /api/orders 500"]);
    assert_eq!(xml(town, &junit, "//testcase[failure]/@name").await, ["create an order"]);
    let why = xml(town, &junit, "//failure/text()").await.concat();
    assert!(why.contains("log of order-service: POST /api/orders 500"), "{why}");
    let run = town.shop.latest();
    let noted = fs::read_to_string(run.file("journal.jsonl")).unwrap();
    assert!(noted.contains("1 failed"), "{noted}");
    town.alter(Database::Order, "ALTER TABLE order_items RENAME COLUMN last_price TO final_price").await;
}

async fn a_request_that_is_not_logged(town: &Town) {
    town.alter(Database::Gateway, "ALTER TABLE api_logs RENAME COLUMN latency_ms TO milliseconds").await;
    let said = town.smoke(&["order-and-review"]).expect_code(3);
    says(&said, &["PASS           order-and-review: the order is in its database"]);
    says(
        &said,
        &[
            "FAIL           order-and-review: its request is in the gateway's log",
            "1 row expected in gateway",
        ],
    );
    says(&said, &["0 found: SELECT count(*) AS found FROM api_logs WHERE request_id = 'xtask-smoke-"]);
    says(
        &said,
        &["log of api-gateway: error: this request is not logged", "log of user-service: GET /users/*** 200"],
    );
    says(&said, &["PASS           order-and-review: what it made is taken back"]);
    town.alter(Database::Gateway, "ALTER TABLE api_logs RENAME COLUMN milliseconds TO latency_ms").await;
}

/// An order with a review of a product that nobody sells.
const UNKNOWN_PRODUCT: &str = r#"
about = "a review of nothing"

[[steps]]
name = "a product"
request = "GET /products"
service = "product"
status = 200
capture = { product = "/0/id" }

[[steps]]
name = "an order"
request = "POST /api/orders"
service = "gateway"
token = true
body = { items = [{ product_id = "{product}", quantity = 1 }] }
status = 201
capture = { order = "/id" }
undo = "DELETE /api/orders/{order}"

[[steps]]
name = "a review of nothing"
request = "POST /api/products/2147483647/reviews"
service = "gateway"
token = true
body = { order_id = "{order}", rating = 5, title = "secret of a customer", comment = "{mark}" }
status = 201
capture = { review = "/id" }
undo = "DELETE /api/products/2147483647/reviews/{review}"
"#;

fn an_unknown_product(town: &Town) {
    let path = town.scenario(UNKNOWN_PRODUCT);
    let said = town.smoke(&[&path]).expect_code(3);
    says(&said, &["PASS           own: an order", "FAIL           own: a review of nothing", "404"]);
    says(&said, &["{\"reason\":\"product 2147483647 is not there\"}"]);
    says(&said, &["PASS           own: what it made is taken back"]);
}

/// What took the request may have done it, or not.
fn an_answer_that_is_lost(town: &Town) {
    let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gateway.local_addr().unwrap();
    // It is well, and says nothing to what is asked of it.
    std::thread::spawn(move || {
        for connection in gateway.incoming() {
            let mut connection = connection.unwrap();
            let mut head = [0; 4];
            connection.read_exact(&mut head).unwrap();
            if &head == b"GET " {
                connection
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        }
    });
    let own = town.endpoint(Service::Gateway).to_string();
    town.says(&[(&own, &format!("http://{address}/health"))]);
    let path = town.scenario(UNKNOWN_PRODUCT);
    let said = town.smoke(&[&path]).expect_code(3);
    says(&said, &["FAIL           own: an order", "POST /api/orders of api-gateway: "]);
    says(&said, &["whether it was done is not known; its id is xtask-smoke-"]);
    town.says(&[]);
}

/// What was made stays then, and that is said.
async fn an_answer_without_an_id(town: &Town) {
    let path = town
        .scenario(&UNKNOWN_PRODUCT.replace("capture = { order = \"/id\" }", "capture = { order = \"/nr\" }"));
    let said = town.smoke(&[&path]).expect_code(3);
    says(&said, &["FAIL           own: an order", "the answer has no /nr, which is order"]);
    says(&said, &["it was done, and cannot be taken back without that; its id is xtask-smoke-"]);
    let made = "WITH made AS (DELETE FROM orders WHERE id = (SELECT max(id) FROM orders) RETURNING created_at) \
                SELECT created_at > now() - interval '1 minute' FROM made";
    let row = town.shop.target(Database::Order).await.row(made).await.unwrap();
    assert!(row.get::<bool, _>(0), "the order was made, and stayed");
}

/// A service that answers and does not do it.
async fn what_does_not_go_away(town: &Town) {
    let keeps = "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
                 CREATE TRIGGER keeps BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION keeps()";
    town.alter(Database::Order, keeps).await;
    let said = town.smoke(&["order-and-review"]).expect_code(3);
    says(&said, &["FAIL           order-and-review: what it made is taken back"]);
    says(&said, &["`the order is in its database`: 1 rows are still in order (order_user@"]);
    town.alter(Database::Order, "DROP FUNCTION keeps() CASCADE").await;
    town.alter(Database::Order, "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders)").await;
}

/// While a review is on its way: the answer comes after the signal, and is taken back with the order before it.
async fn interrupted(town: &Town) {
    let mut product = town.shop.target(Database::Product).await;
    product.run("BEGIN; LOCK TABLE product_reviews IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut tool = Tool::start(town.command(&["smoke", "order-and-review"]));
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'product-service' \
                   AND wait_event_type = 'Lock'";
    let mut look = town.shop.target(Database::Product).await;
    let review = wait::for_state("the review on its way", within(60, 10), async || {
        let waits: i64 = look.row(waiting).await?.get(0);
        Ok(if waits == 1 { State::Ready(()) } else { State::NotYet(waits) })
    });
    review.await.unwrap();
    tool.signal(Signal::SIGINT);
    tool.wait_for_words("interrupted: stopping");
    product.run("COMMIT").await.unwrap();
    let said = tokio::task::block_in_place(|| tool.ends_within(30)).expect_code(6);
    assert_eq!(said.stdout, "");
    assert!(!said.stderr.contains("undo it with"), "{}", said.stderr);
}

async fn what_is_kept(town: &Town) {
    let said = town.smoke(&["--keep", "--json", "order-and-review"]).expect_code(0).json();
    let left: Vec<&str> =
        said["left"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let token = town.running().token.expose_secret().to_string();
    for (line, start) in left.iter().zip(["/api/products/", "/api/orders/"]) {
        let url = line.strip_prefix("curl -X DELETE -H \"Authorization: Bearer $TOKEN\" ").expect(line);
        let path =
            url.strip_prefix(town.endpoint(Service::Gateway).strip_suffix("/health").unwrap()).unwrap();
        assert!(path.starts_with(start), "{path}");
        let delete = format!("DELETE {path}");
        let gone = town.ask(Service::Gateway, &delete, json!({}), Some(&token)).await;
        assert_eq!(gone.status, 204, "{gone:?}: it was not there");
        let again = town.ask(Service::Gateway, &delete, json!({}), Some(&token)).await;
        assert_eq!(again.status, 404, "{again:?}");
    }
    let (_, statement) = left[2].split_once(" -c \"").expect(left[2]);
    town.alter(Database::Gateway, statement.strip_suffix('"').unwrap()).await;
    town.alter(Database::Gateway, "DELETE FROM api_logs WHERE request_id = 'by hand'").await;
}

/// The services check what belongs to others, say why they refuse, and change nothing then.
async fn foreign_ids(town: &Town) {
    let before = town.content().await;
    let token = town.running().token.expose_secret().to_string();
    let review = |order: Value| json!({ "order_id": order, "rating": 5, "title": "t" });
    let one = json!([{ "product_id": 1, "quantity": 1 }]);
    for (request, body, status, reason) in [
        (
            "POST /api/orders",
            json!({ "user_uid": "nobody", "items": one }),
            422,
            "user-service does not know this user",
        ),
        (
            "POST /api/orders",
            json!({ "items": [{ "product_id": 2147483647, "quantity": 1 }] }),
            422,
            "does not know product",
        ),
        (
            "POST /api/orders",
            json!({ "items": [{ "product_id": 1, "quantity": 0 }] }),
            422,
            "a quantity is 1 or more",
        ),
        (
            "POST /api/orders",
            json!({ "items": [{ "product_id": 1, "quantity": 2147483647 }] }),
            422,
            "SQLSTATE 22",
        ),
        ("POST /api/orders", json!({ "items": [] }), 422, "at least one item"),
        ("POST /api/orders", json!({ "itmes": [] }), 400, "unknown field `itmes`"),
        (
            "POST /api/products/1/reviews",
            review(json!(2147483647)),
            422,
            "order-service does not know order 2147483647",
        ),
        (
            "POST /api/products/2147483647/reviews",
            review(json!(null)),
            404,
            "product 2147483647 is not there",
        ),
        ("POST /api/products/1/reviews", json!({ "rating": 6 }), 422, "a rating is 1 to 5, not 6"),
        ("DELETE /api/orders/2147483647", json!({}), 404, "this order is not there"),
        ("DELETE /api/orders/x", json!({}), 404, "is not there"),
        ("GET /api/nothing", json!({}), 404, "GET /api/nothing is not there"),
    ] {
        let said = town.ask(Service::Gateway, request, body, Some(&token)).await;
        assert!(said.status == status && said.body.contains(reason), "{request}: {said:?}");
    }
    for token in [None, Some("another")] {
        for (service, request) in [
            (Service::Gateway, "POST /api/orders"),
            (Service::Gateway, "DELETE /api/orders/1"),
            (Service::Order, "POST /api/orders"),
            (Service::Order, "DELETE /api/orders/1"),
            (Service::Product, "POST /products/1/reviews"),
            (Service::Product, "DELETE /products/1/reviews/1"),
        ] {
            let said = town.ask(service, request, json!({}), token).await;
            assert_eq!(said.status, 401, "{service} {request}: {said:?}");
        }
    }
    let logged = "SELECT count(*) FROM api_logs WHERE request_id = 'by hand' AND service_name = 'api-gateway' \
                  AND ip_address = '127.0.0.1' AND user_uid IS NOT NULL";
    let rows: i64 = town.shop.target(Database::Gateway).await.row(logged).await.unwrap().get(0);
    assert_eq!(rows, 16, "each request to the gateway, and no other");
    town.alter(Database::Gateway, "DELETE FROM api_logs WHERE request_id = 'by hand'").await;
    assert_eq!(town.content().await, before);
}
