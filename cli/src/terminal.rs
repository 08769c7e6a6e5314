//! Owns the state of the terminal: an action may have left it without echo or in another mode.

use std::io::{IsTerminal, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Shows the cursor and ends colours.
const PLAIN: &[u8] = b"\x1b[?25h\x1b[0m";

/// How the terminal was.
pub struct Terminal(Option<Termios>);

impl Terminal {
    /// As it is now; nothing when standard input is none.
    pub fn save() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }

    /// Puts back what has changed.
    pub fn restore(self) {
        let (stdin, Some(before)) = (std::io::stdin(), self.0) else {
            return;
        };
        // A process in the background that touches the terminal is stopped: only if need be.
        let is_same = |now: &Termios| {
            now.input_modes == before.input_modes
                && now.output_modes == before.output_modes
                && now.control_modes == before.control_modes
                && now.local_modes == before.local_modes
        };
        if tcgetattr(&stdin).is_ok_and(|now| is_same(&now)) {
            return;
        }
        let _ = tcsetattr(&stdin, OptionalActions::Drain, &before);
        let mut err = std::io::stderr();
        if err.is_terminal() {
            let _ = err.write_all(PLAIN);
        }
    }
}
