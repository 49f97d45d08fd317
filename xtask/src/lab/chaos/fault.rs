//! Where and how one run is cut.

use crate::lab::chaos::point::Point;
use crate::lab::faults::WriteFault;
use crate::servers::native::SERVERS;
use crate::steps::CommandName;
use fastrand::Rng;
use gcloud_sdk::tonic::Code;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// One cut.
#[derive(Clone, Debug)]
pub struct Cut {
    pub moment: Moment,
    pub fault: Fault,
}

#[derive(Clone, Debug)]
pub enum Moment {
    /// When the journal says that this step has begun.
    Begun(Point),
    /// When the journal says that this step is done.
    Done(Point),
    /// So long after the start.
    After(Duration),
    /// So long after the source was frozen.
    Frozen(Duration),
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// kill -9 of the tool.
    KillTool,
    /// SIGTERM to the tool.
    EndTool,
    /// pg_terminate_backend of all of its sessions on one server.
    EndSessions(&'static str),
    /// kill -9 of one of its backends: the whole server restarts.
    KillBackend(&'static str),
    /// All connections to one server, or to Firestore, are closed, and new ones too for a while.
    DropNetwork(&'static str),
    /// Nothing arrives for a while, then all of it.
    HoldNetwork(&'static str),
    /// Nothing arrives for a while, then everything is closed.
    StallNetwork(&'static str),
    /// Connections are closed after so many more bytes, in the middle of what is being sent.
    CutNetwork(&'static str, u64),
    /// The next writes to Firestore fail.
    Writes(Vec<WriteFault>),
    /// kill -9 of the emulator: its documents are gone, also those that were confirmed and proven, which
    /// Google's own would never lose. Who goes on has to find that out by reading.
    KillEmulator,
    /// The disk of the run directory is full until the tool has ended.
    FillDisk,
}

/// The name by which the network to Firestore is cut.
pub const FIRESTORE: &str = "firestore";

/// The command that goes on with a run.
pub const RESUME: Point = Point::Command(CommandName::Resume);

/// What the cuts of a campaign are drawn from.
pub struct Choice {
    /// Every step of an undisturbed run's journal.
    pub steps: Vec<Point>,
    /// How long an undisturbed run takes.
    pub length: Duration,
    /// Whether the disk can be filled on this machine.
    pub disk: bool,
}

impl Choice {
    /// The cuts of one run: the first of the run itself, the next of what resumes it. As long as there are
    /// steps that no cut has met, the tool is killed as one of them begins.
    pub fn draw(&self, rng: &mut Rng, not_met: &BTreeSet<Point>) -> Vec<Cut> {
        let kill = |step: &Point| Cut { moment: Moment::Begun(step.clone()), fault: Fault::KillTool };
        match rng.choice(not_met) {
            Some(step) if *step == RESUME => vec![self.any(rng), kill(step)],
            Some(step) => vec![kill(step)],
            None if rng.u8(..3) == 0 => vec![self.any(rng), self.any(rng)],
            None => vec![self.any(rng)],
        }
    }

    fn any(&self, rng: &mut Rng) -> Cut {
        let moment = match (rng.u8(..4), rng.choice(&self.steps)) {
            (0, Some(step)) => Moment::Begun(step.clone()),
            (1, Some(step)) => Moment::Done(step.clone()),
            _ => Moment::After(self.length.mul_f64(rng.f64())),
        };
        Cut { moment, fault: Fault::any(rng, self.disk) }
    }
}

impl Fault {
    /// One of them; `disk`: the disk can be filled, too.
    pub fn any(rng: &mut Rng, disk: bool) -> Fault {
        let server = SERVERS[rng.usize(..SERVERS.len())];
        let line = if rng.u8(..3) == 0 { FIRESTORE } else { server };
        match rng.u8(..if disk { 11 } else { 10 }) {
            0 => Fault::KillTool,
            1 => Fault::EndTool,
            2 => Fault::EndSessions(server),
            3 => Fault::KillBackend(server),
            4 => Fault::DropNetwork(line),
            5 => Fault::HoldNetwork(line),
            6 => Fault::StallNetwork(line),
            // From the middle of a handshake to the middle of a table.
            7 => {
                let most = 1 << rng.u8(4..20);
                Fault::CutNetwork(line, rng.u64(..most))
            }
            8 => Fault::Writes((0..rng.usize(1..8)).map(|_| write_fault(rng)).collect()),
            9 => Fault::KillEmulator,
            _ => Fault::FillDisk,
        }
    }

    /// A word for the summary.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::KillTool => "kill -9 of the tool",
            Fault::EndTool => "SIGTERM to the tool",
            Fault::EndSessions(_) => "sessions ended",
            Fault::KillBackend(_) => "kill -9 of a backend",
            Fault::DropNetwork(_) => "network dropped",
            Fault::HoldNetwork(_) => "network held back",
            Fault::StallNetwork(_) => "network stalled",
            Fault::CutNetwork(..) => "connections cut",
            Fault::Writes(_) => "writes refused",
            Fault::KillEmulator => "kill -9 of the emulator",
            Fault::FillDisk => "disk full",
        }
    }
}

fn write_fault(rng: &mut Rng) -> WriteFault {
    let code =
        [Code::Unavailable, Code::ResourceExhausted, Code::Aborted, Code::DeadlineExceeded][rng.usize(..4)];
    match rng.u8(..4) {
        0 => WriteFault::Refused(code),
        1 => WriteFault::Lost(code),
        2 => WriteFault::Some(rng.usize(1..4)),
        _ => WriteFault::ShortAnswer,
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault.kind())?;
        match &self.fault {
            Fault::EndSessions(on) | Fault::KillBackend(on) => write!(f, " on {on}")?,
            Fault::DropNetwork(to) | Fault::HoldNetwork(to) | Fault::StallNetwork(to) => {
                write!(f, " to {to}")?
            }
            Fault::CutNetwork(to, bytes) => write!(f, " to {to} after {bytes} bytes")?,
            _ => {}
        }
        match &self.moment {
            Moment::Begun(step) => write!(f, " at `{step}`"),
            Moment::Done(step) => write!(f, " after `{step}`"),
            Moment::After(time) => write!(f, " after {} ms", time.as_millis()),
            Moment::Frozen(time) => write!(f, " {} ms into the freeze", time.as_millis()),
        }
    }
}
