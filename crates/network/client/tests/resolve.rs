//! Names: asked for once, remembered, and not asked for at all where they are addresses.

mod world;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::Result;
use millstream_client::transport::LifeTable;
use millstream_client::upstream::{Cache, CacheOptions, Resolve, Resolved};
use millstream_client::{Client, ClientOptions, Engine, Simple, Target};
use millstream_peers::{Count, Scripted};
use world::{Lines, World, block_on, call, echo};

/// Every name is this host; counts how often it was asked.
struct Loopback(Count);

impl Resolve for Loopback {
    fn resolve<'a>(&'a self, _host: &'a str) -> Pin<Box<dyn Future<Output = Result<Resolved>> + Send + 'a>> {
        self.0.rise();
        Box::pin(async { Ok(Resolved::new([[127, 0, 0, 1].into()], Duration::from_secs(60))) })
    }
}

#[test]
fn cached_name_is_asked_for_once_and_an_address_never() {
    let (server, asked) = (Scripted::always(echo), Count::new());
    let engine = Engine::builder().workers(2).build().expect("threads can be started");
    let cache = Cache::new(Loopback(asked.clone()), CacheOptions::default());
    let lives = LifeTable::new(engine.id(), 2);
    let protocol = Simple::new("lines", Lines);
    let client = Client::with_resolver(&engine, lives, protocol, ClientOptions::default(), Arc::new(cache));
    block_on(async {
        for host in ["127.0.0.1", "a.example", "a.example", "A.Example"] {
            let target = Target::host(host, server.address().port());
            assert_eq!(call(&client, &target, "x").await.expect("served"), "x");
            client.close_idle();
        }
    });
    assert_eq!((asked.value(), server.accepted().value()), (1, 4));
}

#[test]
fn system_knows_localhost() {
    let (world, server) = (World::new(), Scripted::always(echo));
    block_on(async {
        for _ in 0..3 {
            let target = Target::host("localhost", server.address().port());
            assert_eq!(world.call(&target, "x").await.expect("served"), "x");
            world.client.close_idle();
        }
    });
}
