//! What the person sees while it runs: on a terminal one bar for the phase and one for each table, else a line for
//! each phase, and every ten seconds one for how far it is. All of it on stderr; stdout is for data.

use crate::effects::whole::{Count, ShownTask, Whole};
use crate::model::grouped;
use crate::shown::{duration, for_terminal, some_of, without_codes, wrapped};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// Where there is no terminal that says how wide it is.
const COLUMNS: usize = 80;

/// How often it is said how far a phase is, where there is no terminal.
pub const EVERY: Duration = Duration::from_secs(10);

/// A line on stderr, without signs that a terminal obeys: what errors quote comes from strangers.
pub fn say(text: &str) {
    write(&for_terminal(text));
}

/// Where stderr has gone, with the terminal or the reader of a pipe, the line is lost: no reason to fail.
fn write(line: &str) {
    let mut phase = PHASE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(phase) = phase.as_mut().filter(|phase| phase.open) {
        phase.open = false;
        let _ = writeln!(std::io::stderr());
    }
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The phase that is under way: of the process, as is its stderr.
static PHASE: Mutex<Option<Phase>> = Mutex::new(None);

struct Phase {
    began: Instant,
    /// Its line waits for the time that it takes; whatever is said before that begins a line of its own.
    open: bool,
}

/// The phase's line gets its end: how long it took.
pub fn end_phase() {
    let ended = PHASE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Phase { began, open }) = ended else { return };
    let took = began.elapsed();
    match open {
        true => write(&format!("  {}", duration(took.as_secs_f64()))),
        false if took >= Duration::from_secs(1) => {
            write(&format!("  done in {}", duration(took.as_secs_f64())));
        }
        false => {}
    }
}

