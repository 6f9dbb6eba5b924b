//! A client that keeps cookies, and a server that sets them and says what it was sent.

mod serving;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_client::upstream::{Resolve, Resolved, Resolving};
use millstream_http::client::{CookieJar, HttpClientBuilder, Url};
use millstream_http::{HttpClient, Request, Response, header};
use serving::{Served, block_on};

/// Every name leads to this host.
struct Here;

impl Resolve for Here {
    fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
        let here = [IpAddr::from([127, 0, 0, 1])];
        Box::pin(async move { Ok(Resolved::new(here, Duration::from_secs(60))) })
    }
}

/// `?set=` sets a cookie each, `?to=` leads elsewhere; the body is what Cookie said.
async fn cookies(request: Request) -> Response {
    let sent: Vec<_> = request.fields().get_all("cookie").map(<[u8]>::to_vec).collect();
    let mut response = Response::bytes(sent.join(&b" | "[..]));
    for (name, value) in request.query_pairs() {
        let value = value.into_owned();
        if name == "to" {
            response = response.with_status(millstream_http::StatusCode::FOUND);
        }
        let name = if name == "to" { header::LOCATION } else { header::SET_COOKIE };
        response.headers_mut().append(name, header::HeaderValue::try_from(value).expect("one line"));
    }
    response
}

struct World {
    server: Served,
    client: HttpClient,
    jar: CookieJar,
}

impl World {
    fn new() -> Self {
        let (server, jar) = (Served::start(cookies), CookieJar::new());
        let client = client(&server, |builder| builder.cookies(jar.clone()));
        Self { server, client, jar }
    }

    /// `host/path?query` on this server.
    fn url(&self, host: &str, rest: &str) -> String {
        format!("http://{host}:{}{rest}", self.server.address.port())
    }

    /// What the server saw of cookies, asked for this.
    fn ask(&self, host: &str, rest: &str) -> String {
        ask(&self.client, &self.url(host, rest))
    }
}

fn client(server: &Served, change: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder) -> HttpClient {
    let builder = HttpClient::builder().without_proxies().resolver(Arc::new(Here));
    change(builder).build(&server.engine).expect("settings make sense")
}

fn ask(client: &HttpClient, url: &str) -> String {
    block_on(async { client.get(url).send().await.expect("answered").text().await.expect("text") })
}

#[test]
fn cookie_that_was_set_is_sent_from_the_next_request_on() {
    let world = World::new();
    assert_eq!(world.ask("a.test", "/?set=k%3Dv"), "");
    assert_eq!(world.ask("a.test", "/"), "k=v");
    assert_eq!(world.ask("a.test", "/?set=k%3Dw"), "k=v");
    assert_eq!(world.ask("a.test", "/"), "k=w");
    assert_eq!(world.ask("a.test", "/?set=k%3D%3B+Max-Age%3D0"), "k=w");
    assert_eq!(world.ask("a.test", "/"), "");
    assert!(world.jar.is_empty());
}

#[test]
fn without_a_jar_nothing_is_kept() {
    let server = Served::start(cookies);
    let client = client(&server, |builder| builder);
    for _ in 0..2 {
        assert_eq!(ask(&client, &server.url("/?set=k%3Dv")), "");
    }
}

#[test]
fn all_set_cookie_fields_count_and_cookies_go_in_one_field_long_paths_first_then_older_ones() {
    let world = World::new();
    world.ask("a.test", "/d/e?set=a%3D1%3B+Path%3D/&set=b%3D2%3B+Path%3D/d&set=c%3D3%3B+Path%3D/&set=bad");
    assert_eq!(world.jar.len(), 3);
    world.ask("a.test", "/d/e?set=a%3D4%3B+Path%3D/");
    assert_eq!(world.ask("a.test", "/d/e"), "b=2; a=4; c=3");
    assert_eq!(world.ask("a.test", "/x"), "a=4; c=3");
}

