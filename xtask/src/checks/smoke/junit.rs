//! The report that programs read which collect the results of tests. Pure.

use super::result::{Checked, Outcome, Verdict};
use crate::findings::Values;

/// A suite for each scenario, a case for each check.
pub fn junit(outcome: &Outcome, values: Values) -> String {
    let Outcome { checks, seconds, .. } = outcome;
    let count = |checks: &[&Checked], verdict| checks.iter().filter(|c| c.verdict == verdict).count();
    let head = |checks: &[&Checked]| {
        let (failed, skipped) = (count(checks, Verdict::Fail), count(checks, Verdict::NotLookedAt));
        format!("tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\"", checks.len())
    };
    let all: Vec<&Checked> = checks.iter().collect();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"smoke\" {} time=\"{seconds:.3}\">\n",
        head(&all)
    );
    for suite in all.chunk_by(|a, b| a.scenario == b.scenario) {
        let name = text(&suite[0].scenario);
        let seconds: f64 = suite.iter().map(|checked| checked.took.as_secs_f64()).sum();
        out += &format!("  <testsuite name=\"{name}\" {} time=\"{seconds:.3}\">\n", head(suite));
        suite.iter().for_each(|checked| out += &case(checked, values));
        out += "  </testsuite>\n";
    }
    out + "</testsuites>\n"
}

fn case(checked: &Checked, values: Values) -> String {
    let (suite, name) = (text(&checked.scenario), text(&checked.name));
    let start = format!(
        "    <testcase classname=\"{suite}\" name=\"{name}\" time=\"{:.3}\"",
        checked.took.as_secs_f64()
    );
    let why = text(checked.why.as_deref().unwrap_or_default());
    let evidence = text(&checked.evidence(values).join("\n"));
    match checked.verdict {
        Verdict::Pass => format!("{start}/>\n"),
        Verdict::Fail => {
            format!("{start}>\n      <failure message=\"{why}\">{evidence}</failure>\n    </testcase>\n")
        }
        Verdict::NotLookedAt => format!("{start}>\n      <skipped message=\"{why}\"/>\n    </testcase>\n"),
    }
}

/// As XML holds it: in elements and in attributes. What XML cannot hold at all becomes U+FFFD.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            '\r' => out += "&#13;",
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c < ' ' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Words;

    #[test]
    fn whatever_stands_in_it_is_xml() {
        let odd = "<a href=\"x\">&'\u{1b}]]>\n";
        let failed = Checked::new("s", odd).fails(odd.to_string()).response(Words::plain("<b>"));
        let checks = vec![failed, Checked::new("s", "b"), Checked::new("t", "c").not_looked_at("d".into())];
        let text = junit(&Outcome { side: "new", checks, left: Vec::new(), seconds: 1.5 }, Values::Masked);
        let safe = "&lt;a href=&quot;x&quot;&gt;&amp;&apos;\u{fffd}]]&gt;&#10;";
        assert!(text.contains(&format!("name=\"{safe}\" time=\"0.000\">")), "{text}");
        assert!(text.contains(&format!("<failure message=\"{safe}\">")), "{text}");
        assert!(text.contains("it answered: &lt;b&gt;</failure>"), "{text}");
        assert!(
            text.contains("<testsuites name=\"smoke\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\"")
        );
        assert!(
            text.contains("<testsuite name=\"t\" tests=\"1\" failures=\"0\"")
                && text.contains("<skipped message=\"d\"/>")
        );
    }
}
