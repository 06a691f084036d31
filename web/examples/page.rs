//! Serves the page with a host that is not there, to look at it:
//! `cargo run -p web --example page [-- empty|late|long]`, then open the address that it prints.

#[path = "../tests/http/fake.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod fake;

use std::sync::Arc;
use tokio::net::TcpListener;

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
            host.warnings =
                vec!["eth1 has no multicast querier: switches may stop delivering groups".into()];
            host.add_session(names[0], 400, if argument == "late" { 0.75 } else { 0.2 });
            host.add_session(if argument == "long" { &long } else { names[1] }, 12, 0.5);
            host
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/", listener.local_addr()?);
    let server = web::Server::new(Arc::new(host), web::Config::default());
    server.serve(listener, None, std::future::pending()).await;
    Ok(())
}
