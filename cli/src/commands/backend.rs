//! Owns `synapse backend`.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    num::NonZeroU32,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use synapse_backend::{
    agent::Agent,
    http::{Running, Server, Settings, new_token},
};
use synapse_engine::Failure;

use crate::{
    app::App,
    args::{Backend, Serve},
    render::{DIM, Printer, WARN, paint},
};

use super::{agent_job::Processes, cache::parse_size, token};

/// How often it is looked whether to stop.
const ROUND: Duration = Duration::from_millis(50);

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Backend) -> Result<u8, Failure> {
    match args {
        Backend::Serve(args) => serve(app, args),
        Backend::Token(args) => token::run(app, args),
    }
}

fn serve(app: &App, args: &Serve) -> Result<u8, Failure> {
    let (server, agent) = start(app, args)?;
    say(app, args, &server);
    let closed = Arc::new(AtomicBool::new(false));
    if args.until_stdin_closes {
        let closed = Arc::clone(&closed);
        std::thread::spawn(move || {
            let mut void = [0; 1024];
            let mut input = std::io::stdin();
            while input.read(&mut void).is_ok_and(|count| count > 0) {}
            closed.store(true, Ordering::Relaxed);
        });
    }
    while !app.cancel.cancelled() && !closed.load(Ordering::Relaxed) {
        if !server.is_up() {
            return Err(Failure::bug("the backend stopped serving by itself"));
        }
        std::thread::sleep(ROUND);
    }
    server.stop();
    drop(agent);
    Ok(0)
}

fn start(app: &App, args: &Serve) -> Result<(Running, Agent), Failure> {
    let failed = |error| app.backend_failure(&error);
    let max_upload = args.max_upload.as_deref().map(|text| {
        parse_size(text).ok_or_else(|| {
            Failure::usage(format!("{text:?} is not a size"))
                .hint("write it like 500MB, 2GB or 1.5GiB")
        })
    });
    let max_upload = max_upload.transpose()?;
    let address = resolve(&args.host, args.port)?;
    let open = !address.ip().is_loopback();
    let named = args.host.parse::<IpAddr>().is_err() && args.host != "localhost";
    let backend = Arc::new(app.backend_in(args.data.dir.as_deref(), max_upload)?);
    let agent = Agent::start(&backend, Processes::new(app), usize::from(args.jobs));
    let agent = agent.map_err(failed)?;
    let settings = Settings {
        open,
        name: named.then(|| args.host.clone()),
        rate: NonZeroU32::new(args.rate),
        uploads: usize::from(args.max_uploads),
        max_upload,
        grace: Duration::from_secs(u64::from(args.grace)),
        log: log(app, args)?,
        agent: Some(agent.desk()),
        ..Settings::new(new_token().map_err(failed)?)
    };
    let server = Server::start_with(backend, address, settings).map_err(failed)?;
    if open && !app.output.quiet {
        let warning = paint(WARN, "warning:");
        Printer::stderr(&app.output).line(format!(
            "{warning} {} can be reached from other machines, and the traffic is not encrypted: \
             tokens and files can be read on the way",
            server.url
        ));
    }
    Ok((server, agent))
}

/// The address that a host is. Of several, one of this machine alone comes first.
fn resolve(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = (bare, port)
        .to_socket_addrs()
        .map_err(|error| {
            Failure::user("host", format!("cannot listen on {host:?}: {error}"))
                .hint("give an address of this machine, such as 127.0.0.1, or a name of it")
        })?
        .collect();
    let mut all = found.iter();
    let loopback = all.find(|address| address.ip().is_loopback() && address.is_ipv4());
    loopback.or_else(|| found.first()).copied().ok_or_else(|| {
        Failure::user("host", format!("{host:?} has no address"))
            .hint("give an address of this machine, such as 127.0.0.1, or a name of it")
    })
}

/// Where the request log goes.
fn log(app: &App, args: &Serve) -> Result<Option<Box<dyn Write + Send>>, Failure> {
    let Some(path) = &args.log else {
        let wanted = app.output.verbose;
        return Ok(wanted.then(|| Box::new(std::io::stderr()) as Box<dyn Write + Send>));
    };
    let path: &Path = &app.cwd.join(path);
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            let what = format!("the request log cannot be opened: {error}");
            Failure::environment("file", what).at(path.display().to_string())
        })?;
    Ok(Some(Box::new(file)))
}

fn say(app: &App, args: &Serve, server: &Running) {
    let mut printer = Printer::stdout(&app.output);
    if args.until_stdin_closes || app.output.is_machine() {
        // One line: whoever started this reads no further before it calls.
        let said = json!({
            "schema": 1, "command": "backend serve", "url": server.url, "token": server.token,
        });
        printer.line(said.to_string());
        return;
    }
    let folder = args.data.dir.clone().unwrap_or_else(|| app.home.backend());
    printer.line(format!("serving {}", folder.display()));
    printer.line(format!("  url    {}", server.url));
    printer.line(format!("  token  {}", server.token));
    if !app.output.quiet {
        let header = "callers send it as Synapse-Access-Token: Token <token>; Ctrl-C stops";
        printer.line(paint(DIM, header));
        let more = "it may do everything, until the server stops; for others: synapse backend token create";
        printer.line(paint(DIM, more));
    }
}
