//! The queries of the services that are measured: each in the words of both sides, with the query that chooses
//! from the old side's rows what is asked for.

use crate::model::{Database, Service};
use crate::sql_file;
use crate::sql_text::SqlFile;
use anyhow::{Context, Result};

/// A query of `sql/perf`.
pub struct Query {
    pub name: &'static str,
    /// One row, or none: its columns are the variables of the other two, as text.
    pub parameters: SqlFile,
    /// The same chosen from the new side's rows.
    pub parameters_new: SqlFile,
    pub old: SqlFile,
    pub new: SqlFile,
}

macro_rules! query {
    ($name:literal, $parameters:literal, $both:literal) => {
        query!($name, $parameters, $both, $both)
    };
    ($name:literal, $parameters:literal, $old:literal, $new:literal) => {
        query!($name, $parameters, $parameters, $old, $new)
    };
    ($name:literal, $parameters:literal, $parameters_new:literal, $old:literal, $new:literal) => {
        Query {
            name: $name,
            parameters: sql_file!($parameters),
            parameters_new: sql_file!($parameters_new),
            old: sql_file!($old),
            new: sql_file!($new),
        }
    };
}

pub const QUERIES: &[Query] = &[
    query!(
        "products_of_category",
        "perf/products_of_category.parameters.sql",
        "perf/products_of_category.sql"
    ),
    query!("product_of_sku", "perf/product_of_sku.parameters.sql", "perf/product_of_sku.sql"),
    query!("subcategories", "perf/subcategories.parameters.sql", "perf/subcategories.sql"),
    query!(
        "reviews_of_product",
        "perf/reviews_of_product.parameters.sql",
        "perf/reviews_of_product.old.sql",
        "perf/reviews_of_product.new.sql"
    ),
    query!(
        "orders_of_user",
        "perf/orders_of_user.parameters.sql",
        "perf/orders_of_user.parameters.new.sql",
        "perf/orders_of_user.old.sql",
        "perf/orders_of_user.new.sql"
    ),
    query!("orders_in_status", "perf/orders_in_status.parameters.sql", "perf/orders_in_status.sql"),
    query!("items_of_order", "perf/items_of_order.parameters.sql", "perf/items_of_order.sql"),
    query!("payments_of_order", "perf/payments_of_order.parameters.sql", "perf/payments_of_order.sql"),
    query!(
        "logs_by_time",
        "perf/logs_by_time.parameters.sql",
        "perf/logs_by_time.parameters.new.sql",
        "perf/logs_by_time.old.sql",
        "perf/logs_by_time.new.sql"
    ),
    query!(
        "events_of_user",
        "perf/events_of_user.parameters.sql",
        "perf/events_of_user.parameters.new.sql",
        "perf/events_of_user.old.sql",
        "perf/events_of_user.new.sql"
    ),
];

impl Query {
    /// The new database that it is asked of.
    pub fn database(&self) -> Option<Database> {
        self.asked_by().ok().and_then(|(service, _)| service.database())
    }

    /// The service that asks it, and what for: its first line.
    pub fn asked_by(&self) -> Result<(Service, &'static str)> {
        let first = self.new.text.lines().next().unwrap_or_default();
        let head = first.strip_prefix("-- ").and_then(|head| head.split_once(": "));
        let known = |name: &str| Service::ALL.into_iter().find(|service| service.name() == name);
        head.and_then(|(name, purpose)| Some((known(name)?, purpose))).with_context(|| {
            format!(
                "sql/{} does not begin with `-- SERVICE: what it is for`, but with {first:?}",
                self.new.path
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_says_whose_it_is_alike_on_both_sides() {
        for query in QUERIES {
            let (service, _) = query.asked_by().unwrap();
            assert!(service.database().is_some(), "{}: {service} has no database of its own", query.name);
            let head = |file: SqlFile| file.text.lines().next();
            assert_eq!(head(query.old), head(query.new), "{}", query.name);
            for file in [query.old, query.new, query.parameters, query.parameters_new] {
                assert!(file.path.starts_with(&format!("perf/{}.", query.name)), "{}", file.path);
                assert!(!file.text.contains(';'), "{}: EXPLAIN takes one statement", file.path);
            }
        }
        let services = |service: Service| QUERIES.iter().any(|q| q.asked_by().unwrap().0 == service);
        assert!([Service::Product, Service::Order, Service::Gateway].into_iter().all(services));
    }
}