#[test]
fn cookie_stays_with_its_host_unless_it_names_a_domain_of_it() {
    for (from, set, to, expected) in [
        ("a.test", "k%3Dv", "a.test", "k=v"),
        ("a.test", "k%3Dv", "b.a.test", ""),
        ("a.test", "k%3Dv", "b.test", ""),
        ("b.a.test", "k%3Dv%3B+Domain%3Da.test", "a.test", "k=v"),
        ("b.a.test", "k%3Dv%3B+Domain%3D.A.Test", "c.a.test", "k=v"),
        ("b.a.test", "k%3Dv%3B+Domain%3Da.test", "aa.test", ""),
        ("b.a.test", "k%3Dv%3B+Domain%3Dc.a.test", "c.a.test", ""),
        ("a.test", "k%3Dv%3B+Domain%3Dtest", "b.test", ""),
        ("a.test", "k%3Dv%3B+Domain%3Dother.test", "other.test", ""),
        ("127.0.0.1", "k%3Dv", "127.0.0.1", "k=v"),
        ("127.0.0.1", "k%3Dv%3B+Domain%3D0.0.1", "127.0.0.1", ""),
        ("a.test", "k%3Dv%3B+Secure", "a.test", ""),
        ("a.test", "__Host-k%3Dv%3B+Path%3D/", "a.test", ""),
        ("a.test", "k%3Dv%3B+HttpOnly%3B+SameSite%3DStrict", "a.test", "k=v"),
        ("a.test", "k%3Dv%3B+Expires%3DWed%2C+21+Oct+2015+07:28:00+GMT", "a.test", ""),
        ("a.test", "k%3Dv%3B+Expires%3DWed%2C+21-Oct-2915+07:28:00+GMT", "a.test", "k=v"),
    ] {
        let world = World::new();
        world.ask(from, &format!("/?set={set}"));
        assert_eq!(world.ask(to, "/"), expected, "{from} sets {set}, asked {to}");
    }
}

#[test]
fn redirect_sets_cookies_and_each_hop_gets_its_own() {
    let world = World::new();
    // Set by the redirect, sent to where it leads.
    assert_eq!(world.ask("a.test", "/?set=k%3Dv&to=/next"), "k=v");
    // A path's own cookie is left behind by a hop out of it, and not sent twice within it.
    world.ask("a.test", "/in/?set=deep%3D1");
    assert_eq!(world.ask("a.test", "/in/?to=/out"), "k=v");
    assert_eq!(world.ask("a.test", "/in/?to=/in/more"), "deep=1; k=v");
    // Another host sees none of it, and the way back has them again.
    let other = world.url("b.test", "/");
    assert_eq!(world.ask("a.test", &format!("/?to={other}")), "");
    let back = world.url("b.test", &format!("/?to={}", world.url("a.test", "/")));
    assert_eq!(world.ask("a.test", &format!("/?to={back}")), "k=v");
}

#[test]
fn cookie_field_of_the_caller_stands_alone_and_goes_to_no_other_host() {
    let world = World::new();
    world.ask("a.test", "/?set=k%3Dv");
    let ask = |rest: &str| {
        let request = world.client.get(world.url("a.test", rest)).header("cookie", "mine=1");
        block_on(async { request.send().await.expect("answered").text().await.expect("text") })
    };
    assert_eq!(ask("/"), "mine=1");
    assert_eq!(ask("/?to=/next"), "mine=1");
    assert_eq!(ask(&format!("/?to={}", world.url("b.test", "/"))), "");
    assert_eq!(world.ask("a.test", "/"), "k=v", "the jar is as it was");
}

#[test]
fn clones_of_a_jar_are_one_jar_among_clients_and_threads() {
    let world = World::new();
    let second = client(&world.server, |builder| builder.cookies(world.jar.clone()));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let world = &world;
            scope.spawn(move || world.ask("a.test", &format!("/?set=k{number}%3Dv")));
        }
    });
    assert_eq!(world.jar.len(), 8);
    assert_eq!(ask(&second, &world.url("a.test", "/")).split("; ").count(), 8);
    world.jar.clear();
    assert_eq!(ask(&second, &world.url("a.test", "/")), "");
}

#[test]
fn jar_filled_by_hand_is_sent_and_shows_no_secret() {
    let world = World::new();
    let url: Url = world.url("a.test", "/").parse().expect("a URL");
    assert!(world.jar.set(&url, "k=secret"));
    assert!(!world.jar.set(&url, "k=secret; Domain=other.test"));
    assert_eq!(world.ask("a.test", "/"), "k=secret");
    let header = world.jar.header(&url).expect("there is one");
    let shown = format!("{:?} {:?} {header:?}", world.jar, world.client.options());
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn server_can_not_fill_the_jar_beyond_its_limits() {
    let jar = CookieJar::new();
    let url = |host: &str| host.parse::<Url>().expect("a URL");
    let one = url("http://a.test/");
    let (fits, is_over) = (format!("k={}", "v".repeat(4095)), format!("k={}", "v".repeat(4096)));
    assert!(jar.set(&one, &fits) && !jar.set(&one, &is_over));
    for number in 0..80 {
        assert!(jar.set(&one, &format!("k{number}=v")));
    }
    let sent = jar.header(&one).expect("there are some");
    let names = sent.to_str().expect("ASCII").split("; ").count();
    assert_eq!((jar.len(), names), (50, 50));
    for host in 0..80 {
        for number in 0..50 {
            jar.set(&url(&format!("http://h{host}.test/")), &format!("k{number}=v"));
        }
    }
    assert_eq!(jar.len(), 3_000);
    assert!(jar.header(&one).is_none(), "the ones used least lately made room");
}
