//! The page: its headers, and what a browser makes of it.

use crate::client::Running;
use crate::fake::Fake;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use web::Config;

const LONG: &str = "projects/<img src=x onerror=alert(1)>/very-long-name-very-long-name.ndz";

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    let server = Running::start(Arc::new(Fake::default()), Config::default()).await;
    let page = server.get("/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let mut files = 0;
    for (_, rest) in page.text().match_indices("/assets/").map(|(at, _)| page.text().split_at(at)) {
        let path = rest.split('"').next().unwrap();
        let asset = server.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        files += 1;
    }
    assert_eq!(files, 2, "a style and a script");
    for path in
        ["/", "/assets/page.js", "/assets/words.js", "/assets/charts.js", "/assets/clients.js"]
    {
        let asset = server.get(path).await;
        let policy = asset.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for foreign in ["http://", "https://", "innerHTML", "insertAdjacentHTML", "eval("] {
            let text = asset.text().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(foreign), "{path} holds {foreign}");
        }
        let tag = asset.header("etag").to_owned();
        let again = server.request("GET", path, &[("If-None-Match", &tag)], b"").await;
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    assert_eq!(server.get("/assets/other.js").await.problem(), "no_such_path");
}

/// Says loudly that a test was skipped; in CI as root that is a failure.
fn skipped(why: &str) {
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    assert!(!(is_ci && is_root), "{why}");
    eprintln!("SKIPPED: {why}");
}

/// What the page looks like after some seconds (of its own clock, which runs faster).
fn browse(url: &str) -> std::io::Result<Output> {
    let profile = tempfile::tempdir()?;
    Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args(["--virtual-time-budget=5000", "--window-size=1280,1000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .stderr(Stdio::null())
        .output()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_four_hundred_clients_and_no_name_becomes_html() {
    let fake = Arc::new(Fake::with_images(&["base.ndz", LONG]));
    fake.add_session(LONG, 400, 0.2);
    let server = Running::start(fake, Config::default()).await;
    let url = format!("http://{}/", server.address);
    let browsing = tokio::task::spawn_blocking(move || browse(&url));
    let output = match browsing.await.unwrap() {
        Ok(output) => output,
        Err(error) => return skipped(&format!("chromium cannot be run: {error}")),
    };
    let dom = String::from_utf8(output.stdout).unwrap();
    assert!(dom.contains("data-ready=\"yes\""), "the page did not get its data:\n{dom:.2000}");
    let clients = dom.split("id=\"clients\"").nth(1).unwrap().split("</ul>").next().unwrap();
    assert_eq!(clients.matches("<li").count(), 400);
    assert!(clients.contains("⚠ node1-8") && clients.contains("node20-20"));
    assert!(dom.contains("fell back to unicast"));
    assert!(dom.contains("class=\"area\""), "the charts are drawn");
    assert!(dom.contains("&lt;img src=x onerror=alert(1)&gt;") && !dom.contains("<img"));
}
