//! A small service: routes, path parameters, query, JSON, forms, a nested router, a layer, and state.
//!
//! ```sh
//! cargo run --example 03_router
//! curl -i http://127.0.0.1:9103/
//! curl -i -d '{"text":"buy milk"}' -H 'Content-Type: application/json' http://127.0.0.1:9103/api/notes
//! curl -i -d text=tea http://127.0.0.1:9103/form
//! curl -i 'http://127.0.0.1:9103/api/notes?contains=milk'
//! curl -i http://127.0.0.1:9103/api/notes/1
//! curl -i -X DELETE http://127.0.0.1:9103/api/notes/1
//! curl -iN http://127.0.0.1:9103/count
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use millstream::http::Router;
use millstream::http::extract::Rejection;
use millstream::http::router::Next;
use millstream::http::sse::Event;
use millstream::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9103")]
    listen: String,
}

/// What all handlers share: state is what their closures capture.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<BTreeMap<u64, Note>>>);

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    text: String,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    contains: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let running = HttpServer::new(&engine).bind(&options.listen)?.serve(service())?;
        println!("listening on http://{}: try the commands at the top of this file", running.local_addr());
        running.stopped().await;
        Ok(())
    })?
}

fn service() -> Router {
    let notes = Notes::default();
    let form = notes.clone();
    Router::new()
        .get("/", async |_: Request| "notes live at /api/notes\n")
        .get("/count", count)
        .post("/form", move |mut request: Request| {
            let notes = form.clone();
            async move { Ok::<_, Rejection>(notes.add(request.form().await?)) }
        })
        .nest("/api", api(notes))
        .fallback(async |request: Request| {
            (StatusCode::NOT_FOUND, format!("there is nothing at {}\n", request.path()))
        })
        .layer(log)
}

fn api(notes: Notes) -> Router {
    let (all, add, one, remove) = (notes.clone(), notes.clone(), notes.clone(), notes);
    Router::new()
        .get("/notes", move |request: Request| {
            let found = request.query().map(|search: Search| Response::json(&all.search(&search.contains)));
            std::future::ready(found)
        })
        .post("/notes", move |mut request: Request| {
            let notes = add.clone();
            async move { Ok::<_, Rejection>(notes.add(request.json().await?)) }
        })
        .get("/notes/{id}", move |request: Request| std::future::ready(one.find(&request)))
        .delete("/notes/{id}", move |request: Request| std::future::ready(remove.remove(&request)))
}

/// Server-sent events: one a second, made when the one before is on its way.
async fn count(_: Request) -> Response {
    let mut left = 5;
    Response::sse(move || {
        let number = left;
        left -= 1;
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            (number > 0).then(|| Event::data(format!("{number} to go")))
        }
    })
}

/// A layer: sees each request before its handler, and each response after it.
async fn log(request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.path());
    let response = next.run(request).await;
    println!("{line} {}", response.status().as_u16());
    response
}

impl Notes {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<u64, Note>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, note: Note) -> (StatusCode, String) {
        let id = self.with(|notes| {
            let id = notes.keys().next_back().map_or(1, |last| last + 1);
            notes.insert(id, note);
            id
        });
        (StatusCode::CREATED, format!("/api/notes/{id}\n"))
    }

    fn search(&self, text: &str) -> BTreeMap<u64, Note> {
        self.with(|notes| {
            let found = notes.iter().filter(|(_, note)| note.text.contains(text));
            found.map(|(id, note)| (*id, note.clone())).collect()
        })
    }

    fn find(&self, request: &Request) -> Response {
        let note = id(request).and_then(|id| self.with(|notes| notes.get(&id).cloned()));
        note.map_or(Response::new(StatusCode::NOT_FOUND), |note| Response::json(&note))
    }

    fn remove(&self, request: &Request) -> StatusCode {
        let note = id(request).and_then(|id| self.with(|notes| notes.remove(&id)));
        note.map_or(StatusCode::NOT_FOUND, |_| StatusCode::NO_CONTENT)
    }
}

fn id(request: &Request) -> Option<u64> {
    request.param("id")?.parse().ok()
}
