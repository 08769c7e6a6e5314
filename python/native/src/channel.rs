//! Owns [`Channel`]: frames of bytes over two pipes, whole even when threads and forked children
//! write at the same time.

use std::{
    io::{self, ErrorKind},
    os::fd::RawFd,
    process, ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

use pyo3::{
    exceptions::{PyBrokenPipeError, PyValueError},
    prelude::*,
    types::PyBytes,
};

/// The largest frame, in bytes.
const LARGEST: usize = 64 << 20;

/// Two pipes and a file to lock. A frame is its length (four bytes, little end first) and its
/// bytes.
#[pyclass(frozen, module = "synapse_native")]
pub(crate) struct Channel {
    read: RawFd,
    write: RawFd,
    lock: RawFd,
    gate: AtomicPtr<Gate>,
}

/// Keeps the threads of one process apart. A forked child makes its own: the one that it has
/// inherited may be held for ever by a thread that it has not.
struct Gate {
    process: u32,
    turn: Mutex<()>,
}

/// What stopped a transfer.
enum Stop {
    /// A signal came before the first byte: Python looks at it, then it goes on.
    Signal,
    Failed(io::Error),
}

#[pymethods]
impl Channel {
    /// Frames are read from `read_fd` and written to `write_fd`; `lock_fd` is an open file on
    /// which writers of several processes take turns.
    #[new]
    fn new(read_fd: RawFd, write_fd: RawFd, lock_fd: RawFd) -> Self {
        let gate = AtomicPtr::new(ptr::null_mut());
        Self {
            read: read_fd,
            write: write_fd,
            lock: lock_fd,
            gate,
        }
    }

    /// Writes one frame. Other threads run meanwhile. Raises `BrokenPipeError` when nobody reads
    /// any more.
    fn send(&self, py: Python<'_>, payload: &[u8]) -> PyResult<()> {
        if payload.len() > LARGEST {
            let what = format!("a frame of {} bytes, more than {LARGEST}", payload.len());
            return Err(PyValueError::new_err(what));
        }
        let mut frame = Vec::with_capacity(payload.len() + 4);
        frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        frame.extend_from_slice(payload);
        loop {
            match py.detach(|| self.write(&frame)) {
                Ok(()) => return Ok(()),
                Err(Stop::Signal) => py.check_signals()?,
                Err(Stop::Failed(error)) if error.kind() == ErrorKind::BrokenPipe => {
                    return Err(PyBrokenPipeError::new_err(
                        "nobody reads the worker's events",
                    ));
                }
                Err(Stop::Failed(error)) => return Err(error.into()),
            }
        }
    }

    /// Reads one frame; `None` when there are no more.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut head = [0; 4];
        match self.fill(py, &mut head)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
        }
        let length = u32::from_le_bytes(head) as usize;
        if length > LARGEST {
            let what = format!("a frame of {length} bytes, more than {LARGEST}");
            return Err(PyValueError::new_err(what));
        }
        let mut payload = vec![0; length];
        if self.fill(py, &mut payload)? < length {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        Ok(Some(PyBytes::new(py, &payload)))
    }

    /// Keeps the descriptors from programs that this process starts.
    fn set_cloexec(&self) -> PyResult<()> {
        for fd in [self.read, self.write, self.lock] {
            // SAFETY: these commands take and return integers only.
            let done = unsafe {
                let flags = libc::fcntl(fd, libc::F_GETFD);
                flags >= 0 && libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) >= 0
            };
            if !done {
                return Err(io::Error::last_os_error().into());
            }
        }
        Ok(())
    }
}

impl Channel {
    fn gate(&self) -> &'static Gate {
        let own = process::id();
        let current = self.gate.load(Ordering::Acquire);
        // SAFETY: the pointer is null or came from a leaked box below, so it is valid for ever.
        if let Some(gate) = unsafe { current.as_ref() }
            && gate.process == own
        {
            return gate;
        }
        let fresh: &'static Gate = Box::leak(Box::new(Gate {
            process: own,
            turn: Mutex::new(()),
        }));
        let placed = self.gate.compare_exchange(
            current,
            ptr::from_ref(fresh).cast_mut(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match placed {
            Ok(_) => fresh,
            // SAFETY: another thread of this process was first, with a leaked box.
            Err(other) => unsafe { other.as_ref() }.unwrap_or(fresh),
        }
    }

    /// Writes a whole frame, in its turn among threads and processes.
    fn write(&self, frame: &[u8]) -> Result<(), Stop> {
        let _turn = self
            .gate()
            .turn
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        set_lock(self.lock, libc::F_WRLCK as libc::c_short)?;
        let written = self.write_locked(frame);
        // The lock goes with the process, whatever this says.
        let _ = set_lock(self.lock, libc::F_UNLCK as libc::c_short);
        written
    }

    fn write_locked(&self, frame: &[u8]) -> Result<(), Stop> {
        let mut sent = 0;
        while sent < frame.len() {
            let rest = &frame[sent..];
            // SAFETY: the pointer and length are those of a live slice.
            let count = unsafe { libc::write(self.write, rest.as_ptr().cast(), rest.len()) };
            if count >= 0 {
                sent += count as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                // A frame that was begun is finished, or the reader could not go on.
                ErrorKind::Interrupted if sent > 0 => {}
                ErrorKind::Interrupted => return Err(Stop::Signal),
                _ => return Err(Stop::Failed(error)),
            }
        }
        Ok(())
    }

    /// Reads until `buffer` is full or there is no more; says how much it read.
    fn fill(&self, py: Python<'_>, buffer: &mut [u8]) -> PyResult<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let read = py.detach(|| {
                // SAFETY: the pointer and length are those of a live slice that nobody else has.
                let count = unsafe { libc::read(self.read, rest.as_mut_ptr().cast(), rest.len()) };
                if count < 0 {
                    Err(io::Error::last_os_error())
                } else {
                    Ok(count as usize)
                }
            });
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => py.check_signals()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }
}

/// Takes or gives back the lock that keeps processes apart.
fn set_lock(fd: RawFd, kind: libc::c_short) -> Result<(), Stop> {
    // SAFETY: a zeroed `flock` is a valid one: it means the whole file, from its start.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: this command takes a pointer to a `flock`, which lives across the call.
    if unsafe { libc::fcntl(fd, libc::F_SETLKW, &raw const lock) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    Err(if error.kind() == ErrorKind::Interrupted {
        Stop::Signal
    } else {
        Stop::Failed(error)
    })
}
