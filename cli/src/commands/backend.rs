//! Owns `synapse backend`.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use synapse_backend::{
    agent::Agent,
    http::{Running, Server, new_token},
};
use synapse_engine::Failure;

use super::agent_job::Processes;
use crate::{
    app::App,
    args::Backend,
    render::{DIM, Printer, paint},
};

/// How often it is looked whether to stop.
const ROUND: Duration = Duration::from_millis(50);

/// Runs the command; returns the exit code.
pub fn run(app: &App, args: &Backend) -> Result<u8, Failure> {
    let Backend::Serve {
        port,
        jobs,
        until_stdin_closes,
    } = args;
    let (server, agent) = start(app, *port, *jobs)?;
    say(app, &server, *until_stdin_closes);
    let closed = Arc::new(AtomicBool::new(false));
    if *until_stdin_closes {
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

/// Starts to serve the backend of this user, with an agent that runs so many jobs at once.
pub fn start(app: &App, port: u16, jobs: u16) -> Result<(Running, Agent), Failure> {
    let failed = |error| app.backend_failure(&error);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let token = new_token().map_err(failed)?;
    let backend = Arc::new(app.backend()?);
    let processes = Processes::new(app);
    let agent = Agent::start(&backend, processes, usize::from(jobs)).map_err(failed)?;
    let desk = Some(agent.desk());
    let server = Server::start_with(backend, address, token, desk).map_err(failed)?;
    Ok((server, agent))
}

fn say(app: &App, server: &Running, for_a_program: bool) {
    let mut printer = Printer::stdout(&app.output);
    if for_a_program || app.output.is_machine() {
        // One line: whoever started this reads no further before it calls.
        printer.line(json!({"url": server.url, "token": server.token}).to_string());
        return;
    }
    printer.line(format!("serving {}", app.home.backend().display()));
    printer.line(format!("  url    {}", server.url));
    printer.line(format!("  token  {}", server.token));
    if !app.output.quiet {
        let header = "callers send it as Synapse-Access-Token: Token <token>; Ctrl-C stops";
        printer.line(paint(DIM, header));
    }
}
