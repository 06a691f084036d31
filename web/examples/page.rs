//! Serves the page with a host that is not there, to look at it:
//! `cargo run -p web --example page [-- empty|late|long|token]`, then open the address that it prints.

#[path = "../tests/http/fake.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod fake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use web::api::{Event, Trouble};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let host = match argument.as_str() {
        "empty" => fake::Fake::default(),
        _ => {
            let long =
                format!("projects/{}/<b>bold</b> & co/debian-12.ndz", "very-long-".repeat(14));
            let names = ["baseline-22.04.ndz", "gnuradio/gr-3.10.ndz", "wireless-2.6.ndz", &long];
            let mut host = fake::Fake::with_images(&names);
            host.is_secret = argument == "token";
            host.warnings =
                vec!["eth1 has no multicast querier: switches may stop delivering groups".into()];
            host.add_session(names[0], 400, if argument == "late" { 0.75 } else { 0.2 });
            host.add_session(if argument == "long" { &long } else { names[1] }, 12, 0.5);
            host
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/", listener.local_addr()?);
    let host = Arc::new(host);
    let server = web::Server::new(Arc::clone(&host), web::Config::default());
    server.serve(listener, None, happenings(&host)).await;
    Ok(())
}

/// Something happens now and then, for ever.
async fn happenings(host: &fake::Fake) {
    let (session, name) = ("s1".to_owned(), "saves/node3-4.ndz".to_owned());
    for number in 1..=u8::MAX {
        sleep(Duration::from_millis(1500)).await;
        let client = SocketAddr::from(([10, 10, 1, number], 40_000));
        host.tell(match number % 4 {
            0 => Event::ClientJoined { session: session.clone(), client, unicast: false },
            1 => Event::ClientLeft { session: session.clone(), client, done: true, millis: 93_000 },
            2 => Event::UploadEnded { name: name.clone(), bytes: 1_500_000_000, error: None },
            _ => Event::ClientTrouble {
                session: Some(session.clone()),
                client: format!("node1-{number}"),
                image: "baseline-22.04.ndz".into(),
                trouble: Trouble {
                    what: "no_data".into(),
                    waited_secs: 5,
                    fallback: true,
                    at_secs: 1_790_000_000,
                },
            },
        });
    }
    std::future::pending().await
}
