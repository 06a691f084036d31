//! What ORBIT's controller calls.

use crate::client::Running;
use crate::fake::{Fake, TOKEN};
use std::sync::Arc;
use web::Config;

async fn host() -> (Running, Arc<Fake>) {
    let fake = Arc::new(Fake::with_images(&["baseline.ndz", "a&b's \"<x>\".ndz"]));
    (Running::start(Arc::clone(&fake), Config::default()).await, fake)
}

#[tokio::test]
async fn get_address_answers_group_and_port_and_starts_one_session() {
    let (server, fake) = host().await;
    let answer = server.get("/frisbee/getAddress?img=baseline.ndz&domain=grid").await;
    assert_eq!((answer.status, answer.text()), (200, "239.192.7.1:7001"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let again = server.get("/frisbee/getAddress?img=baseline.ndz").await;
    assert_eq!(again.text(), "239.192.7.1:7001");
    assert_eq!(web::Backend::sessions(&*fake).len(), 1);

    let json = server
        .request(
            "GET",
            "/frisbee/getAddress?img=baseline.ndz",
            &[("Accept", "application/json")],
            b"",
        )
        .await;
    assert_eq!(
        (json.json()["port"].as_u64(), json.json()["id"].as_str()),
        (Some(7001), Some("s1"))
    );
    let omf54 = server.get("/frisbee/getAddress?img=baseline.ndz&user=root").await;
    assert!(omf54.text().ends_with("<OK>239.192.7.1:7001</OK>\n"), "{}", omf54.text());
}

#[tokio::test]
async fn an_image_that_is_not_here_has_no_address() {
    let (server, _) = host().await;
    let plain = server.get("/frisbee/getAddress?img=nothing.ndz").await;
    assert_eq!((plain.status, plain.text()), (404, "no image named \"nothing.ndz\" is here\n"));
    let json = server.get("/frisbee/getAddress?img=nothing.ndz&format=json").await;
    assert_eq!((json.status, json.problem().as_str()), (404, "no_such_image"));
    let xml = server.get("/frisbee/getAddress?img=nothing.ndz&format=xml").await;
    assert_eq!(xml.status, 200);
    assert!(xml.text().contains("<ERROR>no image named &quot;nothing.ndz&quot; is here</ERROR>"));
    for path in ["/frisbee/getAddress", "/frisbee/getAddress?img=", "/frisbee/getAddress?img=../x"]
    {
        assert_eq!(server.get(path).await.status, 400, "{path}");
    }
    let later = server.get("/frisbee/getAddress?img=far.ndz").await;
    assert_eq!((later.status, later.header("retry-after")), (503, "5"));
    let secret = server.get("/frisbee/getAddress?img=private/x.ndz&user=root").await;
    assert_eq!((secret.status, secret.problem().as_str()), (403, "denied"));
}

#[tokio::test]
async fn check_image_says_ok_or_error() {
    let (server, _) = host().await;
    let here = server.get("/frisbee/checkImage?img=baseline.ndz").await;
    assert_eq!(here.header("content-type"), "text/xml; charset=utf-8");
    assert!(here.text().ends_with("<OK>Image found and readable</OK>\n"));
    let odd = server.get("/frisbee/checkImage?img=a%26b%27s+%22%3Cx%3E%22.ndz").await;
    assert!(odd.text().contains("<OK>"), "{}", odd.text());
    let coming = server.get("/frisbee/checkImage?img=far.ndz").await;
    assert!(coming.text().contains("<OK>"), "{}", coming.text());
    let old = server.get("/frisbee/checkImage?img=baseline.ndz&format=text").await;
    assert_eq!((old.status, old.text()), (200, "OK"));
    let missing = server.get("/frisbee/checkImage?img=x.ndz").await;
    assert_eq!(missing.status, 200);
    assert!(missing.text().contains("<ERROR>"));
    let json = server.get("/frisbee/checkImage?img=baseline.ndz&format=json").await;
    assert_eq!(json.json()["found"], true);
    assert_eq!(server.get("/frisbee/checkImage?img=a&format=yaml").await.status, 400);
}

#[tokio::test]
async fn status_lists_daemons() {
    let (server, fake) = host().await;
    let none = server.get("/frisbee/status").await;
    let expected = "<?xml version='1.0' encoding='UTF-8'?>\n<frisbee_status><bandwidth>950.0</bandwidth><mc_address>239.192.7.1</mc_address></frisbee_status>\n";
    assert_eq!(none.text(), expected);
    fake.add_session("baseline.ndz", 3, 0.0);
    fake.add_session("a&b's \"<x>\".ndz", 0, 0.0);
    let all = server.get("/frisbee/status?domain=grid").await;
    let first = "<daemon img='baseline.ndz' port='7001' timeLeft='3600' address='239.192.7.1' clients='3'/>";
    let second = "<daemon img='a&amp;b&apos;s &quot;&lt;x&gt;&quot;.ndz' port='7002'";
    assert!(all.text().contains(first) && all.text().contains(second), "{}", all.text());
    let one = server.get("/frisbee/status?img=a%26b%27s+%22%3Cx%3E%22.ndz").await;
    assert!(one.text().contains("<mc_address>239.192.7.2</mc_address>"), "{}", one.text());
    let json = server.get("/frisbee/status?format=json").await.json();
    assert_eq!(json["daemons"][1]["port"], 7002);
    assert_eq!(json["bandwidth_bits_per_sec"], 950_000_000);
}

#[tokio::test]
async fn stop_needs_a_token_and_no_clients() {
    let (server, fake) = host().await;
    fake.add_session("baseline.ndz", 2, 0.0);
    let path = "/frisbee/stop?img=baseline.ndz";
    let refused = server.get(path).await;
    assert_eq!((refused.status, refused.problem().as_str()), (401, "token_needed"));
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    let token = format!("Bearer {TOKEN}");
    let allowed = [("Authorization", token.as_str())];
    let busy = server.request("GET", path, &allowed, b"").await;
    assert!(busy.text().contains("<ERROR>2 clients are loading</ERROR>"), "{}", busy.text());
    let json = server.request("GET", &format!("{path}&format=json"), &allowed, b"").await;
    assert_eq!((json.status, json.problem().as_str()), (409, "busy"));
    fake.add_session("a&b's \"<x>\".ndz", 0, 0.0);
    let idle = "/frisbee/stop?img=a%26b%27s+%22%3Cx%3E%22.ndz";
    let stopped = server.request("GET", idle, &allowed, b"").await;
    assert!(stopped.text().contains("at 239.192.7.2:7002</OK>"), "{}", stopped.text());
    let gone = server.request("GET", idle, &allowed, b"").await;
    assert!(gone.text().contains("<ERROR>no session "), "{}", gone.text());
    // A page of another site cannot make a browser do it.
    let by_browser = [allowed[0], ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(server.request("GET", path, &by_browser, b"").await.status, 403);
    // Nor may a browser that does not say who made it.
    let by_picture = [allowed[0], ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")];
    let refused = server.request("GET", path, &by_picture, b"").await;
    assert_eq!((refused.status, refused.problem().as_str()), (403, "denied"));
}
