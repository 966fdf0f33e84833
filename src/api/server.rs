//! Connections: how many, how long they may take, and how they end.
//!
//! hyper is driven directly, since only its connection builder has a time limit for the request's
//! head. Nobody holds a connection by doing nothing: the head, the body, the whole request and a
//! client that does not read its answer all have their time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tracing::{debug, info, warn};

use super::{Parts, router};

/// The longest head of a request, in bytes; longer ones are refused by hyper with 431.
const HEAD_MAX: usize = 32 << 10;
/// The wait after a connection could not be taken, which is mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens where the settings say.
///
/// # Errors
/// When the address cannot be had; names it.
pub async fn bind(settings: &super::Settings) -> io::Result<TcpListener> {
    let listen = settings.listen;
    TcpListener::bind(listen).await.map_err(|error| {
        let hint = "is another process there, or is the address not this machine's?";
        io::Error::new(error.kind(), format!("api.listen {listen}: {error}; {hint}"))
    })
}

/// Serves until the stop signal, then lets what is under way finish and comes back.
pub async fn serve(listener: TcpListener, parts: Parts) {
    let (live, stop) = (parts.settings.clone(), parts.stop.clone());
    let open = parts.metrics.http_connections.clone();
    let routes = router(parts);
    let slots = Arc::new(Semaphore::new(live.get().connections));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_buf_size(HEAD_MAX);
    if let Ok(listen) = listener.local_addr() {
        info!(%listen, "http ready");
    }
    loop {
        // A slot first: beyond the cap connections wait in the system's bounded backlog and are
        // served as soon as others end, which here is a matter of seconds.
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            () = stop.wait() => break,
        };
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            () = stop.wait() => break,
        };
        let stream = match taken {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "connection not taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "small answers may be late");
        }
        let settings = live.get();
        http.header_read_timeout(settings.header_timeout.to_std());
        let stream = TokioIo::new(Impatient::new(stream, settings.timeout.to_std()));
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(http.serve_connection(stream, service));
        let open = open.clone();
        open.inc();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection ended early");
            }
            open.dec();
            drop(slot);
        });
    }
    drop(listener);
    info!(connections = open.get(), "http takes no more");
    graceful.shutdown().await;
}

/// A connection that breaks when the other side takes nothing of an answer for too long.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, stuck: None }
    }

    /// Ends the wait where something moved, and fails it where nothing did for too long.
    fn moved<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not being read")))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.moved(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.moved(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.moved(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.moved(cx, poll)
    }
}
