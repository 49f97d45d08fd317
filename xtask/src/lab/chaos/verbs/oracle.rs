//! What must hold after a scene, whoever typed what: no write of a service is lost or undone, nothing is green
//! that differs by a comparison of its own, and the source is not left frozen in silence, nor open once the
//! services have taken over.

use super::machines::{FIRST, machine};
use super::old_shop::OldShopWrites;
use super::scene::{Call, Scene, Start};
use super::services::{Written, has_mark, lost};
use super::stage::{Freeze, Said, Stage};
use super::verb::Verb;
use crate::lab::corruptions::held::{Held, changed_documents, changed_rows};
use crate::tables::TABLES;
use anyhow::Result;
use std::process::ExitStatus;
use std::time::Instant;

/// How a call ended.
pub struct Ended {
    pub call: Call,
    /// Its place among the calls.
    pub place: usize,
    /// None: it had to be killed, because it did not end.
    pub status: Option<ExitStatus>,
    pub last_line: String,
    pub started: Instant,
    pub at: Instant,
    /// What the stores held then, where somebody who writes was still to come.
    pub held: Option<Held>,
}

impl Ended {
    /// It says that the stores are as they have to be.
    pub fn green(&self) -> bool {
        matches!(self.call.verb, Verb::Verify | Verb::Cutover) && self.done()
    }

    pub fn done(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// In a word: its exit code.
    pub fn how(&self) -> String {
        match self.status.map(|status| status.code()) {
            None => "hangs".into(),
            Some(None) => "killed".into(),
            Some(Some(code)) => code.to_string(),
        }
    }

    fn was_killed(&self) -> bool {
        self.status.is_some_and(|status| status.code().is_none())
    }

    fn writes_beyond(&self, other: &Ended) -> bool {
        self.call.verb.writes() && self.started < other.at && self.at > other.at
    }
}

/// All that is seen of a scene.
struct Seen<'a> {
    start: Start,
    ended: &'a [Ended],
    /// What the stores held undisturbed, after a replay of the repaired source, and hold now.
    was: &'a Held,
    repaired: &'a Held,
    now: &'a Held,
    said_before: &'a Said,
    said: &'a Said,
    written: &'a Written,
    old_shop: &'a OldShopWrites,
    freeze: Freeze,
    /// Whether the machine on which somebody has cut over still knows of it.
    known: bool,
}

/// What is wrong after a scene, a line each; and the greens of which nothing can be said.
pub struct Verdict {
    pub lines: Vec<String>,
    pub unjudged: usize,
}

pub async fn judge(
    stage: &Stage,
    scene: &Scene,
    ended: &[Ended],
    written: &Written,
    old_shop: &OldShopWrites,
) -> Result<Verdict> {
    let now = stage.held().await?;
    let said = stage.said_by_stores(&now).await?;
    let by = ended.iter().find(|ended| ended.call.verb == Verb::Cutover && ended.done());
    let known = match (scene.start.is_cut_over(), by) {
        (true, _) => stage.machines.knows_of_a_cutover(FIRST)?,
        (false, Some(by)) => stage.machines.knows_of_a_cutover(machine(&by.call))?,
        (false, None) => true,
    };
    let seen = Seen {
        start: scene.start,
        ended,
        was: stage.was(scene.start)?,
        repaired: stage.repaired()?,
        now: &now,
        said_before: stage.said_before(scene.start)?,
        said: &said,
        written,
        old_shop,
        freeze: stage.freeze().await?,
        known,
    };
    let mut lines = seen.wrong();
    if let (Silence::OfTheKilled(call), lines) = (seen.silence(), &mut lines) {
        lines.extend(not_brought_back(stage, scene, call, ended.len()).await?);
    }
    Ok(Verdict { lines, unjudged: seen.greens().filter(|green| seen.held_at(green).is_none()).count() })
}

/// Who has said that the source is frozen, where it is.
enum Silence<'a> {
    None,
    /// Who froze it was killed and cannot have said so.
    OfTheKilled(&'a Call),
    OfAll,
}

