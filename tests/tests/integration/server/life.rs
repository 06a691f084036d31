//! Beginning and end of a server: ports, exit rules, restarts.

use super::{Running, lo, on_loopback, random_file, settings};
use frisbee_server::network::write_address;
use frisbee_server::{Ended, IdleExit, Network, NetworkError, Settings};
use proto::client::JoinKind;
use proto::time::Duration;
use tests::raw_client;

#[test]
fn of_a_range_of_ports_the_first_free_one_is_taken_and_told() {
    let network = on_loopback();
    let first = network.open().unwrap();
    let from = first.group().port();
    let second = Network { ports: from..=from + 20, ..network.clone() }.open().unwrap();
    assert!(second.group().port() > from);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("address");
    write_address(&file, &second).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{}:{}\n", network.group, second.group().port()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    let missing = folder.path().join("no/such/folder");
    assert!(matches!(write_address(&missing, &second), Err(NetworkError::AddressFile { .. })));

    let taken = Network { ports: from..=from, ..network.clone() }.open().unwrap_err().to_string();
    assert!(taken.contains("in use") && taken.contains("another port"), "{taken}");
    let unrouted = Network { interface: "nonesuch0".parse().unwrap(), ..network };
    let error = unrouted.open().unwrap_err().to_string();
    assert!(error.contains("nonesuch0") && error.contains("lo"), "{error}");
}

#[test]
fn silence_ends_a_server() {
    let (file, _) = random_file(8, 1 << 20);
    let idle_exit = IdleExit::After(Duration::from_millis(50));
    let server = Running::start(file.path(), &on_loopback(), &Settings { idle_exit, ..settings() });
    let summary = server.wait();
    assert_eq!((summary.ended, summary.totals.blocks_sent), (Ended::Idle, 0));
}

#[test]
fn a_load_outlives_its_server_and_a_client_its_own_death() {
    let (file, bytes) = random_file(9, 6 << 20);
    let network = on_loopback();
    let settings = Settings { bits_per_sec: Some(100_000_000), ..settings() };
    let first = Running::start(file.path(), &network, &settings);
    let port = first.port();
    let socket = raw_client::open(network.group, port, &lo()).unwrap();
    let died = raw_client::load(&socket, JoinKind::Image, 1, &mut |complete| complete < 2);
    assert!(died.unwrap().is_none());

    let network = Network { ports: port..=port, ..network };
    let (mut running, mut interrupted) = (Some(first), None);
    let mut restart_at_half = |complete| {
        if complete == 3
            && let Some(first) = running.take()
        {
            interrupted = Some(first.stop());
            running = Some(Running::start(file.path(), &network, &settings));
        }
        true
    };
    let loaded = raw_client::load(&socket, JoinKind::Image, 2, &mut restart_at_half);
    let loaded = loaded.unwrap().unwrap();
    assert!(loaded.bytes == bytes);
    let interrupted = interrupted.unwrap();
    assert_eq!(interrupted.ended, Ended::Interrupted);
    assert_eq!(interrupted.loading, 2, "the dead one and the one that goes on");
    assert_eq!(running.unwrap().stop().loading, 0);
}
