//! Owns connections: how many there are, how long a silent one is kept, and how they end.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::guard;
use super::site::Site;

/// Connections at a time. Others wait to be accepted.
const MOST: u32 = 512;
/// How long the head of a request may take, and a connection be idle before one.
const HEAD: Duration = Duration::from_secs(30);
/// The same when more than half of the places are taken, so that those who say nothing give way.
const CROWDED: Duration = Duration::from_secs(3);
/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the server stops, then returns when the last one is done.
pub(crate) async fn serve(listener: TcpListener, site: &Arc<Site>) {
    let room = Arc::new(Semaphore::new(MOST as usize));
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let site = Arc::clone(site);
                    let crowded = room.available_permits() < MOST as usize / 2;
                    let head = if crowded { CROWDED } else { HEAD };
                    tokio::spawn(async move {
                        converse(stream, &site, head).await;
                        drop(place);
                    });
                }
                // Whoever it was is gone.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted
                            | ErrorKind::ConnectionRefused
                            | ErrorKind::ConnectionReset
                    ) => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = site.stopped() => {}
    }
    drop(listener);
    let _ = room.acquire_many(MOST).await;
}

async fn converse(stream: TcpStream, site: &Arc<Site>, head: Duration) {
    // Without it, the parts of a short answer would wait for each other.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<Incoming>| async {
        Ok::<_, Infallible>(guard::enter(site, request.map(Body::new)).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // An error is the other side's affair.
        _ = connection.as_mut() => return,
        () = site.stopped() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
