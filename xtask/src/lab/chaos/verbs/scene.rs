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
    /// The services have taken over, and write.
    CutOver,
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
}

/// How long a verb takes that has nothing to do.
const REFUSAL: Duration = Duration::from_millis(150);

impl Scene {
    /// Numbers count from 1; among each hundred every ordered pair comes once.
    pub fn draw(seed: u64, number: usize) -> Scene {
        let pairs = Verb::ALL.len().pow(2);
        let round = (number - 1) / pairs;
        let mut order: Vec<usize> = (0..pairs).collect();
        Rng::with_seed(seed.wrapping_mul(31).wrapping_add(round as u64)).shuffle(&mut order);
        let pair = order[(number - 1) % pairs];
        let verbs = [Verb::ALL[pair / Verb::ALL.len()], Verb::ALL[pair % Verb::ALL.len()]];
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let start = match rng.u8(..8) {
            0..3 => Start::CutOver,
            3 => Start::RepairedSource,
            4 => Start::Damaged,
            _ => Start::Proven,
        };
        let calls = verbs.map(|verb| Call { verb, named: rng.bool(), copy: rng.u8(..3) == 0 });
        let cut = rng.usize(..2);
        let spread = |rng: &mut Rng, verb: Verb| {
            let refused = start == Start::CutOver && verb.ends_at_once();
            let length = if refused { verb.length().min(REFUSAL) } else { verb.length() };
            length.mul_f64(rng.f64().powi(2))
        };
        let delay = spread(&mut rng, verbs[0]).mul_f64(1.2);
        let moment = spread(&mut rng, verbs[cut]);
        Scene { number, start, calls, delay, cut, moment, fault: fault(&mut rng) }
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

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.calls;
        write!(f, "scene {} ({:?}): {first}, ", self.number, self.start)?;
        write!(f, "{second} after {} ms; ", self.delay.as_millis())?;
        let fault = match self.fault {
            Fault::Kill => "killed".to_string(),
            Fault::End => "SIGTERM".to_string(),
            Fault::EndSessions(on) => format!("sessions ended on {on}"),
            Fault::Drop(to) => format!("network dropped to {to}"),
            Fault::Silence(to) => format!("silence to {to}"),
        };
        write!(f, "{} {fault} after {} ms", self.calls[self.cut].verb, self.moment.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
}
