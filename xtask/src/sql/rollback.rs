//! The way back into the old database: what the stores hold beside what the run wrote there and what the old
//! database has, and the statements that make it agree. Besides its sides a table `t` has `put_t`: a row for each key
//! with what has to be done.

use super::blocks::list;
use super::files::bind;
use super::hash::HashFn;
use super::hazards::array;
use super::sides::{Side, put_table, rekeyed_table, temporary};
use crate::model::Column;
use crate::sql_file;
use crate::sql_text::{ident, literal, qualified};
use crate::tables::{Table, To};

/// A column of the old table.
#[derive(Clone, Debug)]
pub struct OldColumn {
    pub name: String,
    /// What a text is cast to: its type, without length.
    pub kind: String,
    pub nullable: bool,
    /// A time stamp that has no zone (DESIGN fault 12).
    pub without_zone: bool,
    /// Whether a unique index, other than the key, holds it.
    pub is_unique: bool,
}

/// A side as rows of the old table.
fn mirrored(table: &Table, side: Side) -> String {
    bind(table.back, &[("rows", &temporary(&side.of(table)))])
}

/// The mirror image's columns, to be described; it needs the sides.
pub fn mirror(table: &Table) -> String {
    mirrored(table, Side::Theirs)
}

/// The columns of the old table that come back: those that both it and the mirror image have.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    pub table: &'a Table,
    pub columns: Vec<OldColumn>,
    /// Those of the mirror image that the old table does not have: compared, not written.
    pub compared: Vec<String>,
    /// The zone of time stamps that have none.
    pub zone: &'a str,
    /// Whether rows whose ids are taken get other ones.
    pub rekey: bool,
}

