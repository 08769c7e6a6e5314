//! Owns [`IoThread`]: the one thread on which all talk with an object store happens, so that
//! connections outlive the stage that opened them.

use std::{future::Future, io, sync::mpsc, time::Duration};

use synapse_engine::{Cancel, Failure};
use tokio::{runtime::Handle, sync::oneshot};

/// How often a wait looks whether work was asked to stop.
const LOOK: Duration = Duration::from_millis(20);

/// A thread that drives a runtime; it ends when this is dropped.
pub(super) struct IoThread {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl IoThread {
    /// Starts it.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("object-store".to_owned())
            .spawn(move || {
                let _ = runtime.block_on(ended);
                // What still hangs there must not keep the command from ending.
                runtime.shutdown_background();
            })?;
        Ok(Self { handle, _end: end })
    }

    /// Runs `work` there and waits for it; when work is asked to stop, it is dropped where it
    /// stands. `meanwhile` is called now and then.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        cancel: &Cancel,
        meanwhile: &dyn Fn(),
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (send, receive) = mpsc::sync_channel(1);
        let task = self.handle.spawn(async move {
            let _ = send.send(work.await);
        });
        loop {
            match receive.recv_timeout(LOOK) {
                Ok(value) => return Ok(value),
                Err(mpsc::RecvTimeoutError::Timeout) if cancel.cancelled() => {
                    task.abort();
                    return Err(Failure::cancelled());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => meanwhile(),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::bug("a call to an object store ended without a word"));
                }
            }
        }
    }
}