impl Seen<'_> {
    fn wrong(&self) -> Vec<String> {
        let mut lines = lost(self.now, self.written);
        let hanging = self.ended.iter().filter(|ended| ended.status.is_none());
        lines.extend(hanging.map(|ended| format!("HANGS: {} did not end", ended.call)));
        lines.extend(self.undone());
        lines.extend(self.false_greens());
        if self.is_cut_over() {
            lines.extend(self.of_the_cutover());
        }
        if let Silence::OfAll = self.silence() {
            let last = self.ended.iter().map(|e| format!("{}: {}", e.call, e.last_line));
            lines.push(format!("FROZEN in silence; {}", last.collect::<Vec<_>>().join("; ")));
        }
        lines
    }

    fn cutover(&self) -> Option<&Ended> {
        self.ended.iter().find(|ended| ended.call.verb == Verb::Cutover && ended.done())
    }

    fn is_cut_over(&self) -> bool {
        self.start.is_cut_over() || self.cutover().is_some()
    }

    /// Services took over from what was there then; neither that nor whose it is has changed by any verb.
    fn undone(&self) -> Vec<String> {
        if !self.start.is_cut_over() {
            return Vec::new();
        }
        let mut lines = differences(self.was, self.now, self.written, self.old_shop);
        for (store, said) in self.said_before {
            let now = self.said.get(store).map_or("nothing", String::as_str);
            if now != said {
                lines.push(format!("{store} says `{now}`, and said `{said}`"));
            }
        }
        lines.into_iter().map(|line| format!("UNDONE: after the cut-over, {line}")).collect()
    }

    fn greens(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter().filter(|ended| ended.green())
    }

    /// What the stores held when a green ended; None: somebody wrote beside it and went on, so that nobody knows.
    fn held_at<'a>(&'a self, green: &'a Ended) -> Option<&'a Held> {
        match self.ended.iter().any(|other| other.place != green.place && other.writes_beyond(green)) {
            true => None,
            false => Some(green.held.as_ref().unwrap_or(self.now)),
        }
    }

    fn false_greens(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for green in self.greens() {
            let Some(now) = self.held_at(green) else { continue };
            // A cut-over says that the stores are what the source is now; a verification, what it was.
            let allowed: &[&Held] = match (self.start, green.call.verb) {
                (Start::RepairedSource, Verb::Cutover) => &[self.repaired],
                (Start::RepairedSource, _) => &[self.was, self.repaired],
                _ => &[self.was],
            };
            let found = allowed.iter().map(|held| differences(held, now, self.written, self.old_shop));
            if let Some(least) = found.min_by_key(Vec::len).filter(|least| !least.is_empty()) {
                lines.push(format!("FALSE GREEN: {} ended with 0, and {}", green.call, least.join(", ")));
            }
        }
        lines
    }

    /// What holds from the cut-over on: it is known everywhere, the source stays frozen, and what the old shop's
    /// services were told is committed has come along. But for who opens the source on purpose.
    fn of_the_cutover(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let silent = self.said.iter().filter(|(_, said)| !said.ends_with(", cut-over"));
        lines.extend(silent.map(|(store, said)| format!("UNDONE: the cut-over, {store} says `{said}`")));
        if !self.known {
            lines.push("UNDONE: the cut-over, its run's manifest has forgotten it".to_string());
        }
        let opened = self.ended.iter().find(|ended| {
            let since = self.cutover().is_none_or(|cutover| ended.at > cutover.started);
            ended.call.verb == Verb::Unfreeze && ended.call.named && ended.done() && since
        });
        if opened.is_none() && self.freeze != Freeze::WHOLE {
            lines.push(format!("OPEN: after the cut-over the source can be written, {:?}", self.freeze));
        }
        for commit in &self.old_shop.committed {
            let allowed = opened.is_some_and(|opened| commit.at >= opened.started);
            if !allowed && has_mark(self.now, "orders", &commit.id, &commit.mark) != Some(true) {
                lines.push(format!(
                    "LOST: orders/{} was committed to the source as `{}`, which has been cut over without it",
                    commit.id, commit.mark
                ));
            }
        }
        lines
    }

    fn silence(&self) -> Silence<'_> {
        if self.start.is_cut_over() || self.freeze == Freeze::NONE {
            return Silence::None;
        }
        let freezing = || self.ended.iter().filter(|ended| ended.call.verb.freezes());
        let says = |line: &str| ["frozen", "read-only", "unfreeze"].iter().any(|word| line.contains(word));
        if freezing().any(|ended| says(&ended.last_line)) {
            return Silence::None;
        }
        match freezing().filter(|ended| ended.was_killed()).min_by_key(|ended| ended.at) {
            Some(killed) => Silence::OfTheKilled(&killed.call),
            None => Silence::OfAll,
        }
    }
}

/// What differs, less what the services of both shops have written.
fn differences(was: &Held, now: &Held, written: &Written, old_shop: &OldShopWrites) -> Vec<String> {
    let mut lines = Vec::new();
    for table in TABLES {
        let own = |id: &String| {
            written.contains_key(&(table.name, id.clone()))
                || table.name == "orders" && old_shop.committed.iter().any(|commit| commit.id == *id)
        };
        let changed = changed_rows(was.rows_of(table.name), now.rows_of(table.name));
        let ids = changed.keys().map(i64::to_string).filter(|id| !own(id));
        lines.extend(ids.map(|id| format!("{} {id} differs", table.name)));
        let Some(collection) = table.collection() else { continue };
        let own = |id: &String| written.contains_key(&(collection.name, id.clone()));
        let changed = changed_documents(was, now, collection.name);
        let ids = changed.iter().filter(|id| !own(id));
        lines.extend(ids.map(|id| format!("document {}/{id} differs", collection.name)));
    }
    let more = lines.len().saturating_sub(5);
    lines.truncate(5);
    lines.extend((more > 0).then(|| format!("{more} more")));
    lines
}