/// How wide a line on stdout may be: what the variable COLUMNS says, else what the terminal says.
pub fn columns(variable: Option<&str>) -> usize {
    let said = variable.and_then(|text| text.trim().parse().ok());
    let terminal = || console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    said.or_else(terminal).filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// A screen of its own on stdout, in the place of the one before.
pub fn redraw(screen: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    // To the upper left corner; what is left of a longer line or screen goes.
    let lines: String = for_terminal(screen).lines().map(|line| format!("{line}\x1b[K\n")).collect();
    write!(stdout, "\x1b[H{lines}\x1b[J")?;
    stdout.flush()
}

/// Whether a screen can be drawn again in its place.
pub fn can_be_redrawn() -> bool {
    std::io::stdout().is_terminal()
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
    columns: usize,
    finished: Arc<Mutex<Vec<ProgressBar>>>,
    tasks: Arc<Mutex<Vec<ShownTask>>>,
    /// When it was last said how far it is.
    told: Arc<Mutex<Instant>>,
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
    /// What it waits for, before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
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
            columns: usize::MAX,
            finished: Arc::default(),
            tasks: Arc::default(),
            told: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// With lines of at most so many columns.
    pub fn with_columns(self, columns: usize) -> Terminal {
        Terminal { columns, ..self }
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// A line of its own, above the bars.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.verbosity > Verbosity::Quiet {
            self.always(&wrapped(text.as_ref(), self.columns));
        }
    }

    /// A line that `-q` does not hide: a warning.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = match self.verbosity {
            Verbosity::Verbose => text.as_ref().to_string(),
            _ => without_codes(text.as_ref()),
        };
        self.always(&wrapped(&format!("warning: {text}"), self.columns));
    }

    /// A command to type next: in one line however long it is, to be copied as it stands.
    pub fn next(&self, command: &str) {
        self.always(&format!("next: {command}"));
    }

    /// A line for `-v`.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.verbosity > Verbosity::Normal {
            self.always(&wrapped(text.as_ref(), self.columns));
        }
    }

    /// How long a part took, for `-v`.
    pub fn lap(&self, what: &str, began: Instant) {
        self.detail(format!("  {what}: {:.2} s", began.elapsed().as_secs_f64()));
    }

    /// A line that `-q` does not hide: what was asked for.
    pub fn always(&self, text: &str) {
        // suspend() clears the bars, so that the line does not land in the middle of one.
        self.bars.suspend(|| say(text));
    }

    /// A phase begins: the one before has ended, and its bars are taken away.
    pub fn phase(&self, title: &str) {
        self.end_phase();
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let (title, open) = (for_terminal(title), !self.live);
        self.bars.suspend(|| match (self.colour, open) {
            (true, _) => write(&format!("\x1b[1m{title}\x1b[0m")),
            (false, false) => write(&title),
            // Its line is ended by how long it takes.
            (false, true) => drop(write!(std::io::stderr(), "{title}")),
        });
        let began = Instant::now();
        *PHASE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Phase { began, open });
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = began;
        self.whole_bar(began);
    }

    /// No phase is under way any more.
    pub fn end_phase(&self) {
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.retain(|task| !task.count.has_ended());
        }
        if let Ok(mut finished) = self.finished.lock() {
            finished.drain(..).for_each(|bar| bar.finish_and_clear());
        }
        self.bars.suspend(end_phase);
    }

    /// One bar above those of the tables, for all that is known of the phase.
    fn whole_bar(&self, began: Instant) {
        if !self.live {
            return;
        }
        let bar = self.bars.insert(0, ProgressBar::new_spinner());
        let tasks = self.tasks.clone();
        let whole = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let whole = tasks.try_lock().ok().and_then(|tasks| Whole::of(&tasks));
            // Not even the bar can be told.
            let _ = whole.map(|whole| write!(out, "{}", whole.drawn(began.elapsed())));
        };
        if let Ok(style) = ProgressStyle::with_template("  {whole}") {
            bar.set_style(style.with_key("whole", whole));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        if let Ok(mut finished) = self.finished.lock() {
            finished.push(bar);
        }
    }

    /// Called every second: where there is no terminal, how far it is is a line every ten seconds.
    pub fn tick(&self) {
        if self.live || self.verbosity == Verbosity::Quiet {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() < EVERY {
            return;
        }
        *told = Instant::now();
        let began = PHASE.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|phase| phase.began);
        let elapsed = began.map(|began| began.elapsed()).unwrap_or_default();
        // What is left where every row is done has no number: a dump, digests.
        let whole = self.tasks.lock().ok().and_then(|tasks| Whole::of(&tasks));
        let whole = whole.filter(|whole| whole.done < whole.of);
        let far = match whole {
            Some(whole) => {
                let (done, of, left) = (grouped(whole.done), grouped(whole.of), whole.left(elapsed));
                format!("  {:>3} %  {done} of {of} rows, {left}", whole.percent())
            }
            None => format!("  under way for {}", duration(elapsed.as_secs_f64())),
        };
        let names: Vec<String> = self.under_way().into_iter().map(|task| task.what).collect();
        let names = some_of(&names, self.columns.saturating_sub(far.chars().count() + 2));
        let between = if names.is_empty() { "" } else { ": " };
        self.line(format!("{}{between}{names}", far.trim_end_matches([',', ' '])));
    }

    /// The tasks that are under way, and how far they are.
    pub fn under_way(&self) -> Vec<UnderWay> {
        let Ok(tasks) = self.tasks.lock() else { return Vec::new() };
        let now = |task: &ShownTask| UnderWay {
            what: task.what.clone(),
            rows: task.count.rows(),
            of: task.total,
            seconds: task.bar.elapsed().as_secs_f64(),
            waits: Some(task.bar.message()).filter(|message| !message.is_empty()),
        };
        tasks.iter().filter(|task| !task.count.has_ended()).map(now).collect()
    }

    /// A bar for `total` rows (0: not known) of an object such as a table.
    pub fn task(&self, verb: &'static str, object: &str, total: u64) -> Task {
        let task = self.waiting(verb, object, total, "");
        task.begins();
        task
    }

    /// The same for one that waits for something first.
    pub fn waiting(&self, verb: &'static str, object: &str, total: u64, waits_for: &str) -> Task {
        let bar = self.bars.add(match total {
            0 => ProgressBar::new_spinner(),
            n => ProgressBar::new(n),
        });
        if let Ok(style) = ProgressStyle::with_template("  {prefix:<28} waits for {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(for_terminal(&format!("{verb} {object}")));
        bar.set_message(waits_for.to_string());
        if self.live {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        if let Ok(mut finished) = self.finished.lock() {
            finished.push(bar.clone());
        }
        let count = Arc::new(Count::default());
        if let Ok(mut tasks) = self.tasks.lock() {
            let what = format!("{verb} {object}");
            let count = count.clone();
            tasks.push(ShownTask { what, bar: bar.clone(), total, counts: verb != INDEX, count });
        }
        Task { terminal: self.clone(), bar, verb, object: object.to_string(), total, count }
    }
}

/// It shows numbers from now on, in place of what it has waited for.
fn begins(bar: &ProgressBar, total: u64) {
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
    bar.set_message("");
    bar.reset_elapsed();
    bar.reset_eta();
}

/// Its numbers are indexes, not rows.
pub const INDEX: &str = "index";

/// The progress of one object. Its bar goes away with it.
pub struct Task {
    terminal: Terminal,
    bar: ProgressBar,
    verb: &'static str,
    object: String,
    total: u64,
    count: Arc<Count>,
}

impl Task {
    /// What it has waited for is there.
    pub fn begins(&self) {
        begins(&self.bar, self.total);
    }

    /// The same for several that go on with it: the first of them begins it.
    pub fn starter(&self) -> impl Fn() + Clone + Send + Sync + 'static + use<> {
        let (bar, total, once) = (self.bar.clone(), self.total, Arc::new(Once::new()));
        move || once.call_once(|| begins(&bar, total))
    }

    pub fn add(&self, rows: u64) {
        self.counter()(rows);
    }

    /// For a callback that outlives the borrow.
    pub fn counter(&self) -> impl Fn(u64) + Send + Sync + 'static + use<> {
        let (bar, count) = (self.bar.clone(), self.count.clone());
        move |rows| {
            count.add(rows);
            bar.inc(rows);
        }
    }

    /// The object is done: with the number of rows, where that is of interest.
    pub fn done(self, rows: u64) {
        let Task { terminal, verb, object, .. } = &self;
        let took = self.bar.elapsed();
        let seconds = took.as_secs_f64();
        self.ends();
        let line = format!("  {verb} {object:<18} {rows:>10} rows  {seconds:>6.1} s");
        // On a terminal its bar has shown it.
        if took >= EVERY && !terminal.live { terminal.line(line) } else { terminal.detail(line) }
    }

    fn ends(&self) {
        self.count.end();
        self.bar.finish_and_clear();
    }
}

impl Drop for Task {
    /// Also where its work was given up.
    fn drop(&mut self) {
        self.ends();
    }
}

/// The most memory that this process itself has used, in bytes (Linux's VmHWM; children excluded).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
