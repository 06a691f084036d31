//! Networks and servers that do harm: the disk is right in the end, or the load fails and says why.

use super::{Ground, golden, target};
use frisbee_client::ClientError;
use imagezip::cli::Exit;
use imagezip::ndz::{Codec, Version};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tests::bystander::Bystander;
use tests::samples::Sample;
use tests::test_server::{Fate, TestServer};
use tests::wait::until;

fn noise(seed: u64, sectors: u64, version: Version) -> (Sample, Arc<Vec<u8>>) {
    let bytes = tests::rng::Rng::new(seed).bytes(usize::try_from(sectors * 512).unwrap());
    let sample = Sample::whole(bytes);
    let codec = if version == Version::Native { Codec::Zstd } else { Codec::Zlib };
    let image = Arc::new(sample.image(version, codec, 2));
    (sample, image)
}

#[test]
fn loss_doubles_and_flipped_bits_end_in_the_right_disk() {
    for (version, host) in [(Version::Native, 2), (Version::V5, 3)] {
        let ground = Ground(20);
        let (sample, image) = noise(3, 12 * 2048, version);
        let mut setup = ground.setup(&image);
        let (mut count, mut flipped) = (0_u32, BTreeSet::new());
        setup.tamper = Box::new(move |chunk, block, bytes| {
            count += 1;
            // Once in each third chunk, and never in the header area of a format without digests.
            if chunk % 3 == 0 && block > 64 && count % 97 == 0 && flipped.insert(chunk) {
                bytes[100] ^= 4;
            }
            match count {
                n if n % 7 == 0 => Fate::Lose,
                n if n % 50 == 0 => Fate::Double,
                _ => Fate::Send,
            }
        });
        let server = TestServer::start(setup);
        let (_folder, target) = target();
        let report = ground.load(host, &target, "").0.unwrap();
        assert!(report.counters.chunks_rejected >= 2, "{:?}", report.counters);
        assert!(report.counters.partial_requests > 0, "{:?}", report.counters);
        assert!(std::fs::read(&target).unwrap() == sample.bytes, "{version}");
        server.stop();
    }
}

#[test]
fn a_chunk_that_is_always_wrong_ends_the_load() {
    let ground = Ground(21);
    let (_, image) = noise(4, 6 * 2048, Version::Native);
    let mut setup = ground.setup(&image);
    setup.tamper = Box::new(|chunk, block, bytes| {
        if (chunk, block) == (3, 500) {
            bytes[7] ^= 1;
        }
        Fate::Send
    });
    let server = TestServer::start(setup);
    let (_folder, target) = target();
    let (result, status) = ground.load(2, &target, "");
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ClientError::Rejected { chunk: 3, .. }), "{text}");
    assert!(text.contains("127.77.21.1") && text.contains("digest"), "{text}");
    assert_eq!(error.exit(status.is_touched()), Exit::Failed);
    assert!(!target.exists(), "the new file is gone");
    assert_eq!(server.stop().leaves.len(), 1, "the server is told of failures too");
}

/// A server that stops by itself after some blocks, and what it then is replaced by.
fn replaced(
    ground: Ground,
    first: &Arc<Vec<u8>>,
    second: &Arc<Vec<u8>>,
    ids: [Option<[u8; 16]>; 2],
) -> Result<Vec<u8>, ClientError> {
    let sent = Arc::new(AtomicU32::new(0));
    let mut setup = ground.setup(first);
    let counter = Arc::clone(&sent);
    setup.image_id = ids[0];
    setup.tamper = Box::new(move |_, _, _| match counter.fetch_add(1, Relaxed) {
        0..4000 => Fate::Send,
        _ => Fate::Lose,
    });
    let server = TestServer::start(setup);
    let (_folder, target) = target();
    let loading = {
        let target = target.clone();
        std::thread::spawn(move || ground.load(2, &target, "-T 30").0)
    };
    until("blocks have got lost", || sent.load(Relaxed) >= 4100 || loading.is_finished());
    server.stop();
    let mut setup = ground.setup(second);
    setup.image_id = ids[1];
    let _server = TestServer::start(setup);
    loading.join().unwrap().map(|_| std::fs::read(&target).unwrap())
}

#[test]
fn a_server_that_is_restarted_goes_on() {
    let (sample, image) = noise(5, 10 * 2048, Version::Native);
    let disk = replaced(Ground(22), &image, &image, [Some([1; 16]); 2]).unwrap();
    assert!(disk == sample.bytes);
}

#[test]
fn another_image_in_mid_load_is_refused() {
    let (_, first) = noise(6, 10 * 2048, Version::Native);
    let sample = Sample::whole(tests::rng::Rng::new(7).bytes(10 << 20));
    let mut fields = sample.fields(Version::Native, Codec::Zstd);
    fields.image_id = Some([9; 16]);
    let options = tests::samples::options(2);
    let saved =
        tests::samples::save_to_vec(&sample.disk(), &sample.ranges, fields, &options).unwrap();
    let second = Arc::new(saved.0);
    assert_eq!(first.len(), second.len());
    let ids = [Some([1; 16]), Some([9; 16])];
    // The announcement tells, or the chunks do: whichever comes first. Old servers announce nothing.
    for (ground, ids) in [(Ground(23), ids), (Ground(24), [None; 2])] {
        let text = replaced(ground, &first, &second, ids).unwrap_err().to_string();
        assert!(text.contains("another image") || text.contains("digest"), "{text}");
    }
}

#[test]
fn other_programs_on_the_group_are_ignored() {
    let ground = Ground(25);
    let server = TestServer::start(ground.setup(&golden("g3-fragmented.v5")));
    // For all it hears, garbage, and blocks from an address that is not the server's.
    let setup = ground.setup(&Arc::new(vec![0; 1024]));
    let forger: IpAddr = [127, 77, 25, 9].into();
    let mut rng = tests::rng::Rng::new(1);
    let forging = Bystander::start(setup.group, setup.port, forger, move |_, _, answers| {
        let header = proto::wire::encode_block_header([127, 77, 25, 9], 1, 5, 1024).unwrap();
        answers.push([&header[..], &rng.bytes(1024)].concat());
        answers.push(rng.bytes(1048));
    });
    let (_folder, target) = target();
    let report = ground.load(2, &target, "").0;
    drop(forging);
    let counters = report.unwrap().counters;
    assert_eq!(counters.chunks_rejected, 0);
    assert!(counters.undecodable > 0 && counters.foreign_blocks > 0, "{counters:?}");
    server.stop();
}

#[test]
fn each_of_two_groups_on_one_port_gets_its_own() {
    let grounds = [Ground(26), Ground(27)];
    let port = grounds[0].setup(&Arc::default()).port;
    let loads: Vec<_> = grounds
        .into_iter()
        .zip([12, 13])
        .map(|(ground, seed)| {
            std::thread::spawn(move || {
                let (sample, image) = noise(seed, 4 * 2048, Version::Native);
                let mut setup = ground.setup(&image);
                setup.port = port;
                let _server = TestServer::start(setup);
                let (_folder, target) = target();
                let more = format!("-p {port}");
                let report = ground.load(2, &target, &more).0.unwrap();
                assert!(std::fs::read(&target).unwrap() == sample.bytes);
                report.counters
            })
        })
        .collect();
    for load in loads {
        let counters = load.join().unwrap();
        assert_eq!((counters.foreign_blocks, counters.bad_source), (0, 0), "{counters:?}");
    }
}
