//! One Firestore emulator for all tests that run at the same time; it ends with the last of them. Each has a
//! project of its own there, because clearing one frees no memory. Starting one for each test, and each with
//! its code to compile again, was a fifth of what the tests cost.

use std::path::Path;
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;
use xtask::servers::native::{EmulatorChoice, Options, Stack};

pub struct Emulator {
    _stack: Stack,
    /// `host:port`
    pub host: String,
}

impl Emulator {
    pub async fn start() -> Emulator {
        let options = Options { emulator: EmulatorChoice::Start, ..Options::default() };
        let stack = Stack::start(Path::new(env!("CARGO_MANIFEST_DIR")), options).await.unwrap();
        let host = stack.connections().emulator.as_ref().unwrap().host_port.clone();
        Emulator { _stack: stack, host }
    }

    pub async fn shared() -> Arc<Emulator> {
        static SHARED: Mutex<Weak<Emulator>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(emulator) = shared.upgrade() {
            return emulator;
        }
        let emulator = Arc::new(Emulator::start().await);
        *shared = Arc::downgrade(&emulator);
        emulator
    }
}
