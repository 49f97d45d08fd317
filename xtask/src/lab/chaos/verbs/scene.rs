//! Two verbs beside each other, and the cut of one of them: drawn from the seed and the scene's number alone.

use super::verb::Verb;
use crate::lab::chaos::fault::FIRESTORE;
use crate::servers::native::SERVERS;
use fastrand::Rng;
use std::fmt;
use std::time::Duration;

/// What the shop is when the scene begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Migrated and proven.
    Proven,
    /// Besides, a row was repaired in the source.
    RepairedSource,
    /// Besides, a row was changed in a target.
    Damaged,
    /// The services have taken over.
    CutOver { copy: Copied, at_work: AtWork },
}

impl Start {
    pub fn is_cut_over(self) -> bool {
        matches!(self, Start::CutOver { .. })
    }
}

/// When the second machine's directory of runs was copied from the first one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It knows all that the first one knows.
    Now,
    BeforeTheCutover,
    /// Before the replay that came before the cut-over.
    BeforeTheReplay,
    /// Before the cut-over; there a `migrate --replace` was begun since, and cut off with its export complete.
    WithARunCutOff,
}

/// The services that have been started after a cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtWork {
    All,
    /// Accounts are closed in Firestore, and nothing else happens.
    UserService,
}

/// What somebody types.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    /// Says the run by its name.
    pub named: bool,
    /// On the machine whose directory of runs is a copy.
    pub copy: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Kill,
    End,
    EndSessions(&'static str),
    Drop(&'static str),
    /// Nothing arrives for a while and no side is told; then it is closed.
    Silence(&'static str),
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub number: usize,
    pub start: Start,
    pub calls: [Call; 2],
    /// The second starts so long after the first.
    pub delay: Duration,
    /// Which call is cut.
    pub cut: usize,
    /// So long after its start.
    pub moment: Duration,
    pub fault: Fault,
    /// After the cut-over: when the services begin to write. Before it: when one of the old shop begins to write
    /// to the source, if one does.
    pub writes: Option<Duration>,
    /// Which call is typed once more when both have ended: one of the machine that is behind, the cut one first.
    pub again: Option<usize>,
}

/// How long a verb takes that has nothing to do.
const REFUSAL: Duration = Duration::from_millis(150);

/// Scenes of as many kinds are drawn, each as often: what the shop is, and what the second machine knows of it.
const SITUATIONS: usize = 10;

impl Scene {
    /// Numbers count from 1; among each hundred every ordered pair comes once, and every verb once in each
    /// situation as the first and once as the second.
    pub fn draw(seed: u64, number: usize) -> Scene {
        let pairs = Verb::ALL.len().pow(2);
        let round = (number - 1) / pairs;
        let mut order: Vec<usize> = (0..pairs).collect();
        Rng::with_seed(seed.wrapping_mul(31).wrapping_add(round as u64)).shuffle(&mut order);
        let pair = order[(number - 1) % pairs];
        let (first, second) = (pair / Verb::ALL.len(), pair % Verb::ALL.len());
        let verbs = [Verb::ALL[first], Verb::ALL[second]];
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let turn = round + usize::try_from(seed % 10).unwrap_or_default();
        let start = start((first + 3 * second + turn) % SITUATIONS, &mut rng);
        let on_copy = on_copy(start, &mut rng);
        let call = |place: usize, rng: &mut Rng| Call {
            verb: verbs[place],
            named: rng.bool(),
            copy: on_copy[place],
        };
        let calls = [call(0, &mut rng), call(1, &mut rng)];
        let cut = rng.usize(..2);
        let length = |call: &Call| match start {
            // Only who does not know of the cut-over has to look into the stores.
            Start::CutOver { .. } if call.verb.ends_at_once() => call.verb.length().min(REFUSAL),
            _ => call.verb.length(),
        };
        let spread = |rng: &mut Rng, call: &Call| length(call).mul_f64(rng.f64().powi(2));
        let delay = spread(&mut rng, &calls[0]).mul_f64(1.2);
        let moment = spread(&mut rng, &calls[cut]);
        let fault = fault(&mut rng);
        let longest = delay + verbs[1].length().max(verbs[0].length());
        let begin = longest.mul_f64(rng.f64().powi(2));
        let writes = match start {
            Start::CutOver { .. } => Some(if rng.bool() { Duration::ZERO } else { begin }),
            _ => rng.bool().then_some(begin),
        };
        let behind = matches!(start, Start::CutOver { copy, .. } if copy != Copied::Now);
        let again = behind.then_some(if calls[cut].copy { cut } else { 1 - cut });
        Scene { number, start, calls, delay, cut, moment, fault, writes, again }
    }

    /// What the second machine knows.
    pub fn copied(&self) -> Copied {
        match self.start {
            Start::CutOver { copy, .. } => copy,
            _ => Copied::Now,
        }
    }
}

/// Half of the situations are before the cut-over.
fn start(situation: usize, rng: &mut Rng) -> Start {
    let at_work = if rng.bool() { AtWork::All } else { AtWork::UserService };
    match situation {
        0..3 => Start::Proven,
        3 => Start::RepairedSource,
        4 => Start::Damaged,
        5 => Start::CutOver { copy: Copied::Now, at_work },
        6 => Start::CutOver { copy: Copied::BeforeTheCutover, at_work },
        7 => Start::CutOver { copy: Copied::BeforeTheCutover, at_work: AtWork::UserService },
        8 => Start::CutOver { copy: Copied::BeforeTheReplay, at_work },
        _ => Start::CutOver { copy: Copied::WithARunCutOff, at_work },
    }
}

/// Which of the two calls come from the second machine; one that is behind is there to be used.
fn on_copy(start: Start, rng: &mut Rng) -> [bool; 2] {
    match start {
        Start::CutOver { copy: Copied::Now, .. } => [rng.bool(), rng.bool()],
        Start::CutOver { .. } => [[true, false], [false, true], [true, true]][rng.usize(..3)],
        _ => [rng.u8(..3) == 0, rng.u8(..3) == 0],
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let server = SERVERS[rng.usize(..SERVERS.len())];
    let line = if rng.u8(..3) == 0 { FIRESTORE } else { server };
    match rng.u8(..8) {
        0..3 => Fault::Kill,
        3 | 4 => Fault::End,
        5 => Fault::EndSessions(server),
        6 => Fault::Drop(line),
        _ => Fault::Silence(line),
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = if self.named && self.verb.takes_a_run() { " --run" } else { "" };
        write!(f, "{}{run}{}", self.verb, if self.copy { " (copy)" } else { "" })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Start::CutOver { copy, at_work } = self else { return write!(f, "{self:?}") };
        f.write_str("CutOver")?;
        f.write_str(match copy {
            Copied::Now => "",
            Copied::BeforeTheCutover => ", copy from before it",
            Copied::BeforeTheReplay => ", copy from before the replay",
            Copied::WithARunCutOff => ", copy with a run cut off",
        })?;
        f.write_str(match at_work {
            AtWork::All => "",
            AtWork::UserService => ", user service alone",
        })
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.calls;
        write!(f, "scene {} ({}): {first}, ", self.number, self.start)?;
        write!(f, "{second} after {} ms; ", self.delay.as_millis())?;
        let fault = match self.fault {
            Fault::Kill => "killed".to_string(),
            Fault::End => "SIGTERM".to_string(),
            Fault::EndSessions(on) => format!("sessions ended on {on}"),
            Fault::Drop(to) => format!("network dropped to {to}"),
            Fault::Silence(to) => format!("silence to {to}"),
        };
        write!(f, "{} {fault} after {} ms", self.calls[self.cut].verb, self.moment.as_millis())?;
        match (self.start.is_cut_over(), self.writes) {
            (true, Some(begin)) => write!(f, "; services write after {} ms", begin.as_millis()),
            (false, Some(begin)) => write!(f, "; the source is written to after {} ms", begin.as_millis()),
            (_, None) => Ok(()),
        }?;
        self.again.map_or(Ok(()), |place| write!(f, "; then {} again", self.calls[place].verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_hundred_scenes_are_every_ordered_pair_and_the_same_ones_again() {
        for first in [1, 101, 201] {
            let pair = |number| Scene::draw(3, number).calls.map(|call| call.verb);
            let pairs: BTreeSet<_> = (first..first + 100).map(pair).collect();
            assert_eq!(pairs.len(), 100);
        }
        assert_eq!(Scene::draw(3, 17).to_string(), Scene::draw(3, 17).to_string());
        assert_ne!(Scene::draw(3, 17).to_string(), Scene::draw(4, 17).to_string());
    }

    #[test]
    fn a_hundred_scenes_have_copies_of_every_age_and_every_verb_comes_from_those_that_are_behind() {
        let (mut ages, mut behind) = (BTreeMap::new(), BTreeSet::new());
        for scene in (1..=100).map(|number| Scene::draw(3, number)) {
            let copied = scene.copied();
            let used = scene.calls.iter().filter(|call| call.copy);
            if scene.start.is_cut_over() && used.clone().count() > 0 {
                *ages.entry(format!("{copied:?}")).or_insert(0) += 1;
            }
            behind.extend(used.filter(|_| copied == Copied::BeforeTheCutover).map(|call| call.verb));
        }
        assert_eq!(ages.len(), 4);
        assert!(ages.values().all(|count| *count >= 5), "{ages:?}");
        assert_eq!(behind.len(), Verb::ALL.len(), "{behind:?}");
        // Said in the name, which is how a scene is recognised.
        let names: String = (1..=100).map(|number| Scene::draw(3, number).to_string()).collect();
        for words in ["copy from before it", "copy from before the replay", "copy with a run cut off"] {
            assert!(names.contains(words), "{words}");
        }
    }
}
