//! Orders from a control server; programs are scripts.

use crate::kernel_line::LOADS;
use crate::node::{Kit, Node};
use frisbee_agent::agent::Ending;
use frisbee_agent::control::testing::ControlServer;

/// A program that loads until a file `go` appears.
const WAITS: &str = r#"
echo '{"event":"progress","percent":10,"seconds":1,"chunks_left":27}'
while ! [ -e $DIR/go ]; do sleep 0.02; done
echo '{"event":"done","bytes_written":5,"seconds":2}'"#;

fn boot(server: &ControlServer, script: &str, more: &str) -> Node {
    let kit = Kit::new().script("frisbee-client", script);
    kit.boot(&format!("frisbee.control={} frisbee.retry-after=0 {more}", server.address()))
}

#[test]
fn a_server_orders_a_load_hears_of_it_and_orders_a_reboot() {
    let server = ControlServer::start();
    let node = boot(&server, LOADS, "");
    let path = node.kit.path("vda").display().to_string();
    let mut peer = server.greet();
    assert!(peer.heard[0].starts_with("HELLO 1 node=n1 ip=10.0.0.7 mac=\"\" "), "{:?}", peer.heard);
    assert!(peer.heard[1].starts_with(&format!(
        "DISK {path} bytes=1073741824 sector=512 transport=virtio model=File serial=S-vda"
    )));
    assert_eq!(peer.heard[2], "STATUS idle");
    peer.say("PING id=1");
    assert_eq!(peer.next_line().unwrap(), "PONG id=1");
    peer.say("LOAD_IMAGE 239.1.2.3 7000 /dev/vda id=job-1");
    assert_eq!(peer.next_line().unwrap(), "ACCEPTED load id=job-1");
    assert_eq!(peer.hear("NOTE load"), format!("NOTE load of 239.1.2.3:7000 to {path} begins"));
    assert_eq!(peer.hear("PROGRESS"), "PROGRESS 50 3 15 id=job-1");
    let done = peer.hear("DONE");
    assert!(done.starts_with(&format!("DONE.OK load {path} id=job-1 seconds=")), "{done}");
    assert!(done.contains(" bytes=31457280 peak="), "{done}");
    peer.say("STATUS");
    assert_eq!(peer.next_line().unwrap(), "STATUS idle");
    // Said twice, done once.
    peer.say("LOAD_IMAGE 239.1.2.3 7000 /dev/vda id=job-1");
    assert!(peer.next_line().unwrap().ends_with(" again=yes"));
    peer.say("REBOOT id=2");
    assert_eq!(peer.next_line().unwrap(), "DONE.OK reboot id=2");
    peer.hear_the_end();
    let ended = node.end();
    ended
        .said("the control server orders: reboot")
        .said("frisbee-agent: rebooting")
        .finished(&["Reboot"]);
    assert_eq!(std::fs::read_to_string(ended.kit.path("called")).unwrap().lines().count(), 1);
}

#[test]
fn one_thing_at_a_time_and_it_can_be_cancelled() {
    let server = ControlServer::start();
    let node = boot(&server, WAITS, "");
    let mut peer = server.greet();
    peer.say("CANCEL");
    assert_eq!(peer.next_line().unwrap(), "DONE.ERR order there is nothing to cancel");
    peer.say("LOAD_IMAGE boss/x auto id=a then=reboot");
    peer.hear("PROGRESS 10");
    for other in [
        "LOAD_IMAGE boss/y auto id=b",
        "SAVE_IMAGE boss/y vda id=b",
        "REBOOT id=b",
        "POWEROFF id=b",
    ] {
        peer.say(other);
        let refused = peer.next_line().unwrap();
        assert!(refused.starts_with("DONE.ERR busy id=b one thing at a time: a load"), "{refused}");
    }
    peer.say("LOAD_IMAGE boss/x auto id=a");
    assert_eq!(peer.next_line().unwrap(), "ACCEPTED load id=a");
    peer.say("STATUS");
    assert!(peer.next_line().unwrap().ends_with(" percent=10 id=a"));
    peer.say("CANCEL id=c");
    assert_eq!(peer.hear("ACCEPTED"), "ACCEPTED cancel id=c");
    assert_eq!(peer.hear("DONE"), "DONE.ERR interrupted id=a interrupted by the control server");
    peer.say("POWEROFF");
    peer.hear("DONE.OK poweroff");
    peer.hear_the_end();
    node.end().finished(&["PowerOff"]);
}

