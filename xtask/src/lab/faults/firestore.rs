//! A proxy in front of Firestore that answers the next BatchWrite calls with errors, before or after
//! they took effect; everything else passes, counts as slowly as told.

use anyhow::{Context as _, Result};
use fs::firestore_client::FirestoreClient;
use gcloud_sdk::google::firestore::v1 as fs;
use gcloud_sdk::google::rpc;
use gcloud_sdk::tonic::body::Body;
use gcloud_sdk::tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use gcloud_sdk::tonic::server::{Grpc, NamedService, UnaryService};
use gcloud_sdk::tonic::transport::server::TcpIncoming;
use gcloud_sdk::tonic::transport::{Channel, Endpoint, Server};
use gcloud_sdk::tonic::{Code, Request, Response, Status};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tonic_prost::ProstCodec;

const BATCH_WRITE: &str = "/google.firestore.v1.Firestore/BatchWrite";
const COUNT: &str = "/google.firestore.v1.Firestore/RunAggregationQuery";

/// What becomes of one BatchWrite call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// Refused as a whole; nothing was written.
    Refused(Code),
    /// Written, but the answer is this error.
    Lost(Code),
    /// Every `n`th document is refused with RESOURCE_EXHAUSTED, the others are written.
    Some(usize),
    /// Written, but every `n`th document is said to have failed with UNAVAILABLE.
    Unconfirmed(usize),
    /// Written, but the list of statuses ends early.
    ShortAnswer,
    /// A condition that does not hold is answered with this code.
    Unmet(Code),
    /// No answer ever comes, and nothing is written.
    Hang,
}

/// The proxy; dropped, it ends with all of its connections.
pub struct FirestoreFaults {
    port: u16,
    next: Next,
    serving: AbortHandle,
}

/// Of the calls to come, first to last.
#[derive(Clone, Default)]
struct Next {
    faults: Arc<Mutex<VecDeque<WriteFault>>>,
    meanwhile: Arc<Mutex<VecDeque<Meanwhile>>>,
    count_waits: Arc<Mutex<Duration>>,
}

/// What others do while a call is on its way.
type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FirestoreFaults {
    /// Listens on a free port of 127.0.0.1 and passes everything to the emulator at `to`
    /// (`host:port`), also when that comes back after it was gone.
    pub async fn start(to: &str) -> Result<FirestoreFaults> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening")?;
        let port = listener.local_addr().context("listening")?.port();
        let endpoint = Endpoint::from_shared(format!("http://{to}")).context("the emulator's address")?;
        let next = Next::default();
        let proxy = Proxy { emulator: endpoint.connect_lazy(), next: next.clone() };
        let serving = tokio::spawn(
            Server::builder().add_service(proxy).serve_with_incoming(TcpIncoming::from(listener)),
        );
        Ok(FirestoreFaults { port, next, serving: serving.abort_handle() })
    }

    /// `host:port`, as an emulator's address is given.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The next calls meet these, in this order, instead of any that were set before.
    pub fn set(&self, faults: impl IntoIterator<Item = WriteFault>) {
        *locked(&self.next.faults) = faults.into_iter().collect();
    }

    /// The next call waits until this is done: what others do between a look and the write that follows.
    /// Asked for several times, it is done before as many calls.
    pub fn before_next(&self, meanwhile: impl Future<Output = ()> + Send + 'static) {
        locked(&self.next.meanwhile).push_back(Box::pin(meanwhile));
    }

    /// Every count waits so long from now on.
    pub fn slow_counts(&self, wait: Duration) {
        *locked(&self.next.count_waits) = wait;
    }

    /// How many of all these have not been met yet.
    pub fn left(&self) -> usize {
        locked(&self.next.faults).len() + locked(&self.next.meanwhile).len()
    }
}

impl Drop for FirestoreFaults {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone)]
struct Proxy {
    emulator: Channel,
    next: Next,
}

impl NamedService for Proxy {
    const NAME: &'static str = "google.firestore.v1.Firestore";
}

