//! From a request to what it asks for.

use std::sync::Arc;

use millstream_base::Result;
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
    move |request: Request| {
        let shared = shared.clone();
        async move { guarded(answer(&request, &shared.0, &shared.1, &shared.2).await) }
    }
}

async fn answer(request: &Request, watched: &Watched, hosts: &Hosts, own: &Worker) -> Response {
    if !hosts.allows(request.host()) {
        let why = "this endpoint does not answer to that Host\n";
        return Response::text(why).with_status(StatusCode::MISDIRECTED_REQUEST);
    }
    let is_known = PATHS.contains(&request.path());
    if is_known && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = Response::text("only GET and HEAD\n").with_status(StatusCode::METHOD_NOT_ALLOWED);
        return refused.with_header(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if request.path() == "/doctor" {
        return diagnosed(request, watched, own).await.into_response();
    }
    found(request, watched).into_response()
}

async fn diagnosed(request: &Request, watched: &Watched, own: &Worker) -> Result<Response> {
    let wanted: diagnose::Wanted = request.query_str().unwrap_or_default().parse()?;
    let report = diagnose::report(watched, own, &wanted).await?;
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
    ["/", "/dashboard.css", "/dashboard.js", "/health", "/metrics", "/connections", "/doctor"];

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
