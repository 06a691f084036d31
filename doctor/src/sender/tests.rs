//! What a host agrees to, and what it sends.

use super::*;
use mcast::ProbeReceiver;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn test() -> Test {
    Test {
        seconds: 1,
        bits_per_sec: 1_000_000,
        datagram_bytes: 500,
        group: None,
        unicast: false,
        port: None,
    }
}

fn asked() -> Asked {
    Asked { peer: LOCAL, local: LOCAL, querier: None }
}

fn sender() -> Sender {
    Sender::new(Limits { interface: InterfaceSelector::ByName("lo".into()), ..Limits::default() })
}

fn begin(sender: &Sender, test: &Test) -> Result<Planned, Failure> {
    sender.begin(test, asked(), |_, _| false)
}

#[test]
fn requests_are_cut_down_to_the_limits() {
    let sender = sender();
    let huge =
        Test { seconds: u32::MAX, bits_per_sec: u64::MAX, datagram_bytes: u32::MAX, ..test() };
    let start = begin(&sender, &huge).unwrap().start;
    assert_eq!((start.bits_per_sec, start.group), (100_000_000, TEST_GROUP.into()));
    assert_eq!(start.datagrams, 100_000_000 * 10 / (8 * 8972));
    assert_eq!((start.port, start.ttl), (TEST_PORT, 5));
    let nothing = Test { seconds: 0, bits_per_sec: 0, datagram_bytes: 0, ..test() };
    let start = begin(&sender, &nothing).unwrap().start;
    assert_eq!((start.bits_per_sec, start.datagrams), (64_000, 500));
}

#[test]
fn only_the_asker_and_the_group_for_tests_are_sent_to() {
    let sender = sender();
    let refused = |test: &Test| begin(&sender, test).unwrap_err();
    let other = Test { group: Some([239, 192, 1, 1].into()), ..test() };
    assert_eq!(refused(&other).code, ErrorCode::Invalid);
    let machine = Test { group: Some([10, 0, 0, 1].into()), ..test() };
    assert_eq!(refused(&machine).code, ErrorCode::Invalid);
    assert_eq!(refused(&Test { port: Some(53), ..test() }).code, ErrorCode::Invalid);
    assert_eq!(refused(&Test { unicast: true, ..test() }).code, ErrorCode::Invalid);
    let unicast =
        Test { unicast: true, port: Some(7000), group: Some([10, 0, 0, 1].into()), ..test() };
    assert_eq!(begin(&sender, &unicast).unwrap().start.group, LOCAL);
    let in_use = sender.begin(&test(), asked(), |group, port| {
        (group, port) == (IpAddr::V4(TEST_GROUP), TEST_PORT)
    });
    assert!(in_use.unwrap_err().message.contains("in use"));
}

#[test]
fn one_test_runs_at_a_time() {
    let sender = sender();
    let first = begin(&sender, &test()).unwrap();
    assert_eq!(begin(&sender, &test()).unwrap_err().code, ErrorCode::TryAgain);
    drop(first);
    assert!(begin(&sender, &test()).is_ok());
    let wrong = Test { port: Some(1), ..test() };
    assert_eq!(begin(&sender, &wrong).unwrap_err().code, ErrorCode::Invalid);
    assert!(begin(&sender, &test()).is_ok(), "a refusal holds nothing up");
}

#[test]
fn what_is_announced_is_sent() {
    let receiver = ProbeReceiver::at(LOCAL).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let sender = sender();
    let planned = begin(&sender, &Test { unicast: true, port: Some(port), ..test() }).unwrap();
    let TestReply::Start(start) = planned.reply() else { panic!("refused") };
    assert_eq!(start.datagrams, 250);
    let began = Instant::now();
    let done = planned.run(|| false);
    assert_eq!(done.sent, 250);
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    let mut buffer = [0; 1000];
    for sequence in 0..250 {
        let arrival = receiver.receive(&mut buffer).unwrap().unwrap();
        assert_eq!(arrival.len, 500);
        let datagram = TestDatagram::parse(&buffer).unwrap();
        assert_eq!(
            (nonce_text(datagram.nonce), datagram.sequence),
            (start.nonce.clone(), sequence)
        );
    }
    assert_eq!(receiver.receive(&mut buffer).unwrap(), None);
    let planned = begin(&sender, &Test { unicast: true, port: Some(port), ..test() }).unwrap();
    assert!(planned.run(|| true).sent < 50, "stopped");
}
