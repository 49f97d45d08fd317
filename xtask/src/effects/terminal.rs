//! What the person sees while it runs: on a terminal one bar a table under a line for the phase,
//! else plain lines. All of it on stderr; stdout is for data.

use crate::model::grouped;
use crate::shown::{for_terminal, without_codes};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A line on stderr, without signs that a terminal obeys: what errors quote comes from strangers.
pub fn say(text: &str) {
    write(&for_terminal(text));
}

/// Where stderr has gone, with the terminal or the reader of a pipe, the line is lost: no reason to fail.
fn write(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A screen of its own on stdout, in the place of the one before.
pub fn redraw(screen: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    // To the upper left corner; what is left of a longer line or screen goes.
    let lines: String = for_terminal(screen).lines().map(|line| format!("{line}\x1b[K\n")).collect();
    write!(stdout, "\x1b[H{lines}\x1b[J")?;
    stdout.flush()
}

/// Whether somebody reads what is said, and can answer.
pub fn has_a_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a person; only `yes` is one. `None`: there is no terminal to ask on.
pub fn ask(question: &str) -> std::io::Result<Option<bool>> {
    if !has_a_person() {
        return Ok(None);
    }
    say(&format!("{question} Type yes: "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(Some(answer.trim() == "yes"))
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Quiet,
    #[default]
    Normal,
    Verbose,
}

/// The screen. Cheap to clone.
#[derive(Clone)]
pub struct Terminal {
    bars: MultiProgress,
    live: bool,
    colour: bool,
    verbosity: Verbosity,
    finished: Arc<Mutex<Vec<ProgressBar>>>,
    tasks: Arc<Mutex<Vec<ShownTask>>>,
}

/// A task as it is shown.
struct ShownTask {
    what: String,
    bar: ProgressBar,
    total: u64,
    started: Instant,
}

/// A task that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    /// `export orders`
    pub what: String,
    pub rows: u64,
    /// 0: not known.
    pub of: u64,
    pub seconds: f64,
}

impl Terminal {
    pub fn new(verbosity: Verbosity, no_colour: bool) -> Terminal {
        let live = std::io::stderr().is_terminal() && verbosity > Verbosity::Quiet;
        let target = if live { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        Terminal {
            bars: MultiProgress::with_draw_target(target),
            live,
            colour: live && !no_colour,
            verbosity,
            finished: Arc::default(),
            tasks: Arc::default(),
        }
    }

    /// A line of its own, above the bars.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.verbosity > Verbosity::Quiet {
            self.always(text.as_ref());
        }
    }

    /// A line that `-q` does not hide: a warning.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = match self.verbosity {
            Verbosity::Verbose => text.as_ref().to_string(),
            _ => without_codes(text.as_ref()),
        };
        self.always(&format!("warning: {text}"));
    }

    /// A line for `-v`.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.verbosity > Verbosity::Normal {
            self.always(text.as_ref());
        }
    }

    /// A line that `-q` does not hide: what was asked for.
    pub fn always(&self, text: &str) {
        // suspend() clears the bars, so that the line does not land in the middle of one.
        self.bars.suspend(|| say(text));
    }

    /// The line over the bars of a phase; the bars of the phases before are taken away.
    pub fn phase(&self, title: &str) {
        if let Ok(mut finished) = self.finished.lock() {
            finished.drain(..).for_each(|bar| bar.finish_and_clear());
        }
        if self.colour {
            let title = format!("\x1b[1m{}\x1b[0m", for_terminal(title));
            self.bars.suspend(|| write(&title));
        } else {
            self.line(title);
        }
    }

    /// The tasks that are under way, and how far they are.
    pub fn under_way(&self) -> Vec<UnderWay> {
        let Ok(mut tasks) = self.tasks.lock() else { return Vec::new() };
        tasks.retain(|task| !task.bar.is_finished());
        let now = |task: &ShownTask| UnderWay {
            what: task.what.clone(),
            rows: task.bar.position(),
            of: task.total,
            seconds: task.started.elapsed().as_secs_f64(),
        };
        tasks.iter().map(now).collect()
    }

    /// A bar for `total` rows (0: not known) of an object such as a table.
    pub fn task(&self, verb: &'static str, object: &str, total: u64) -> Task {
        let bar = self.bars.add(match total {
            0 => ProgressBar::new_spinner(),
            n => ProgressBar::new(n),
        });
        let template = match total {
            0 => "  {prefix:<28} {human_pos:>12} rows  {rate:>14}",
            _ => "  {prefix:<28} {bar:24} {human_pos:>10}/{human_len:<10} {rate:>12}  eta {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // Not even the bar can be told.
                let _ = write!(out, "{}/s", grouped(state.per_sec() as u64));
            };
            bar.set_style(style.progress_chars("━╸─").with_key("rate", rate));
        }
        bar.set_prefix(for_terminal(&format!("{verb} {object}")));
        if self.live {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        if let Ok(mut finished) = self.finished.lock() {
            finished.push(bar.clone());
        }
        if let Ok(mut tasks) = self.tasks.lock() {
            let what = format!("{verb} {object}");
            tasks.push(ShownTask { what, bar: bar.clone(), total, started: Instant::now() });
        }
        Task { terminal: self.clone(), bar, verb, object: object.to_string(), started: Instant::now() }
    }
}

/// The progress of one object. Its bar goes away with it.
pub struct Task {
    terminal: Terminal,
    bar: ProgressBar,
    verb: &'static str,
    object: String,
    started: Instant,
}

impl Task {
    pub fn add(&self, rows: u64) {
        self.bar.inc(rows);
    }

    /// For a callback that outlives the borrow.
    pub fn counter(&self) -> impl Fn(u64) + Send + Sync + 'static + use<> {
        let bar = self.bar.clone();
        move |rows| bar.inc(rows)
    }

    /// The object is done: its line is said once, with the number of rows.
    pub fn done(self, rows: u64) {
        let Task { terminal, bar, verb, object, started } = self;
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        terminal.detail_or_plain(&format!("  {verb} {object:<18} {rows:>10} rows  {seconds:>6.1} s"));
    }
}

impl Terminal {
    /// On a terminal the bars have shown it already; elsewhere every finished object is a line.
    fn detail_or_plain(&self, text: &str) {
        if self.live { self.detail(text) } else { self.line(text) }
    }
}

/// The most memory that this process itself has used, in bytes (Linux's VmHWM; children excluded).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
