//! Which lines of the shop's compose file are the old database's: its service, its volumes, and where others wait for it.
//! Reads the lines as they are written, by their indents. Pure.

use serde::Serialize;

/// What can go. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OldService {
    pub service: String,
    /// Named volumes that no other service uses.
    pub volumes: Vec<String>,
    pub lines: Vec<(usize, String)>,
}

/// By which the old database is known among the services.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub database: &'a str,
    pub host: &'a str,
    pub port: u16,
}

/// A key of a section with all that is below it.
struct Block<'a> {
    name: &'a str,
    lines: Vec<(usize, &'a str)>,
}

/// `None`: no service of the file is known to be it, or several are.
pub fn old_service(text: &str, known: &Known<'_>) -> Option<OldService> {
    let services = blocks(text, "services");
    let is_it = |block: &&Block<'_>| is_known(block, known);
    let mut found = services.iter().filter(is_it);
    let (Some(service), None) = (found.next(), found.next()) else { return None };
    let others: Vec<&Block<'_>> = services.iter().filter(|block| block.name != service.name).collect();
    let used = |name: &String| others.iter().any(|other| volumes(other).contains(name));
    let volumes: Vec<String> = volumes(service).into_iter().filter(|name| !used(name)).collect();
    let mut lines: Vec<(usize, &str)> = service.lines.clone();
    for block in blocks(text, "volumes") {
        if volumes.iter().any(|volume| volume == block.name) {
            lines.extend(block.lines);
        }
    }
    others.iter().for_each(|other| lines.extend(waits_for(other, service.name)));
    lines.sort_unstable();
    let lines = lines.into_iter().map(|(number, line)| (number, line.to_string())).collect();
    Some(OldService { service: service.name.to_string(), volumes, lines })
}

/// Where a service waits for this one: all of its `depends_on`, where it waits for nothing else.
fn waits_for<'a>(block: &Block<'a>, service: &str) -> Vec<(usize, &'a str)> {
    let mut lines = block.lines.iter().skip_while(|(_, line)| line.trim() != "depends_on:");
    let Some(head) = lines.next() else { return Vec::new() };
    let listed = |line: &str| line.trim_start().starts_with("- ") && indent(line) == indent(head.1);
    let below: Vec<(usize, &str)> =
        lines.take_while(|(_, line)| indent(line) > indent(head.1) || listed(line)).copied().collect();
    let level = below.first().map(|(_, line)| indent(line)).unwrap_or_default();
    let (mut gone, mut is_it) = (Vec::new(), false);
    for line in &below {
        if indent(line.1) == level {
            let name = line.1.trim().trim_start_matches("- ").trim_end_matches(':').trim_matches(['"', '\'']);
            is_it = name == service;
        }
        gone.extend(is_it.then_some(*line));
    }
    if !gone.is_empty() && gone.len() == below.len() {
        gone.insert(0, *head);
    }
    gone
}

fn is_known(block: &Block<'_>, known: &Known<'_>) -> bool {
    let said = |text: &str| block.lines.iter().any(|(_, line)| line.contains(text));
    let words = |word: &str| {
        let is_word = |c: char| !c.is_alphanumeric() && c != '_' && c != '-';
        block.lines.iter().any(|(_, line)| line.split(is_word).any(|found| found == word))
    };
    let postgres =
        block.lines.iter().any(|(_, line)| line.trim().starts_with("image:") && line.contains("postgres"));
    let port = format!("{}:5432", known.port);
    let published = block.lines.iter().any(|(_, line)| {
        let entry = line.trim().trim_start_matches("- ").trim_matches(['"', '\'']);
        entry.starts_with(&port) || entry.contains(&format!(":{port}"))
    });
    let is_host = block.name == known.host || said(&format!("container_name: {}", known.host));
    postgres && (words(known.database) || published || is_host)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn is_nothing(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// The keys of a section at the top of the file.
fn blocks<'a>(text: &'a str, section: &str) -> Vec<Block<'a>> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let inside = numbered.skip_while(|(_, line)| line.trim_end() != format!("{section}:")).skip(1);
    let inside = inside.take_while(|(_, line)| is_nothing(line) || indent(line) > 0);
    let mut blocks: Vec<Block<'a>> = Vec::new();
    let mut level = None;
    for (number, line) in inside.filter(|(_, line)| !is_nothing(line)) {
        let level = *level.get_or_insert(indent(line));
        match (line.trim().split_once(':'), blocks.last_mut()) {
            (Some((name, _)), _) if indent(line) == level => {
                blocks.push(Block { name: name.trim_matches(['"', '\'']), lines: vec![(number, line)] });
            }
            (_, Some(block)) => block.lines.push((number, line)),
            (_, None) => {}
        }
    }
    blocks
}

/// The named volumes of a service: `- name:/path`.
fn volumes(block: &Block<'_>) -> Vec<String> {
    let begins = block.lines.iter().skip_while(|(_, line)| line.trim() != "volumes:");
    let level = begins.clone().next().map(|(_, line)| indent(line)).unwrap_or_default();
    let listed = begins.skip(1).take_while(|(_, line)| {
        indent(line) > level || (indent(line) == level && line.trim_start().starts_with("- "))
    });
    let name = |(_, line): &(usize, &str)| {
        let entry = line.trim().strip_prefix("- ")?.trim_matches(['"', '\'']);
        let (name, _) = entry.split_once(':')?;
        name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)).then(|| name.to_string())
    };
    listed.filter_map(name).filter(|name| !name.starts_with('.')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
services:
  # the old one
  postgres:
    image: postgres:15
    environment:
      POSTGRES_DB: ecommerce_db
    volumes:
      - postgres-data:/var/lib/postgresql/data
      - shared:/shared
      - ./init.sql:/docker-entrypoint-initdb.d/init.sql
    ports:
      - \"5432:5432\"

  postgres-product:
    image: postgres:15
    environment:
      POSTGRES_DB: product_database
    ports:
      - \"5433:5432\"
    volumes: [product-data:/var/lib/postgresql/data]
  api:
    image: shop/api
    depends_on:
      postgres:
        condition: service_healthy
      postgres-product:
        condition: service_healthy
    volumes:
      - shared:/shared
  report:
    image: shop/report
    depends_on:
      - postgres
volumes:
  postgres-data:
    driver: local
  product-data:
  shared:
";

    #[test]
    fn the_service_its_own_volumes_and_who_waits_for_it() {
        let known = Known { database: "ecommerce_db", host: "127.0.0.1", port: 6000 };
        let found = old_service(FILE, &known).unwrap();
        assert_eq!(
            (found.service.as_str(), &found.volumes[..]),
            ("postgres", &["postgres-data".to_string()][..])
        );
        let numbers: Vec<usize> = found.lines.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 24, 25, 32, 33, 35, 36]);
        assert_eq!(found.lines[0].1, "  postgres:");
    }

    #[test]
    fn it_is_known_by_database_port_or_host() {
        let by = |database, host, port| {
            old_service(FILE, &Known { database, host, port }).map(|found| found.service)
        };
        assert_eq!(by("product_database", "x", 1).as_deref(), Some("postgres-product"));
        assert_eq!(by("shop", "127.0.0.1", 5432).as_deref(), Some("postgres"));
        assert_eq!(by("shop", "postgres", 1).as_deref(), Some("postgres"));
        assert_eq!(by("shop", "127.0.0.1", 1), None);
        // Several could be meant.
        assert_eq!(by("ecommerce_db", "x", 5433), None);
        assert_eq!(old_service("services:\n", &Known { database: "a", host: "b", port: 1 }), None);
    }
}
