//! From a request to what it asks for.

use std::sync::Arc;

use millstream_base::Result;
use millstream_http::codec::RequestHead;
use millstream_http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use millstream_http::server::Worker;
use millstream_http::{
    Handler, HeaderName, HeaderValue, IntoResponse, Method, Request, Response, StatusCode,
};

use crate::admin::Watched;
use crate::hosts::Hosts;
use crate::{connections, dashboard, diagnose, health, samples};

/// Answers all paths.
pub(crate) fn handler(watched: Watched, hosts: Hosts, own: Worker) -> impl Handler {
    let shared = Arc::new((watched, hosts, own));
    Bodies(move |request: Request| {
        let shared = shared.clone();
        async move { guarded(answer(request, &shared.0, &shared.1, &shared.2).await) }
    })
}

/// Lets a report in where one is compared with; nothing else takes a body.
struct Bodies<H>(H);

impl<H: Handler> Handler for Bodies<H> {
    type Future = H::Future;

    fn call(&self, request: Request) -> H::Future {
        self.0.call(request)
    }

    fn max_body(&self, head: &RequestHead) -> Option<u64> {
        let is_report = head.path() == DOCTOR && head.method == Method::POST;
        is_report.then_some(diagnose::LONGEST_REPORT)
    }
}

async fn answer(request: Request, watched: &Watched, hosts: &Hosts, own: &Worker) -> Response {
    if !hosts.allows(request.host()) {
        let why = "this endpoint does not answer to that Host\n";
        return Response::text(why).with_status(StatusCode::MISDIRECTED_REQUEST);
    }
    let is_doctor = request.path() == DOCTOR;
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::POST if is_doctor => {}
        _ if !PATHS.contains(&request.path()) => {}
        _ if is_doctor => return refused("GET, HEAD, POST"),
        _ => return refused("GET, HEAD"),
    }
    if is_doctor {
        return diagnosed(request, watched, own).await.into_response();
    }
    found(&request, watched).into_response()
}

fn refused(allowed: &'static str) -> Response {
    let refused = Response::text(format!("only {allowed}\n")).with_status(StatusCode::METHOD_NOT_ALLOWED);
    refused.with_header(ALLOW, HeaderValue::from_static(allowed))
}

/// The report of before comes first: what can't be compared with is told before anybody looks.
async fn diagnosed(mut request: Request, watched: &Watched, own: &Worker) -> Result<Response> {
    let wanted: diagnose::Wanted = request.query_str().unwrap_or_default().parse()?;
    let earlier = match *request.method() {
        Method::POST => Some(diagnose::earlier(&mut request).await?),
        _ => None,
    };
    let mut report = diagnose::report(watched, own, &wanted).await?;
    if let Some(earlier) = earlier {
        report = diagnose::compared(report, &earlier)?;
    }
    let (body, kind) = match wanted.is_text {
        true => (report.to_text(), "text/plain; charset=utf-8"),
        false => (report.to_json(), "application/json"),
    };
    Ok(asset(body, kind))
}

fn found(request: &Request, watched: &Watched) -> Result<Response> {
    Ok(match request.path() {
        "/" => Response::html(dashboard::PAGE),
        "/dashboard.css" => asset(dashboard::STYLE, "text/css; charset=utf-8"),
        "/dashboard.js" => asset(dashboard::SCRIPT, "text/javascript; charset=utf-8"),
        "/health" => health::response(watched),
        "/metrics" => asset(samples::text(watched), millstream_metrics::CONTENT_TYPE),
        "/connections" => {
            let wanted = request.query_str().unwrap_or_default().parse()?;
            Response::json(&connections::Report::new(&watched.lives, &wanted))
        }
        _ => Response::text("/health /metrics /connections /doctor /\n").with_status(StatusCode::NOT_FOUND),
    })
}

const PATHS: [&str; 7] =
    ["/", "/dashboard.css", "/dashboard.js", "/health", "/metrics", "/connections", DOCTOR];

const DOCTOR: &str = "/doctor";

fn asset(body: impl Into<millstream_http::Body>, kind: &'static str) -> Response {
    Response::bytes(body).with_header(CONTENT_TYPE, HeaderValue::from_static(kind))
}

/// With the fields that keep browsers from doing more with it than showing it.
fn guarded(mut response: Response) -> Response {
    for (name, value) in &GUARDS {
        response.headers_mut().set(name.clone(), HeaderValue::from_static(value));
    }
    response
}

static GUARDS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
