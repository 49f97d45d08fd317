//! The shop's own compose project beside the stack: its one service is a session, on the old database or on a new one.

use crate::containers::{Stack, docker, engine, latest};
use crate::support::{Said, workspace};
use crate::tool::within;
use crate::{assert_refused, assert_words};
use serde_json::json;
use sqlx::Row;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use xtask::effects::postgres;
use xtask::effects::wait::{self, State};
use xtask::servers::docker::{Engine, ShopProject};
use xtask::settings::Server;

/// The image's volume would outlive a container that Compose recreates.
const NO_VOLUME: &str = "    tmpfs: /var/lib/postgresql/data\n";

/// The order service, told its database by these variables.
fn service(variables: &str) -> String {
    format!(
        "  order-service:\n    image: postgres:15\n    command: [\"sh\", \"-c\", \"sleep 600 | psql -X\"]\n    \
         stop_grace_period: 0s\n{NO_VOLUME}    environment:\n      PGAPPNAME: order-service\n{variables}"
    )
}

/// A shop whose containers go with it.
struct ToyShop<'a> {
    stack: &'a Stack,
    name: String,
    network: String,
}

impl<'a> ToyShop<'a> {
    fn of(stack: &'a Stack) -> ToyShop<'a> {
        let name = format!("{}-shop", stack.name);
        let network =
            format!("networks:\n  default:\n    external: true\n    name: {}_default\n", stack.name);
        let shop = ToyShop { stack, name, network };
        fs::create_dir(shop.file("")).unwrap();
        fs::write(shop.file(".env"), "SHOP_PASSWORD=secret-of-shop\n").unwrap();
        let local = fs::read_to_string(workspace().join("xtask/environments/local.toml")).unwrap();
        let example = "# compose = \"../shop/docker-compose.yml\"";
        assert!(local.contains(example));
        let ours =
            format!("compose = \"{}/docker-compose.yml\"\nroles = {{ order = \"shop_app\" }}", shop.name);
        fs::write(stack.dir.path().join("shop.toml"), local.replace(example, &ours)).unwrap();
        shop
    }

    fn file(&self, name: &str) -> PathBuf {
        self.stack.dir.path().join(&self.name).join(name)
    }

    fn write(&self, services: &str) -> String {
        let text = format!("version: \"3.7\"\nservices:\n{services}{}", self.network);
        fs::write(self.file("docker-compose.yml"), &text).unwrap();
        text
    }

    fn is_old(&self) -> String {
        self.write(&service(
            "      PGHOST: postgres-monolith\n      PGUSER: shop_app\n      PGDATABASE: ecommerce_db\n      \
             PGPASSWORD: ${SHOP_PASSWORD}\n",
        ))
    }

    /// With a service that the old one does not have.
    fn becomes_new(&self) -> String {
        let order = service(
            "      PGHOST: postgres-order\n      PGUSER: order_user\n      PGDATABASE: order_database\n      \
             PGPASSWORD: secret-of-ORDER\n",
        );
        let cache = "  cache:\n    image: postgres:15\n    command: [\"sleep\", \"600\"]\n    stop_grace_period: 0s\n";
        let cache = format!("{cache}{NO_VOLUME}");
        self.write(&format!("{order}{cache}"))
    }

    /// By its operator, in its directory.
    fn up(&self) {
        let v2 =
            Command::new("docker").args(["compose", "version"]).output().is_ok_and(|o| o.status.success());
        let mut command = Command::new(if v2 { "docker" } else { "docker-compose" });
        command.args(v2.then_some("compose")).args(["up", "-d"]).current_dir(self.file(""));
        Said::from(command.stdin(Stdio::null()).output().unwrap()).expect_code(0);
    }

    fn xtask(&self, arguments: &[&str]) -> Said {
        let environment = self.stack.dir.path().join("shop.toml");
        let place = ["--runtime", "docker", "--env", environment.to_str().unwrap()];
        self.stack.xtask(&[arguments, &place].concat())
    }

    fn running(&self) -> String {
        let label = format!("label=com.docker.compose.project={}", self.name);
        docker(&["ps", "--filter", &label, "--format", "{{.Label \"com.docker.compose.service\"}}"]).stdout
    }
}

impl Drop for ToyShop<'_> {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let found = docker(&["ps", "--all", "--quiet", "--filter", &label]).stdout;
        for container in found.lines() {
            docker(&["rm", "--force", "--volumes", container]);
        }
    }
}