#[test]
fn a_job_survives_the_loss_of_its_server_and_is_told_afterwards() {
    let server = ControlServer::start();
    let mut node = boot(&server, WAITS, "");
    let mut peer = server.greet();
    peer.say("LOAD_IMAGE boss/x auto id=a");
    peer.hear("PROGRESS 10");
    peer.hang_up();
    node.see("the server closed the connection");
    let peer = server.greet();
    assert!(peer.heard.last().unwrap().starts_with("STATUS busy load disk="), "{:?}", peer.heard);
    peer.hang_up();
    node.see("trying again");
    std::fs::write(node.kit.path("go"), "").unwrap();
    node.see("DONE.OK load");
    // This one may have been accepted before the end.
    let mut peer = server.greet();
    peer.hear_or_heard("DONE.OK load");
    peer.hang_up();
    let peer = server.greet();
    let again = peer.heard.iter().find(|line| line.starts_with("DONE.OK load")).unwrap();
    assert!(again.contains(" id=a ") && again.ends_with(" again=yes"), "{again}");
    node.signal();
    peer.hear_the_end();
    assert_eq!(node.end().ending, Ending::Failed);
}

#[test]
fn a_load_of_the_kernels_line_is_told_before_the_machine_goes_down() {
    let server = ControlServer::start();
    let node = boot(&server, LOADS, "frisbee.load=boss/x");
    // The job is over when the server answers, or soon; it hears of it in any case.
    let heard = server.accept().hear_the_end();
    assert!(heard.iter().any(|line| line.starts_with("DONE.OK load ")), "{heard:?}");
    node.end().finished(&["Reboot"]);
    // One that never answers does not keep the machine.
    let server = ControlServer::start();
    let address = server.address();
    drop(server);
    let kit = Kit::new().script("frisbee-client", LOADS);
    let ended = kit.boot(&format!("frisbee.control={address} frisbee.load=boss/x")).end();
    ended.said("the control server did not hear the last report").finished(&["Reboot"]);
}

#[test]
fn failures_of_the_kernels_line_are_told_and_orders_stop_the_reboot() {
    let server = ControlServer::start();
    let mut node =
        boot(&server, "exit 1", "frisbee.load=boss/x frisbee.retry=1 frisbee.reboot-after=600");
    node.see("s unless the control server has orders");
    let mut peer = server.greet();
    peer.hear_or_heard("DONE.ERR failed ");
    peer.say("LOAD_IMAGE boss/y auto id=2");
    peer.hear("DONE.ERR failed id=2");
    peer.say("REBOOT");
    peer.hear_the_end();
    node.end().finished(&["Reboot"]);
    // A command line that makes no sense names its server all the same.
    let server = ControlServer::start();
    let node = boot(&server, "", "frisbee.laod=x");
    let mut peer = server.greet();
    peer.hear_or_heard("DONE.ERR order again=yes ");
    node.signal();
    peer.hear_the_end();
    node.end();
}

#[test]
fn a_hostile_server_gets_answers_and_nothing_else() {
    let server = ControlServer::start();
    let node = boot(&server, LOADS, "");
    let mut peer = server.greet();
    peer.send(&[b'x'; 10_000]);
    peer.send(b"\nLOAD_IMAGE 239.1.2.3 7000 /etc/passwd\nLOAD_IMAGE boss/-f vda\n\xff\xfe\n");
    let refused: Vec<_> = (0..4).map(|_| peer.next_line().unwrap()).collect();
    assert!(refused.iter().all(|line| line.starts_with("DONE.ERR order ")), "{refused:?}");
    assert!(refused[0].contains("4096 bytes at most"), "{refused:?}");
    // Many orders at once, by somebody who does not listen.
    peer.send(b"STATUS\n".repeat(20_000).as_slice());
    peer.say("PING id=last");
    peer.say("STATUS id=x");
    peer.hear("STATUS idle");
    peer.hang_up();
    let mut peer = server.greet();
    peer.say("PING");
    peer.hear("PONG");
    node.signal();
    peer.hear_the_end();
    let ended = node.end();
    ended.finished(&[]);
    assert!(!ended.kit.path("called").exists());
}

#[test]
fn silence_is_broken() {
    let server = ControlServer::start();
    let node = boot(&server, LOADS, "");
    let mut peer = server.greet();
    peer.hear("ALIVE");
    peer.hear("ALIVE");
    node.signal();
    peer.hear_the_end();
    node.end();
}