/// Who froze the source was killed: then `unfreeze` has to bring it back, from the same machine.
async fn not_brought_back(
    stage: &Stage,
    scene: &Scene,
    killed: &Call,
    place: usize,
) -> Result<Option<String>> {
    let undo = Call { verb: Verb::Unfreeze, named: false, copy: killed.copy };
    stage.call(scene, &undo, place)?.wait().await?;
    let said = stage.machines.said(place);
    // A cut-over that was recorded before it was killed stays.
    Ok(match stage.freeze().await? != Freeze::NONE && !said.contains("was cut over") {
        true => Some(format!("FROZEN for good: {killed} was killed, and unfreeze says: {said}")),
        false => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::chaos::verbs::old_shop::Commit;
    use crate::lab::chaos::verbs::scene::{AtWork, Copied};
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    const AFTER: Start = Start::CutOver { copy: Copied::Now, at_work: AtWork::All };

    fn held(number: &str) -> Held {
        let mut held = Held::default();
        held.rows.insert("orders", vec![vec![Some("1".into()), Some(number.into())]]);
        held
    }

    /// As long as it is, in seconds from `zero`.
    fn ended(verb: Verb, code: i32, zero: Instant, span: [u64; 2]) -> Ended {
        Ended {
            call: Call { verb, named: false, copy: false },
            place: usize::from(verb != Verb::Verify),
            status: Some(ExitStatus::from_raw(code << 8)),
            last_line: "done".into(),
            started: zero + Duration::from_secs(span[0]),
            at: zero + Duration::from_secs(span[1]),
            held: None,
        }
    }

    /// A scene with this in it, and the same end as before where nothing else is said.
    struct Shown {
        start: Start,
        ended: Vec<Ended>,
        now: Held,
        said: &'static str,
        old_shop: OldShopWrites,
        freeze: Freeze,
        known: bool,
    }

    fn quiet(start: Start, ended: Vec<Ended>) -> Shown {
        let (said, freeze) = match start.is_cut_over() {
            true => ("r, cut-over", Freeze::WHOLE),
            false => ("r, not cut over", Freeze::NONE),
        };
        Shown { start, ended, now: held("a"), said, old_shop: OldShopWrites::default(), freeze, known: true }
    }

    /// The lines and the greens that cannot be judged.
    fn look(shown: &Shown) -> (Vec<String>, usize) {
        let before = if shown.start.is_cut_over() { "r, cut-over" } else { "r, not cut over" };
        let said = |text: &str| Said::from([("order".to_string(), text.to_string())]);
        let seen = Seen {
            start: shown.start,
            ended: &shown.ended,
            was: &held("a"),
            repaired: &held("b"),
            now: &shown.now,
            said_before: &said(before),
            said: &said(shown.said),
            written: &Written::new(),
            old_shop: &shown.old_shop,
            freeze: shown.freeze,
            known: shown.known,
        };
        (seen.wrong(), seen.greens().filter(|green| seen.held_at(green).is_none()).count())
    }

    #[track_caller]
    fn only(shown: &Shown, verdict: &str) {
        let (lines, _) = look(shown);
        assert!(lines.len() == 1 && lines[0].starts_with(verdict), "{verdict}: {lines:?}");
    }

    #[test]
    fn nothing_is_said_of_scenes_that_hold() {
        let zero = Instant::now();
        let cut_over = Shown {
            said: "r, cut-over",
            freeze: Freeze::WHOLE,
            ended: vec![Ended {
                last_line: "stays read-only".into(),
                ..ended(Verb::Cutover, 0, zero, [0, 1])
            }],
            ..quiet(Start::Proven, Vec::new())
        };
        let fixed = Shown {
            now: held("b"),
            ..quiet(Start::RepairedSource, vec![ended(Verb::Verify, 0, zero, [0, 1])])
        };
        for shown in [quiet(AFTER, Vec::new()), quiet(Start::Proven, Vec::new()), cut_over, fixed] {
            assert_eq!(look(&shown), (Vec::new(), 0));
        }
    }

    #[test]
    fn what_stood_in_the_stores_at_the_cutover_and_whose_it_is_cannot_be_undone_unseen() {
        only(&Shown { now: held("b"), ..quiet(AFTER, Vec::new()) }, "UNDONE: after the cut-over, orders 1");
        let (lines, _) = look(&Shown { said: "s, published", ..quiet(AFTER, Vec::new()) });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("order says `s, published`, and said `r, cut-over`"), "{lines:?}");
        only(&Shown { known: false, ..quiet(AFTER, Vec::new()) }, "UNDONE: the cut-over, its run's manifest");
        let ended = vec![Ended {
            last_line: "stays read-only".into(),
            ..ended(Verb::Cutover, 0, Instant::now(), [0, 1])
        }];
        only(
            &Shown { freeze: Freeze::WHOLE, ..quiet(Start::Proven, ended) },
            "UNDONE: the cut-over, order says `r, not cut over`",
        );
    }

    #[test]
    fn a_green_that_differs_is_false_and_one_that_was_outlived_is_judged_by_what_was_there() {
        let zero = Instant::now();
        let green = || ended(Verb::Verify, 0, zero, [0, 2]);
        let differs = |ended| Shown { now: held("b"), ..quiet(Start::Proven, ended) };
        only(&differs(vec![green()]), "FALSE GREEN: verify ended with 0, and orders 1 differs");
        // Who has begun after it has changed nothing that it looked at.
        let after = || ended(Verb::Replay, 0, zero, [3, 4]);
        let then = |number: &str| Ended { held: Some(held(number)), ..green() };
        assert_eq!(look(&differs(vec![then("a"), after()])), (Vec::new(), 0));
        only(&differs(vec![then("b"), after()]), "FALSE GREEN: verify");
        // Who wrote beside it and went on may have changed it since, and one that ended before it may not.
        assert_eq!(look(&differs(vec![green(), ended(Verb::Replay, 0, zero, [1, 4])])), (Vec::new(), 1));
        only(&differs(vec![green(), ended(Verb::Replay, 0, zero, [0, 1])]), "FALSE GREEN: verify");
        // A cut-over has to have what the source is now.
        let cutover = Ended { last_line: "read-only".into(), ..ended(Verb::Cutover, 0, zero, [0, 1]) };
        let shown = quiet(Start::RepairedSource, vec![cutover]);
        only(&Shown { said: "r, cut-over", freeze: Freeze::WHOLE, ..shown }, "FALSE GREEN: cutover");
    }

    #[test]
    fn a_source_that_is_left_frozen_or_half_so_without_a_word_is_seen() {
        let zero = Instant::now();
        let half = Freeze { read_only: false, kept_out: true };
        for freeze in [Freeze::WHOLE, half] {
            let shown = |ended| Shown { freeze, ..quiet(Start::Proven, vec![ended]) };
            only(&shown(ended(Verb::Freeze, 1, zero, [0, 1])), "FROZEN in silence; freeze: done");
            let said = Ended { last_line: "undo: unfreeze".into(), ..ended(Verb::Freeze, 1, zero, [0, 1]) };
            assert_eq!(look(&shown(said)).0, Vec::<String>::new());
        }
        let killed = Ended { status: Some(ExitStatus::from_raw(9)), ..ended(Verb::Freeze, 0, zero, [0, 1]) };
        let shown = Shown { freeze: half, ..quiet(Start::Proven, vec![killed]) };
        assert_eq!(look(&shown).0, Vec::<String>::new(), "it is brought back by unfreeze, or named then");
    }

    #[test]
    fn a_source_that_can_be_written_after_the_cutover_is_seen_and_what_was_written_to_it() {
        let zero = Instant::now();
        let open = Freeze { read_only: true, kept_out: false };
        only(&Shown { freeze: open, ..quiet(AFTER, Vec::new()) }, "OPEN: after the cut-over");
        let mut opened = ended(Verb::Unfreeze, 0, zero, [1, 2]);
        opened.call.named = true;
        assert_eq!(
            look(&Shown { freeze: Freeze::NONE, ..quiet(AFTER, vec![opened]) }).0,
            Vec::<String>::new()
        );

        let cutover = || Ended { last_line: "read-only".into(), ..ended(Verb::Cutover, 0, zero, [0, 1]) };
        let shown = |mark: &str, at| Shown {
            said: "r, cut-over",
            freeze: Freeze::WHOLE,
            old_shop: OldShopWrites {
                committed: vec![Commit {
                    id: "1".into(),
                    mark: mark.into(),
                    at: zero + Duration::from_secs(at),
                }],
                refused: 0,
            },
            ..quiet(Start::Proven, vec![cutover()])
        };
        only(&shown("b", 0), "LOST: orders/1 was committed to the source as `b`");
        only(&shown("b", 9), "LOST: orders/1 was committed to the source as `b`");
        assert_eq!(look(&shown("a", 0)).0, Vec::<String>::new());
    }

    #[test]
    fn what_does_not_end_hangs() {
        let hangs = Ended { status: None, ..ended(Verb::Verify, 0, Instant::now(), [0, 150]) };
        only(&quiet(Start::Proven, vec![hangs]), "HANGS: verify did not end");
    }
}
