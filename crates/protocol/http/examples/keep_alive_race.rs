//! A server that closes whatever is idle for 50 ms, without announcing it, and callers that pause for 0 to 100 ms: what fails, and is
//! any POST done twice?
//!
//! ```sh
//! cargo run --release -p millstream-http --example keep_alive_race -- 100000
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_http::{HttpClient, Method};
use millstream_server::Engine;

const CALLERS: usize = 256;
const IDLE: Duration = Duration::from_millis(50);

type Seen = Arc<Mutex<HashMap<String, u32>>>;
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Answers each request, and counts it by its target.
fn serve(stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut writing = stream;
    while let Some(Ok(line)) = lines.next() {
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        for line in lines.by_ref() {
            if line?.is_empty() {
                break;
            }
        }
        *seen.lock().unwrap_or_else(PoisonError::into_inner).entry(target).or_default() += 1;
        writing.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
    Ok(())
}

fn start(seen: Seen) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = seen.clone();
            // A client that leaves in a request is none of the server's business.
            std::thread::spawn(move || serve(stream, &seen).unwrap_or_default());
        }
    });
    Ok(address)
}

/// One caller's requests: half of them POST; what failed.
async fn call(client: HttpClient, address: SocketAddr, caller: usize, requests: usize) -> Vec<String> {
    let (mut failed, mut dice) = (Vec::new(), caller as u64 + 1);
    for number in 0..requests {
        dice = dice * 48_271 % 2_147_483_647;
        tokio::time::sleep(Duration::from_micros(dice % 100_000)).await;
        let method = if dice % 2 == 0 { Method::POST } else { Method::GET };
        let url = format!("http://{address}/{method}-{caller}-{number}");
        match client.request(method.clone(), url).send().await {
            Ok(reply) => failed.extend(reply.text().await.err().map(|error| error.to_string())),
            Err(error) => failed.push(format!("{error} (seen: {:?})", error.seen())),
        }
    }
    failed
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let requests: usize = std::env::args().nth(1).map_or(Ok(20_000), |text| text.parse())?;
    let seen = Seen::default();
    let address = start(seen.clone())?;
    let engine = Engine::builder().build()?;
    let client = HttpClient::new(&engine);
    let began = Instant::now();
    let callers =
        (0..CALLERS).map(|caller| tokio::spawn(call(client.clone(), address, caller, requests / CALLERS)));
    let mut failed = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        failed.extend(caller.await?);
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let twice = |method: &str| {
        seen.iter().filter(|(name, count)| name[1..].starts_with(method) && **count > 1).count()
    };
    println!(
        "{} requests in {:.1} s: {} failed",
        requests / CALLERS * CALLERS,
        began.elapsed().as_secs_f64(),
        failed.len()
    );
    println!("done twice: {} POST, {} GET", twice("POST"), twice("GET"));
    failed.iter().take(5).for_each(|error| println!("  {error}"));
    let lives = millstream_server::lives(&engine);
    for account in lives.ledger() {
        println!("{} opened for {} requests", account.counts.opened(), account.requests);
        account
            .counts
            .each_ended()
            .for_each(|(_, cause, by, count)| println!("  {count:>7} {cause} by {by}"));
    }
    Ok(())
}
