//! Owns `synapse __worker LIBPYTHON PYTHON ARGUMENTS`: this executable as the interpreter PYTHON.
//! It is linked to no libpython: the one that is named is loaded, whichever version it is.

use std::{
    env,
    ffi::{CStr, CString, OsString, c_char, c_int},
    io::Write,
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::ExitCode,
};

use synapse_engine::Failure;
use synapse_rules::worker::ARGUMENT;

/// The exit code when there is no interpreter to become.
const UNUSABLE: u8 = 3;

type Main = unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int;

/// Becomes a Python interpreter when that is what the arguments say.
pub fn become_python() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != ARGUMENT {
        return None;
    }
    Some(match interpret(arguments.collect()) {
        Ok(code) => ExitCode::from(code as u8),
        Err(what) => {
            let _ = writeln!(std::io::stderr(), "{what}");
            ExitCode::from(UNUSABLE)
        }
    })
}

/// For whoever gives `__worker` anywhere but first.
pub fn misused() -> Failure {
    Failure::usage(format!("{ARGUMENT} is for synapse itself"))
}

fn interpret(arguments: Vec<OsString>) -> Result<c_int, String> {
    let text = |argument: OsString| CString::new(argument.into_vec());
    let texts: Result<Vec<CString>, _> = arguments.into_iter().map(text).collect();
    let mut texts = texts.map_err(|error| error.to_string())?.into_iter();
    let library = texts.next().ok_or("no library given")?;
    let owned: Vec<CString> = texts.collect();
    if owned.is_empty() {
        return Err("no interpreter given".to_owned());
    }
    let main = load(&library)?;
    let count = owned.len() as c_int;
    // Python may keep pointers to them until the process ends.
    let owned: &'static [CString] = Vec::leak(owned);
    let mut pointers: Vec<*mut c_char> =
        owned.iter().map(|text| text.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    let pointers = Vec::leak(pointers);
    name(&owned[0]);
    // Rust's own watch for overflowing stacks would stand between a crash and faulthandler.
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the default action is a valid one.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: this is `Py_BytesMain`, which takes the number of arguments and a null-terminated
    // list of them; they live until the process ends.
    Ok(unsafe { main(count, pointers.as_mut_ptr()) })
}

/// Gives the process the name that lists of processes would show of the interpreter.
fn name(interpreter: &CStr) {
    #[cfg(target_os = "linux")]
    {
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(interpreter.to_bytes()));
        let name = path.file_name().map(|name| CString::new(name.as_bytes()));
        if let Some(Ok(name)) = name {
            // SAFETY: the option takes a text that ends with a null; more than 15 bytes of it
            // are cut.
            unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = interpreter;
}

/// `Py_BytesMain` of a library, which stays loaded. Its symbols are there for all that is loaded
/// after it: C extensions are not linked to libpython.
fn load(library: &CStr) -> Result<Main, String> {
    // SAFETY: loading runs the library's initialisers: those of CPython expect nothing.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if handle.is_null() {
        return Err(last_error(library));
    }
    // SAFETY: the handle is valid and the name ends with a null.
    let symbol = unsafe { libc::dlsym(handle, c"Py_BytesMain".as_ptr()) };
    if symbol.is_null() {
        return Err(last_error(library));
    }
    // SAFETY: CPython declares `int Py_BytesMain(int, char **)`, in its stable ABI since 3.8.
    Ok(unsafe { std::mem::transmute::<*mut libc::c_void, Main>(symbol) })
}

fn last_error(library: &CStr) -> String {
    // SAFETY: it returns null or a text that is valid until the next call; only one thread runs.
    let error = unsafe {
        let error = libc::dlerror();
        (!error.is_null()).then(|| CStr::from_ptr(error).to_string_lossy().into_owned())
    };
    error.unwrap_or_else(|| format!("cannot load {}", library.to_string_lossy()))
}
