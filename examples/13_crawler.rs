//! Follows links from page to page of the same host, each page once: at most so many at a time, and so many a host.
//!
//! ```sh
//! cargo run --release --example 13_crawler -- --depth 4
//! cargo run --release --example 13_crawler -- http://example.org/ --depth 1 --per-host 2
//! ```
//!
//! Without URLs it crawls two servers of its own.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use clap::Parser;
use millstream::compute::Queue;
use millstream::flow::{Each, ResourcePool};
use millstream::http::Url;
use millstream::prelude::*;
use millstream::runtime::sleep;

#[derive(Parser)]
struct Options {
    /// Where to begin.
    urls: Vec<String>,
    /// How many links away from there.
    #[arg(long, default_value_t = 3)]
    depth: u32,
    /// How many pages at a time.
    #[arg(long, default_value_t = 8)]
    at_most: usize,
    /// How many of one host at a time.
    #[arg(long, default_value_t = 2)]
    per_host: usize,
}

/// What all visits share.
#[derive(Clone)]
struct Crawler {
    client: HttpClient,
    queue: Queue,
    /// Leave to fetch a page, for each host that it begins at. No link leads to another.
    leave: HashMap<String, ResourcePool<()>>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let urls = if options.urls.is_empty() { own_urls(&engine)? } else { options.urls.clone() };
        let urls = urls.iter().map(|url| url.parse()).collect::<Result<Vec<Url>>>()?;
        let pool = |url: &Url| (url.host().to_owned(), ResourcePool::new(vec![(); options.per_host.max(1)]));
        let (client, queue) = (HttpClient::new(&engine), engine.compute("links")?);
        let crawler = Crawler { client, queue, leave: urls.iter().map(pool).collect() };
        crawler.crawl(urls, &options).await
    })?
}

impl Crawler {
    /// One depth after the other: so the first way that is found to a page is a shortest one.
    async fn crawl(&self, mut urls: Vec<Url>, options: &Options) -> Result<()> {
        let mut seen = HashSet::new();
        for depth in 0..=options.depth {
            urls.retain(|url| seen.insert(url.to_string()));
            let mut pages = Each::of(std::mem::take(&mut urls)).at_most(options.at_most).run(|url| {
                let crawler = self.clone();
                async move { Ok((url.clone(), crawler.visit(url).await)) }
            });
            while let Some(page) = pages.next().await {
                let (url, links) = page?;
                match links {
                    Ok(links) => {
                        println!("{depth}  {:>4} links  {url}", links.len());
                        urls.extend(links);
                    }
                    Err(error) => println!("{depth}        error  {error}"),
                }
            }
        }
        println!("{} pages", seen.len());
        Ok(())
    }

    /// Fetches a page, and gives its links to the same host.
    async fn visit(&self, url: Url) -> Result<Vec<Url>> {
        let host = url.host().to_owned();
        let leave = self.leave[&host].get().await?;
        let response = self.client.get(&url).send().await?.error_for_status()?;
        // Where it really is, after redirects.
        let base = response.url().clone();
        if !response.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            return Ok(Vec::new());
        }
        let text = response.text().await?;
        drop(leave);
        // A large page takes a while: not on a worker, where others wait for the network.
        self.queue.run(move || links(&base, &text, &host)).await
    }
}

/// Enough for an example: no parser of HTML.
fn links(base: &Url, text: &str, host: &str) -> Vec<Url> {
    let hrefs = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    hrefs.filter_map(|href| base.join(href).ok()).filter(|url| url.host() == host).collect()
}

/// Two servers: from each page links lead to two others, to the first one, and to another host.
fn own_urls(engine: &Engine) -> Result<Vec<String>> {
    let site = async |request: Request| {
        sleep(Duration::from_millis(20)).await;
        let number: u32 = request.path()[1..].parse().unwrap_or(0);
        let links =
            [format!("/{}", 2 * number + 1), format!("{}", 2 * number + 2), "/".into(), ABROAD.into()];
        Response::html(links.map(|link| format!("<a href=\"{link}\">{link}</a>\n")).concat())
    };
    let serve = |address| HttpServer::new(engine).bind(address)?.serve(site);
    let running = ["127.0.0.1:0", "127.0.0.2:0"].map(serve).into_iter();
    running.map(|running| Ok(format!("http://{}/", running?.local_addr()))).collect()
}

const ABROAD: &str = "http://example.org/";
