//! What every page of this tool is made of.

use maud::{Markup, PreEscaped, html};

/// Nothing is loaded from elsewhere, and it is light or dark as the reader has it.
pub fn head(title: &str, style: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            style { (PreEscaped(style)) }
        }
    }
}

/// A coordinate of a drawing.
pub fn px(value: f64) -> String {
    format!("{value:.1}")
}
