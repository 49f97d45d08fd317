//! A large leaf read by several sessions at once, each some of its pages.

use super::leaves::Leaf;
use crate::effects::postgres::Connection;
use crate::run::join;
use crate::sql::{self, Pages};
use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use sqlx::Row;
use sqlx::postgres::PgRow;

/// How it is read by others.
pub struct Pieces<'a> {
    /// Of one piece; a leaf that has no more is read by the session that asks.
    pub pages: u64,
    /// Answers a query in a session that sees what the asking one sees.
    pub answer: &'a (dyn Fn(String) -> BoxFuture<'static, Result<Vec<PgRow>>> + Send + Sync),
}

/// The answers to a query of each piece, or of the whole leaf.
pub(super) async fn by_pieces(
    connection: &mut Connection,
    leaf: &Leaf,
    pieces: Option<&Pieces<'_>>,
    query: impl Fn(Pages) -> String,
) -> Result<Vec<PgRow>> {
    let Some(pieces) = pieces else { return connection.rows(&query(Pages::All)).await };
    let pages: i64 = connection.row(&sql::pages(leaf.oid)).await?.try_get(0)?;
    let cut = cut(u64::try_from(pages).context("a number of pages")?, pieces.pages);
    if cut == [Pages::All] {
        return connection.rows(&query(Pages::All)).await;
    }
    let answers = join::all(cut.into_iter().map(|pages| (pieces.answer)(query(pages)))).await?;
    Ok(answers.into_iter().flatten().collect())
}

/// Pieces of a leaf that together are all of it, however many pages it gets meanwhile.
fn cut(pages: u64, most: u64) -> Vec<Pages> {
    let most = most.max(1);
    let last = pages.saturating_sub(1) / most;
    let piece = |number: u64| match number * most {
        0 if last == 0 => Pages::All,
        first if number == last => Pages::From(first),
        first => Pages::Between(first, first + most),
    };
    (0..=last).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_no_page_out_and_read_none_twice() {
        assert_eq!(cut(0, 8), [Pages::All]);
        assert_eq!(cut(8, 8), [Pages::All]);
        assert_eq!(cut(9, 8), [Pages::Between(0, 8), Pages::From(8)]);
        assert_eq!(cut(24, 8), [Pages::Between(0, 8), Pages::Between(8, 16), Pages::From(16)]);
        assert_eq!(cut(2, 0), [Pages::Between(0, 1), Pages::From(1)]);
    }
}