impl Service<http::Request<Body>> for Proxy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move {
            if request.uri().path() == COUNT {
                let wait = *locked(&proxy.next.count_waits);
                tokio::time::sleep(wait).await;
            }
            if request.uri().path() != BATCH_WRITE {
                return Ok(proxy.pass(request).await);
            }
            let (fault, meanwhile) =
                (locked(&proxy.next.faults).pop_front(), locked(&proxy.next.meanwhile).pop_front());
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            Ok(match fault {
                None => proxy.pass(request).await,
                Some(WriteFault::Refused(code)) => Status::new(code, "refused on purpose").into_http(),
                Some(WriteFault::Hang) => std::future::pending().await,
                Some(fault) => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(Faulty { emulator: proxy.emulator, fault }, request).await
                }
            })
        })
    }
}

impl Proxy {
    async fn pass(mut self, request: http::Request<Body>) -> http::Response<Body> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Status::unavailable(format!("the emulator does not answer: {error}")).into_http()
        };
        match std::future::poll_fn(|cx| self.emulator.poll_ready(cx)).await {
            Ok(()) => self.emulator.call(request).await.unwrap_or_else(|error| unreachable(&error)),
            Err(error) => unreachable(&error),
        }
    }
}

/// One call whose request or answer is changed on the way.
struct Faulty {
    emulator: Channel,
    fault: WriteFault,
}

impl UnaryService<fs::BatchWriteRequest> for Faulty {
    type Response = fs::BatchWriteResponse;
    type Future = BoxFuture<Response<fs::BatchWriteResponse>, Status>;

    fn call(&mut self, request: Request<fs::BatchWriteRequest>) -> Self::Future {
        let (mut client, fault) = (FirestoreClient::new(self.emulator.clone()), self.fault);
        Box::pin(async move {
            if let WriteFault::Some(every) = fault {
                return refusing(client, request, every).await;
            }
            let mut answer = client.batch_write(request).await?;
            let fs::BatchWriteResponse { status, write_results } = answer.get_mut();
            match fault {
                WriteFault::Lost(code) => return Err(Status::new(code, "lost on purpose")),
                WriteFault::Unconfirmed(every) => {
                    status.iter_mut().step_by(every.max(1)).for_each(|status| {
                        *status = purposely(Code::Unavailable, "lost on purpose");
                    });
                }
                WriteFault::Unmet(code) => {
                    let unmet = [Code::AlreadyExists, Code::FailedPrecondition, Code::NotFound];
                    let unmet = status.iter_mut().filter(|s| unmet.contains(&Code::from(s.code)));
                    unmet.for_each(|status| status.code = code.into());
                }
                _ => {
                    status.truncate(status.len() / 2);
                    write_results.truncate(status.len());
                }
            }
            Ok(answer)
        })
    }
}

fn purposely(code: Code, message: &str) -> rpc::Status {
    rpc::Status { code: code.into(), message: message.into(), ..Default::default() }
}

/// Keeps every so many documents from the emulator, and answers for them.
async fn refusing(
    mut client: FirestoreClient<Channel>,
    request: Request<fs::BatchWriteRequest>,
    every: usize,
) -> Result<Response<fs::BatchWriteResponse>, Status> {
    let (metadata, extensions, mut batch) = request.into_parts();
    let refused = |index: usize| index.is_multiple_of(every.max(1));
    let count = batch.writes.len();
    let mut index = 0..;
    batch.writes.retain(|_| !refused(index.next().unwrap_or_default()));
    let mut written = match batch.writes.is_empty() {
        true => fs::BatchWriteResponse::default(),
        false => client.batch_write(Request::from_parts(metadata, extensions, batch)).await?.into_inner(),
    };
    let (mut results, mut statuses) = (written.write_results.drain(..), written.status.drain(..));
    let mut answer = fs::BatchWriteResponse::default();
    for index in 0..count {
        answer.write_results.push(match refused(index) {
            true => fs::WriteResult::default(),
            false => results.next().unwrap_or_default(),
        });
        answer.status.push(match refused(index) {
            true => purposely(Code::ResourceExhausted, "refused on purpose"),
            false => statuses.next().unwrap_or_default(),
        });
    }
    Ok(Response::new(answer))
}