/// Whether the service has a session in this database.
async fn is_connected(server: &Server) -> bool {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'order-service' \
                 AND datname = current_database()";
    let mut connection = postgres::connect(server, "test").await.unwrap();
    let sessions: i64 = connection.row(query).await.unwrap().get(0);
    connection.close().await.unwrap();
    sessions > 0
}

async fn connects(server: &Server) {
    let come = wait::for_state("the service to connect", within(20, 100), async || {
        Ok(if is_connected(server).await { State::Ready(()) } else { State::NotYet("it has no session") })
    });
    come.await.unwrap();
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_shop_in_containers_goes_over_and_comes_back() {
    let (engine, _one) = engine().await;
    let stack = Stack::new();
    stack.xtask(&["stack", "up", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    let settings = stack.settings(&engine).await;
    let (source, order) = (&settings.source, &settings.order);
    let mut old = postgres::connect(source, "test").await.unwrap();
    old.run("CREATE ROLE shop_app LOGIN PASSWORD 'secret-of-shop'").await.unwrap();
    let shop = ToyShop::of(&stack);
    // What Compose does not understand is said before anything is read.
    shop.write("  order-service: { imag: x }\n");
    assert_refused(shop.xtask(&["migrate"]), &["does not understand", "docker-compose.yml", "imag"]);
    assert!(!stack.runs().exists() || fs::read_dir(stack.runs()).unwrap().next().is_none(), "no run");
    shop.is_old();
    shop.up();
    connects(source).await;

    shop.xtask(&["migrate"]).expect_code(0);
    let run = latest(&stack.runs());
    let before = fs::read_to_string(run.join("docker-compose-before.yml")).unwrap();
    assert_words(&before, &["order-service", "PGHOST: postgres-monolith", "${SHOP_PASSWORD}"]);
    let mode = fs::metadata(run.join("docker-compose-before.yml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(is_connected(source).await, "it is not in the way of a migration");
    let said = shop.xtask(&["cutover"]).expect_code(0);
    assert_words(&said.stderr, &["stopping the services: order-service", "no session of theirs is left"]);
    assert_eq!(shop.running(), "");

    // Over, and back before anybody has written.
    let new = shop.becomes_new();
    shop.up();
    connects(order).await;
    let plan = shop.xtask(&["rollback", "before-start", "--dry-run"]).expect_code(0).stdout;
    let file = shop.file("docker-compose.yml").canonicalize().unwrap().display().to_string();
    let words = ["services stopped first: order-service", "has none of that name: cache", &file];
    assert_words(&plan, &words);
    assert!(is_connected(order).await, "a plan changes nothing");
    let said = shop.xtask(&["rollback", "before-start", "--json"]).expect_code(0);
    let done = &said.json()["services"];
    assert_eq!((&done["stopped"], &done["started"]), (&json!(["order"]), &json!(["order"])));
    assert_eq!(done["new_ones_stopped"], json!(["cache"]));
    let kept = done["configuration"]["put_back"]["kept"].as_str().unwrap();
    assert_eq!(fs::read_to_string(kept).unwrap(), new);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    connects(source).await;
    assert!(!is_connected(order).await);
    assert_eq!(shop.running().trim(), "order-service", "never a new one beside an old one");
    old.close().await.unwrap();
    there_and_back_with_what_was_written(&stack, &shop, (source, order)).await;
    volumes_are_gone(&stack, &engine).await;

    let found = Command::new("grep").args(["-rl", "secret-of-shop"]).arg(stack.runs()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "no secret of the shop's is in a run");
}

async fn there_and_back_with_what_was_written(
    stack: &Stack,
    shop: &ToyShop<'_>,
    (source, order): (&Server, &Server),
) {
    shop.xtask(&["migrate", "--replace"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop.becomes_new();
    shop.up();
    connects(order).await;
    let mut connection = postgres::connect(order, "test").await.unwrap();
    let work = "UPDATE orders SET status = 'late' WHERE id = 1";
    connection.run(work).await.unwrap();
    connection.close().await.unwrap();
    // Somebody else's container on one of the volumes.
    let volume = format!("{}-data", stack.container("postgres-order"));
    let guest = format!("{}-guest", stack.name);
    let label = format!("com.docker.compose.project={}", stack.name);
    let create =
        ["create", "--name", &guest, "--label", &label, "--volume", &format!("{volume}:/x"), "postgres:15"];
    docker(&create).expect_code(0);
    let back = ["rollback", "after-start", "--remove-volumes"];
    assert_refused(shop.xtask(&back), &[&format!("the volume {volume} is in use by {guest}")]);
    assert!(is_connected(order).await);
    docker(&["rm", "--volumes", &guest]).expect_code(0);

    let said = shop.xtask(&back).expect_code(0);
    assert_words(
        &said.stderr,
        &["Plan, tried", &format!("removed: the volumes {}-data", stack.container("postgres-product"))],
    );
    assert_words(
        &said.stdout,
        &["orders", "1 changed", "services started on the old database: order-service", &volume],
    );
    connects(source).await;
    let mut connection = postgres::connect(source, "test").await.unwrap();
    let status: String = connection.row("SELECT status FROM orders WHERE id = 1").await.unwrap().get(0);
    assert_eq!(status, "late");
    connection.close().await.unwrap();
}

/// By the old file, while the shop keeps the new one for the others.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_service_in_a_container_goes_back_alone() {
    let (engine, _one) = engine().await;
    let stack = Stack::new();
    stack.xtask(&["stack", "up", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    let settings = stack.settings(&engine).await;
    let mut old = postgres::connect(&settings.source, "test").await.unwrap();
    old.run("CREATE ROLE shop_app LOGIN PASSWORD 'secret-of-shop'").await.unwrap();
    old.close().await.unwrap();
    let shop = ToyShop::of(&stack);
    shop.is_old();
    shop.up();
    connects(&settings.source).await;
    shop.xtask(&["migrate"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    let new = shop.becomes_new();
    shop.up();
    connects(&settings.order).await;

    let said = shop.xtask(&["rollback", "service", "order"]).expect_code(0);
    assert_words(
        &said.stdout,
        &[
            "services started on the old database: order-service",
            "/docker-compose-before.yml says",
            "still has the new one",
        ],
    );
    connects(&settings.source).await;
    assert!(!is_connected(&settings.order).await);
    let mut running: Vec<String> = shop.running().lines().map(str::to_string).collect();
    running.sort();
    assert_eq!(running, ["cache", "order-service"], "what is not the service's stays as it is");
    assert_eq!(fs::read_to_string(shop.file("docker-compose.yml")).unwrap(), new);
}

async fn volumes_are_gone(stack: &Stack, engine: &Engine) {
    let left = engine.volumes(("com.docker.compose.project", &stack.name)).await.unwrap();
    assert_eq!(left, [format!("{}-data", stack.container("postgres-monolith"))], "the old one stays");
    for service in ["postgres-product", "postgres-order", "postgres-gateway"] {
        assert!(engine.container(&stack.container(service)).await.unwrap().is_none(), "{service}");
    }
}

/// Neither of those that are put in, nor of those that are only named, nor those of a file.
#[tokio::test]
#[ignore = "needs Docker Compose: cargo test --test docker -- --ignored"]
async fn no_value_of_a_variable_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".env"), "SHOP_PASSWORD=secret-of-shop\nSHOP_PORT=4711\n").unwrap();
    let file = dir.path().join("docker-compose.yml");
    let kept = async |service: &str| {
        let text = format!("version: \"3.7\"\nservices:\n  order-service:\n    image: x\n{service}");
        fs::write(&file, &text).unwrap();
        let kept = ShopProject::of(&file).await.unwrap().configuration().await.unwrap();
        assert!(!kept.text.contains("secret-of-") && !kept.text.contains("4711"), "{}", kept.text);
        (text, kept)
    };
    let (_, named) = kept("    environment:\n      A: ${SHOP_PASSWORD}\n      SHOP_PASSWORD:\n").await;
    assert_eq!(named.plain, None);
    assert_words(&named.text, &["A: ${SHOP_PASSWORD}", "SHOP_PASSWORD:", "order-service"]);
    // What it is made of can be put back, in any case.
    let (written, port) = kept("    ports: [\"127.0.0.1:${SHOP_PORT}:5432\"]\n").await;
    assert!(port.plain.is_none() || port.text == written, "{port:?}");
    let (written, of_file) = kept("    env_file: .env\n").await;
    assert_eq!(of_file.text, written);
    assert_words(&of_file.plain.unwrap(), &["the values of its env_file"]);
}