impl Put<'_> {
    /// The column by which it is told whether a column has to follow.
    fn compared_by<'n>(&'n self, name: &'n str) -> &'n str {
        let by_user = self.compared.iter().any(|compared| compared == USER_UID);
        if name == USER_ID && by_user { USER_UID } else { name }
    }

    /// What the table's rows are compared by.
    fn all(&self) -> impl Iterator<Item = &str> {
        let columns =
            self.columns.iter().map(|c| c.name.as_str()).filter(|name| self.compared_by(name) == *name);
        columns.chain(self.compared.iter().map(String::as_str)).filter(|name| *name != "id")
    }

    /// Works out what has to be done with each key: `op` (insert, update, delete, none), `problem` where
    /// it cannot, the values as text (`v1` …) and whether each has to be written (`w1` …).
    pub fn create(&self) -> String {
        let other = |a: &str, b: &str, name: &str| {
            let name = ident(name);
            format!("{a}.{name}::text COLLATE \"C\" IS DISTINCT FROM {b}.{name}::text COLLATE \"C\"")
        };
        let any = |condition: &dyn Fn(&str) -> String| {
            let conditions: Vec<String> = self.all().map(condition).collect();
            format!("({})", if conditions.is_empty() { "false".to_string() } else { conditions.join(" OR ") })
        };
        let moved = |name: &str| other("t", "b", name);
        let changed = |name: &str| other("m", "b", name);
        let collides =
            |name: &str| format!("({} AND {} AND {})", moved(name), changed(name), other("m", "t", name));
        let stays = |name: &str| format!("({} AND NOT ({}))", changed(name), moved(name));
        let by_user = self.compared.iter().any(|name| name == USER_UID);
        let (uid_moved, uid, owners) = match by_user {
            true => (moved(USER_UID), format!("t.{}::text COLLATE \"C\"", ident(USER_UID)), "pg_temp.owners"),
            false => (
                "false".into(),
                "NULL::text".into(),
                "(SELECT NULL::text AS uid, 0 AS bearers, NULL::text AS ids)",
            ),
        };
        let table = self.table;
        let sides = [Side::Theirs, Side::Base, Side::Mine].map(|side| mirrored(table, side));
        let names = self.numbered().map(|(n, _)| format!(", r.v{n}, r.w{n}")).collect::<String>();
        let values = self.numbered().map(|(n, column)| self.value(n, column)).collect::<String>();
        let put = put_table(table);
        bind(
            sql_file!("phases/rollback/put.sql"),
            &[
                ("put", &*put),
                ("theirs", &*sides[0]),
                ("base", &*sides[1]),
                ("mine", &*sides[2]),
                ("old", &*qualified("public", table.source)),
                ("comes_back", if table.collection().is_some() { "(o.id IS NOT NULL)" } else { "false" }),
                ("moved", &*any(&moved)),
                ("changed", &*any(&changed)),
                ("collides", &*any(&collides)),
                ("stays", &*any(&stays)),
                ("uid_moved", &*uid_moved),
                ("uid", &*uid),
                ("owners", owners),
                ("names", &*names),
                ("values", &*values),
            ],
        )
    }

    /// The value of the `n`th column, and whether it has to be written.
    fn value(&self, n: usize, column: &OldColumn) -> String {
        let (name, by) = (ident(&column.name), ident(self.compared_by(&column.name)));
        format!(
            ", CASE WHEN t.{name} IS NOT NULL THEN concat(t.{name}) END AS v{n}, b.id IS NULL OR \
             t.{by}::text COLLATE \"C\" IS DISTINCT FROM b.{by}::text COLLATE \"C\" AS w{n}"
        )
    }

    fn read(&self, n: usize, column: &OldColumn) -> String {
        match column.without_zone {
            true => format!("(p.v{n}::timestamptz AT TIME ZONE {})::{}", literal(self.zone), column.kind),
            false => format!("p.v{n}::{}", column.kind),
        }
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &OldColumn)> {
        (1..).zip(&self.columns)
    }

    /// `and`: which of them, besides.
    pub fn update(&self, and: &str) -> String {
        let set = self.numbered().filter(|(_, column)| column.name != "id").map(|(n, column)| {
            let (name, value) = (ident(&column.name), self.read(n, column));
            format!("{name} = CASE WHEN p.w{n} THEN {value} ELSE o.{name} END")
        });
        format!(
            "UPDATE {} o SET {} FROM {} p WHERE o.id = p.id AND p.op = 'update' AND p.problem IS NULL{and}",
            qualified("public", self.table.source),
            set.collect::<Vec<_>>().join(", "),
            temporary(&put_table(self.table))
        )
    }

    pub fn insert(&self, and: &str) -> String {
        let values: Vec<String> = self.numbered().map(|(n, column)| self.read(n, column)).collect();
        format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} p \
             WHERE p.op = 'insert' AND p.problem IS NULL{and}",
            qualified("public", self.table.source),
            list(self.columns.iter().map(|c| c.name.as_str())),
            values.join(", "),
            temporary(&put_table(self.table))
        )
    }

    /// What a unique index holds of rows that are about to change goes out of the way of the others first: two rows
    /// may have exchanged it. `None`: there is no such column.
    pub fn make_way(&self) -> Option<String> {
        let unique: Vec<_> = self.numbered().filter(|(_, c)| c.is_unique && c.name != "id").collect();
        if unique.is_empty() {
            return None;
        }
        let set = unique.iter().map(|(n, column)| {
            let name = ident(&column.name);
            let away = match column.nullable {
                true => format!("NULL::{}", column.kind),
                false => format!("('xtask ' || o.id)::{}", column.kind),
            };
            format!("{name} = CASE WHEN p.w{n} THEN {away} ELSE o.{name} END")
        });
        let moves = unique.iter().map(|(n, _)| format!("p.w{n}")).collect::<Vec<_>>().join(" OR ");
        Some(format!(
            "UPDATE {} o SET {} FROM {} p \
             WHERE o.id = p.id AND p.op = 'update' AND p.problem IS NULL AND ({moves})",
            qualified("public", self.table.source),
            set.collect::<Vec<_>>().join(", "),
            temporary(&put_table(self.table)),
        ))
    }

    /// References to rows that the old database does not have become NULL, where they may, and it is noted.
    pub fn lose_references(&self) -> Vec<String> {
        let column = |name: &str| self.numbered().find(|(_, c)| c.name == name && c.nullable);
        let rows = self.table.references.iter().filter_map(|reference| match reference.to {
            To::Row(_, parent) => column(reference.column).map(|(n, c)| (n, c, parent)),
            To::User => None,
        });
        let rows = rows.map(|(n, column, parent)| {
            format!(
                "UPDATE {put} p SET v{n} = NULL, note = concat_ws(', ', p.note, {said} || p.v{n}) \
                 WHERE p.problem IS NULL AND p.op IN ('insert', 'update') AND p.w{n} AND p.v{n} IS NOT NULL \
                   AND NOT EXISTS (SELECT FROM {parent} x WHERE x.id = p.v{n}::bigint)",
                put = temporary(&put_table(self.table)),
                said = literal(&format!("no such row: {} ", column.name)),
                parent = qualified("public", parent),
            )
        });
        let users =
            column(USER_ID).filter(|_| self.compared.iter().any(|name| name == USER_UID)).map(|(n, _)| {
                format!(
                    "UPDATE {put} p SET note = concat_ws(', ', p.note, 'no such user: user_uid ' || t.{uid}) \
                 FROM {theirs} t WHERE t.id = p.id AND p.problem IS NULL AND p.op IN ('insert', 'update') \
                   AND p.w{n} AND p.v{n} IS NULL AND t.{uid} IS NOT NULL",
                    put = temporary(&put_table(self.table)),
                    theirs = temporary(&Side::Theirs.of(self.table)),
                    uid = ident(USER_UID),
                )
            });
        rows.chain(users).collect()
    }

    /// Rows one by one, where they cannot be written together.
    pub fn one_by_one(&self, op: &str) -> String {
        let one = " AND p.id = written.id";
        let statement = match op {
            "insert" => self.insert(one),
            "update" => self.update(one),
            _ => self.delete(one),
        };
        let put = put_table(self.table);
        bind(
            sql_file!("phases/rollback/one_by_one.sql"),
            &[("put", &put), ("op", op), ("statement", &statement)],
        )
    }

    pub fn delete(&self, and: &str) -> String {
        format!(
            "DELETE FROM {} o USING {} p WHERE o.id = p.id AND p.op = 'delete' AND p.problem IS NULL{and}",
            qualified("public", self.table.source),
            temporary(&put_table(self.table))
        )
    }

    /// Rows that have to go and that another row needs, which stays: how many more were found. `child`: quoted;
    /// `itself`: its `put`, where it comes back too.
    pub fn needed_by(&self, child: &str, itself: Option<&Table>, condition: &str) -> String {
        let goes = itself.map(|table| {
            format!(
                " AND NOT EXISTS (SELECT FROM {} q WHERE q.id = c.id AND q.op = 'delete' AND q.problem IS NULL)",
                temporary(&put_table(table))
            )
        });
        format!(
            "WITH needed AS (UPDATE {put} p SET op = 'keep', why = {child_name} FROM {old} o \
             WHERE o.id = p.id AND p.op = 'delete' AND p.problem IS NULL \
               AND EXISTS (SELECT FROM {child} c WHERE {condition}{goes}) RETURNING 1) SELECT count(*) FROM needed",
            put = temporary(&put_table(self.table)),
            old = qualified("public", self.table.source),
            child_name = literal(child),
            goes = goes.unwrap_or_default(),
        )
    }

    /// Rows that cannot go, or whose documents are gone, are marked as deleted, where the table has a column for
    /// it.
    pub fn mark_deleted(&self, op: &str) -> Option<String> {
        self.columns.iter().any(|c| c.name == DELETED_AT).then(|| {
            format!(
                "UPDATE {} o SET {deleted} = now() FROM {} p \
                 WHERE o.id = p.id AND p.op = {} AND p.problem IS NULL AND o.{deleted} IS NULL",
                qualified("public", self.table.source),
                temporary(&put_table(self.table)),
                literal(op),
                deleted = ident(DELETED_AT),
            )
        })
    }

    /// After deletions: those that are done are not to be done again; `again`: those that a row needs are tried once more.
    pub fn deleted(&self, again: Again) -> String {
        let put = temporary(&put_table(self.table));
        let done = format!(
            "UPDATE {put} p SET op = 'deleted' WHERE p.op = 'delete' AND p.problem IS NULL \
             AND NOT EXISTS (SELECT FROM {} o WHERE o.id = p.id)",
            qualified("public", self.table.source)
        );
        match again {
            Again::Yes => format!("{done}; UPDATE {put} p SET op = 'delete', why = NULL WHERE p.op = 'keep'"),
            Again::No => done,
        }
    }

    /// The outcome of the keys: `id`, `op`, `problem`, `why`, `note`; by id.
    pub fn outcome(&self) -> String {
        format!(
            "SELECT p.id, p.op, p.problem, p.why, p.note FROM {} p ORDER BY p.id",
            temporary(&put_table(self.table))
        )
    }

    /// The ids whose rows have to be what the store holds, exactly.
    pub fn written(&self) -> String {
        format!(
            "SELECT p.id FROM {} p WHERE p.op IN ('insert', 'update') AND p.problem IS NULL AND p.note IS NULL",
            temporary(&put_table(self.table))
        )
    }

    /// The ids of those that came back without something, and are otherwise to be what the store holds.
    pub fn noted(&self) -> String {
        format!(
            "SELECT p.id FROM {} p WHERE p.op IN ('insert', 'update') AND p.problem IS NULL AND p.note IS NOT NULL",
            temporary(&put_table(self.table))
        )
    }

    /// Of rows by their ids, those that are not what the store holds: id, key, the columns' names.
    /// Of a row with a note only columns that were to be written count, and no reference that was given up. `rows`: the
    /// table's SELECT with its values as the target holds them.
    pub fn told_otherwise(&self, hash: HashFn, rows: &str, columns: &[Column], ids: &[i64]) -> String {
        let table = self.table;
        let is_proven = |c: &&Column| {
            let assumed = table.assumed.iter().any(|(name, _)| *name == c.name);
            c.name != "id" && !assumed && !table.file_only.contains(&c.name.as_str())
        };
        let differ = columns.iter().filter(is_proven).map(|c| {
            let name = ident(&c.name);
            let value =
                |side: &str| hash.of_values([(format!("{side}.{name}::{}", c.kind), c.kind.as_str())]);
            let other = |a: &str, b: &str| format!("{} IS DISTINCT FROM {}", value(a), value(b));
            let given_up =
                self.given_up(&c.name).map(|given_up| format!(" AND NOT ({given_up} AND r.{name} IS NULL)"));
            format!(
                "CASE WHEN {} AND (p.note IS NULL OR b.id IS NULL OR {}){} THEN {} END",
                other("r", "t"),
                other("t", "b"),
                given_up.unwrap_or_default(),
                literal(&c.name)
            )
        });
        let key = match table.collection() {
            Some(collection) => format!("t.{}::text", ident(collection.id)),
            None if self.rekey => {
                let rekeyed = temporary(&rekeyed_table(table));
                format!("coalesce((SELECT k.was FROM {rekeyed} k WHERE k.id = t.id), t.id)::text")
            }
            None => "t.id::text".to_string(),
        };
        bind(
            sql_file!("phases/rollback/told_otherwise.sql"),
            &[
                ("key", &key),
                ("rows", rows),
                ("theirs", &temporary(&Side::Theirs.of(table))),
                ("base", &temporary(&Side::Base.of(table))),
                ("put", &temporary(&put_table(table))),
                ("ids", &super::blocks::ids(ids)),
                ("columns", &differ.collect::<Vec<_>>().join(", ")),
            ],
        )
    }

    /// Whether the put `p` writes NULL for a column that refers to another row.
    fn given_up(&self, column: &str) -> Option<String> {
        let written = if column == USER_UID { USER_ID } else { column };
        let refers = self.table.references.iter().any(|reference| reference.column == column);
        let number = self.numbered().find(|(_, c)| refers && c.name == written)?.0;
        Some(format!("p.v{number} IS NULL"))
    }

    /// Rows that got other ids, because theirs were taken.
    pub fn note_rekeyed(&self) -> String {
        format!(
            "UPDATE {} p SET note = concat_ws(', ', p.note, 'its id in the store was ' || k.was) FROM {} k WHERE k.id = p.id",
            temporary(&put_table(self.table)),
            temporary(&rekeyed_table(self.table))
        )
    }

    /// Every key that has been looked at.
    pub fn keys(&self) -> String {
        format!("SELECT p.id FROM {} p", temporary(&put_table(self.table)))
    }

    /// Of what did not come back: its id, and what other stores name it by (`key`).
    pub fn left_keys(&self, key: &str) -> String {
        format!(
            "SELECT p.id::text, coalesce(t.{key}::text, b.{key}::text, '') FROM {} p \
             LEFT JOIN {} t ON t.id = p.id LEFT JOIN {} b ON b.id = p.id WHERE p.problem IS NOT NULL",
            temporary(&put_table(self.table)),
            temporary(&Side::Theirs.of(self.table)),
            temporary(&Side::Base.of(self.table)),
            key = ident(key),
        )
    }

    /// Rows that are to be gone, and are there.
    pub fn still_there(&self) -> String {
        format!(
            "SELECT count(*) FROM {} p JOIN {} o ON o.id = p.id \
             WHERE p.op IN ('delete', 'deleted') AND p.problem IS NULL",
            temporary(&put_table(self.table)),
            qualified("public", self.table.source)
        )
    }

    /// Rows that did not come back, or not as they are: `id`, `problem`, `why`, `note`, and the three rows as JSON.
    pub fn left(&self) -> String {
        let side = |side: Side| format!("LEFT JOIN {}", temporary(&side.of(self.table)));
        format!(
            "SELECT p.id, coalesce(p.problem, p.op), p.why, p.note, to_jsonb(b)::text, to_jsonb(m)::text, to_jsonb(t)::text \
             FROM {} p {} b ON b.id = p.id {} m ON m.id = p.id {} t ON t.id = p.id \
             WHERE p.problem IS NOT NULL OR p.note IS NOT NULL OR p.op = 'keep' ORDER BY p.id",
            temporary(&put_table(self.table)),
            side(Side::Base),
            side(Side::Mine),
            side(Side::Theirs),
        )
    }
}

/// How many rows of a target refer to each of these keys: key, rows.
pub fn referring(table: &Table, column: &str, keys: &[&str]) -> String {
    format!(
        "SELECT c.{column}::text, count(*) FROM {} c WHERE c.{column}::text = ANY ({}::text[]) GROUP BY 1",
        qualified("public", table.name),
        literal(&array(keys.iter().copied())),
        column = ident(column),
    )
}

/// Whether what a row needs is looked at again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    Yes,
    No,
}

const USER_ID: &str = "user_id";
const USER_UID: &str = "user_uid";
const DELETED_AT: &str = "deleted_at";
