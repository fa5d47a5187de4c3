//! Which requests of plain HTTP are answered, and for how long a connection may go without one.
//!
//! ```text
//!  accepted ─▶ head ─┬─▶ a request: needs a seat (room.rs) until its connection ends ─▶ App
//!                    └─▶ a WebSocket: leaves HTTP, and its seat if it had one
//! ```
//!
//! The clock of HTTP looks at the first head and at silence between requests. A peer that begins its next
//! head, or a body that nobody reads, and drips, is up to [`HttpStream`].
//!
//! [`HttpStream`]: super::HttpStream

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::ConnectionType;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::RETRY_AFTER;
use actix_web::{Error, HttpResponse};
use tokio::time::Instant;

use super::room::{HttpRoom, NoRoom, Seat};
use super::{RETRY_AFTER_SECONDS, plain};
use crate::adapters::address::address;
use crate::metrics;

/// What the requests of one connection know of it.
#[derive(Debug, Default)]
pub(in crate::adapters) struct Place {
    seat: RefCell<Option<Seat>>,
    /// When its next request must have begun; none while one is answered.
    next_request_due: Cell<Option<Instant>>,
}

impl Place {
    /// It is counted from its first request on.
    fn take_seat(&self, room: &Arc<HttpRoom>, request: &ServiceRequest) -> Result<(), NoRoom> {
        let mut seat = self.seat.borrow_mut();
        if seat.is_none() {
            *seat = Some(room.enter(address(request.request().peer_addr()))?);
        }
        Ok(())
    }

    /// It is no connection of plain HTTP any more.
    pub(super) fn leave(&self) {
        self.seat.take();
    }

    pub(super) fn next_request_due(&self) -> Option<Instant> {
        self.next_request_due.get()
    }

    /// A request is answered from now on.
    pub(super) fn began(&self) {
        self.next_request_due.set(None);
    }

    /// The answer is there; the next request may take this long.
    pub(super) fn answered(&self, next_within: Duration) {
        self.next_request_due
            .set(Some(Instant::now() + next_within));
    }
}

/// Has a request answered if its connection has a seat. What operators look at is answered without one,
/// too, so that a flood of calls is not taken for a server that is ill.
pub(in crate::adapters) fn admit<S>(
    room: &Arc<HttpRoom>,
    next_within: Duration,
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    let place = request
        .conn_data::<Rc<Place>>()
        .cloned()
        .unwrap_or_default();
    let seated = place.take_seat(room, &request);
    let answer = match seated {
        Err(no_room) if !is_for_operators(request.path()) => {
            Err(request.into_response(turned_away(no_room)))
        }
        _ => {
            place.began();
            Ok(service.call(request))
        }
    };
    async move {
        let mut response = match answer {
            Ok(answering) => answering.await?,
            Err(refusal) => refusal,
        };
        place.answered(next_within);
        if seated.is_err() {
            let head = response.response_mut().head_mut();
            head.set_connection_type(ConnectionType::Close);
        }
        Ok(response)
    }
}

fn is_for_operators(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/metrics")
}

fn turned_away(no_room: NoRoom) -> HttpResponse {
    metrics::connection_refused(no_room.reason());
    let mut response = plain(no_room.status(), format!("{no_room}\n"));
    response
        .headers_mut()
        .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
    response
}
