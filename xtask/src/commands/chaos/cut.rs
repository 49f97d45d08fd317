//! Where and how one run is cut.

use crate::effects::faults::WriteFault;
use crate::effects::native::SERVERS;
use fastrand::Rng;
use firestore::gcloud_sdk::tonic::Code;
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
    Step(String),
    /// So long after the start.
    After(Duration),
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
    /// Nothing arrives for a while, then everything is closed.
    StallNetwork(&'static str),
    /// Connections are closed after so many more bytes, in the middle of what is being sent.
    CutNetwork(&'static str, u64),
    /// The next writes to Firestore fail.
    Writes(Vec<WriteFault>),
    /// kill -9 of the emulator: its documents are gone.
    KillEmulator,
}

/// The name by which the network to Firestore is cut.
pub const FIRESTORE: &str = "firestore";

impl Cut {
    /// The first cuts go through the steps, one each, and kill the tool there; the others are drawn.
    pub fn draw(rng: &mut Rng, number: usize, steps: &[String], length: Duration) -> Cut {
        if let Some(step) = steps.get(number) {
            return Cut { moment: Moment::Step(step.clone()), fault: Fault::KillTool };
        }
        let moment = match rng.choice(steps) {
            Some(step) if rng.bool() => Moment::Step(step.clone()),
            _ => Moment::After(length.mul_f64(rng.f64())),
        };
        Cut { moment, fault: Fault::draw(rng) }
    }
}

impl Fault {
    fn draw(rng: &mut Rng) -> Fault {
        let server = SERVERS[rng.usize(..SERVERS.len())];
        let line = if rng.u8(..3) == 0 { FIRESTORE } else { server };
        match rng.u8(..9) {
            0 => Fault::KillTool,
            1 => Fault::EndTool,
            2 => Fault::EndSessions(server),
            3 => Fault::KillBackend(server),
            4 => Fault::DropNetwork(line),
            5 => Fault::StallNetwork(line),
            6 => Fault::CutNetwork(line, rng.u64(..40_000)),
            7 => Fault::Writes((0..rng.usize(1..8)).map(|_| write_fault(rng)).collect()),
            _ => Fault::KillEmulator,
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
            Fault::StallNetwork(_) => "network stalled",
            Fault::CutNetwork(..) => "connections cut",
            Fault::Writes(_) => "writes refused",
            Fault::KillEmulator => "kill -9 of the emulator",
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
            Fault::DropNetwork(to) | Fault::StallNetwork(to) | Fault::CutNetwork(to, _) => {
                write!(f, " to {to}")?;
            }
            _ => {}
        }
        match &self.moment {
            Moment::Step(step) => write!(f, " at `{step}`"),
            Moment::After(time) => write!(f, " after {} ms", time.as_millis()),
        }
    }
}
