//! The shop's services in containers, by this repository's own files, smoked from outside.

use crate::containers::{Stack, docker, engine};
use crate::support::{Said, workspace};
use sqlx::Row;
use std::net::TcpListener;
use std::process::Command;
use xtask::effects::postgres;
use xtask::model::Service;

const TOKEN: &str = "token-of-a-test";

fn image(service: Service) -> String {
    format!("xtask-test-{service}:1")
}

/// The images of docker/services/Dockerfile, on a base that is here.
fn build(context: &std::path::Path) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("shop-services");
    let copied = std::fs::copy(&program, context.join("shop-services"));
    assert!(copied.is_ok(), "{}: `cargo build --workspace`: {copied:?}", program.display());
    let file = workspace().join("docker/services/Dockerfile");
    for service in Service::ALL {
        let mut command = Command::new("docker");
        command.args([
            "build",
            "--quiet",
            "--build-arg",
            "BASE=postgres:15",
            "--target",
            service.name(),
            "--tag",
        ]);
        command.arg(image(service)).arg("--file").arg(&file).arg(context).env("DOCKER_BUILDKIT", "0");
        Said::from(command.output().unwrap()).expect_code(0);
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn services_in_containers_are_smoked() {
    let (engine, _one) = engine().await;
    let mut stack = Stack::new();
    let context = tempfile::tempdir().unwrap();
    build(context.path());
    let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
    let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    drop(held);
    for (name, port) in ["PRODUCT_SERVICE", "ORDER_SERVICE", "API_GATEWAY"].iter().zip(&ports) {
        stack.set(&format!("{name}_PORT"), &port.to_string());
    }
    for (name, service) in
        ["USER_SERVICE", "PRODUCT_SERVICE", "ORDER_SERVICE", "API_GATEWAY"].iter().zip(Service::ALL)
    {
        stack.set(&format!("{name}_IMAGE"), &image(service));
    }
    let text = std::fs::read_to_string(workspace().join("xtask/environments/local.toml")).unwrap();
    let text = text
        .replace("localhost:8000", &format!("127.0.0.1:{}", ports[0]))
        .replace("localhost:8080", &format!("127.0.0.1:{}", ports[1]))
        .replace("localhost:4000", &format!("127.0.0.1:{}", ports[2]))
        .replace("container:user-service", &format!("container:{}", stack.container("user-service")))
        .replace("[services]\n", "[services]\ntoken = { env = \"SMOKE_TOKEN\" }\n");
    let environment = stack.dir.path().join("shop.toml");
    std::fs::write(&environment, text).unwrap();
    let tool = |arguments: &[&str]| -> Said {
        let mut command = stack.command(arguments);
        command.args(["--runtime", "docker", "--env"]).arg(&environment).env("SMOKE_TOKEN", TOKEN);
        command.output().unwrap().into()
    };
    tool(&["stack", "up", "--scale", "0"]).expect_code(0);
    tool(&["migrate", "--quiet"]).expect_code(0);
    tool(&["cutover", "--quiet"]).expect_code(0);
    let mut source = postgres::connect(&stack.settings(&engine).await.source, "test").await.unwrap();
    let user: String = source.row("SELECT firebase_uid FROM users WHERE id = 1").await.unwrap().get(0);
    let compose = |arguments: &[&str]| -> Said {
        let mut command = stack.composing(&["-f", "docker-compose.yml", "-f", "docker-compose.services.yml"]);
        command.args(arguments).env("SHOP_TOKEN", TOKEN).env("SHOP_USER", &user);
        command.output().unwrap().into()
    };
    compose(&["up", "-d"]).expect_code(0);
    let said = tool(&["smoke", "--json"]).expect_code(0).json();
    assert_eq!((&said["passed"], &said["not_looked_at"]), (&17.into(), &0.into()), "{said}");

    // A container that has ended is said, with its last lines.
    docker(&["stop", "--time", "1", &stack.container("user-service")]).expect_code(0);
    let said = tool(&["smoke", "--wait", "1s", "answers"]).expect_code(3).stdout;
    assert!(said.contains("FAIL") && said.contains("the container is exited"), "{said}");
    assert!(said.contains("log of user-service: ") && said.contains("Firestore connected"), "{said}");
    // With the volumes without a name that the base image of the services declares.
    compose(&["down", "--volumes"]).expect_code(0);
    for service in Service::ALL {
        docker(&["rmi", &image(service)]).expect_code(0);
    }
}
