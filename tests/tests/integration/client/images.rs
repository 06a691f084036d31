//! What is loaded is what was saved.

use super::{Ground, golden, target};
use frisbee_client::{ClientError, Written};
use imagezip::cli::Exit;
use imagezip::ndz::{Codec, Version};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tests::samples::{Content, Sample, bytes_of};
use tests::test_server::{Fate, TestServer};

/// Length and SHA-256 of the restored disk, from MANIFEST.
pub(crate) fn expected(name: &str) -> (usize, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/MANIFEST");
    let manifest = std::fs::read_to_string(path).unwrap();
    let start = format!("{name}.ndz ");
    let line = manifest.lines().find(|line| line.starts_with(&start)).unwrap();
    let mut values = line.split(' ').skip(1).map(|word| word.split_once('=').unwrap().1);
    (values.next().unwrap().parse().unwrap(), values.next().unwrap().to_owned())
}

/// The same of what was loaded.
pub(crate) fn of(bytes: &[u8]) -> (usize, String) {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    (bytes.len(), hex)
}

#[test]
fn images_of_deployed_tools() {
    for name in
        ["file.v3", "g1.v1", "g1.v4", "g1.v5", "g3-fragmented.v3", "g3-fragmented.v5", "mbr.v2"]
    {
        let ground = Ground(1);
        let server = TestServer::start(ground.setup(&golden(name)));
        let (_folder, target) = target();
        let (result, status) = ground.load(2, &target, "");
        let report = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut found = std::fs::read(&target).unwrap();
        // The deployed tool restores a file with all of its last sector.
        found.resize(found.len().next_multiple_of(512), 0);
        assert_eq!(of(&found), expected(name), "{name}");
        assert_eq!((status.percent(), status.chunks_left()), (100, 0));
        let outcome = server.stop();
        let statistics = outcome.leaves[0].expect("LEAVE2 with statistics");
        assert_eq!(statistics.bytes_written, report.bytes_written);
        assert!(statistics.bytes_expanded >= statistics.bytes_written);
        assert!(statistics.chunk_buffers >= 4 && statistics.join_attempts >= 1);
    }
}

#[test]
fn a_native_image_on_two_disks_of_its_size_at_once() {
    let ground = Ground(2);
    let sample = Sample::random(1, 60_000, Content::Mixed);
    let image = Arc::new(sample.image(Version::Native, Codec::Zstd, 2));
    let server = TestServer::start(ground.setup(&image));
    let (folder, _) = target();
    let poison = vec![0xa5; sample.bytes.len()];
    std::thread::scope(|scope| {
        for host in [2, 3] {
            let path = folder.path().join(format!("disk{host}"));
            std::fs::write(&path, &poison).unwrap();
            // What stood in the first mebibyte is taken away before the first write.
            let mut under = poison.clone();
            under[..1 << 20].fill(0);
            let expected = sample.over(&under);
            scope.spawn(move || {
                let (result, status) = ground.load(host, &path, "--in-place --verify -C 8");
                let report = result.unwrap();
                let Written::Image { whole, verified, .. } = &report.written else { panic!() };
                assert_eq!(whole.chunks_with_digest, whole.chunks);
                assert!(verified.unwrap() >= whole.data.bytes());
                assert!(!status.is_touched(), "it is whole");
                assert!(std::fs::read(&path).unwrap() == expected, "the disk differs");
            });
        }
    });
    let outcome = server.stop();
    assert_eq!(outcome.leaves.len(), 2);
}

#[test]
fn free_space_is_made_zero_when_asked() {
    let ground = Ground(3);
    let sample = Sample::random(5, 20_000, Content::Noise);
    let image = Arc::new(sample.image(Version::V3, Codec::Zlib, 2));
    let _server = TestServer::start(ground.setup(&image));
    let (_folder, target) = target();
    std::fs::write(&target, vec![0xa5; sample.bytes.len()]).unwrap();
    ground.load(2, &target, "--in-place -z").0.unwrap();
    let expected = sample.over(&vec![0; sample.bytes.len()]);
    assert!(std::fs::read(&target).unwrap() == expected);
}

#[test]
fn an_image_of_one_partition_goes_into_a_partition() {
    let ground = Ground(4);
    let (_folder, target) = target();
    {
        let _server = TestServer::start(ground.setup(&golden("g1.v5")));
        ground.load(2, &target, "").0.unwrap();
    }
    let before = std::fs::read(&target).unwrap();
    let table = imagezip::partition::read(&tests::image_file::ImageFile::open(&target).unwrap());
    let (from, to) = bytes_of(table.unwrap().partition(1).unwrap().range);
    let mut worn = before.clone();
    worn[from + 4096..to].fill(0);
    std::fs::write(&target, &worn).unwrap();
    let _server = TestServer::start(ground.setup(&golden("g1-slice1.v3")));
    ground.load(2, &target, "-s 1").0.unwrap();
    let after = std::fs::read(&target).unwrap();
    assert!(after[..from] == before[..from] && after[to..] == before[to..]);
    assert_eq!(of(&after[from..to]), expected("g1-slice1.v3"));
}

#[test]
fn a_file_as_it_is_appears_when_it_is_complete() {
    let ground = Ground(5);
    let bytes = tests::rng::Rng::new(7).bytes(1_300_007);
    let mut setup = ground.setup(&Arc::new(bytes.clone()));
    let (_folder, target) = target();
    let seen = target.clone();
    setup.tamper = Box::new(move |_, _, _| {
        assert!(!seen.exists());
        Fate::Send
    });
    let server = TestServer::start(setup);
    ground.load(2, &target, "-N").0.unwrap();
    assert!(std::fs::read(&target).unwrap() == bytes);
    server.stop();
}

/// A server of `bytes` that never gets chunk `lost` through, and looks at the target's head each
/// time it sends a block for the first time: then something is missing on the target.
fn watching(ground: Ground, bytes: &[u8], target: &Path, lost: Option<u32>) -> TestServer {
    let mut setup = ground.setup(&Arc::new(bytes.to_vec()));
    let disk = std::fs::File::open(target).unwrap();
    let (start, mut sent) = (bytes[..512].to_vec(), BTreeSet::new());
    setup.tamper = Box::new(move |chunk, block, _| {
        if sent.insert((chunk, block)) {
            let mut head = [0; 512];
            disk.read_exact_at(&mut head, 0).unwrap();
            assert!(head[..] != start, "block {block} of chunk {chunk} is not there yet");
        }
        if Some(chunk) == lost { Fate::Lose } else { Fate::Send }
    });
    TestServer::start(setup)
}

/// A file on a disk that is larger: the head comes last, what lies behind the file is not touched.
fn the_head_comes_last(ground: Ground, target: &Path) {
    const HEAD: usize = 1 << 20;
    let bytes = tests::rng::Rng::new(8).bytes(3_300_007);
    let disk_len = 4 << 20;
    std::fs::OpenOptions::new()
        .write(true)
        .open(target)
        .and_then(|mut disk| disk.write_all(&vec![0xa5; disk_len]))
        .unwrap();
    {
        let _server = watching(ground, &bytes, target, Some(2));
        let (result, status) = ground.load(2, target, "-N --in-place -T 1");
        let error = result.unwrap_err();
        assert!(matches!(error, ClientError::GaveUp(_)), "{error}");
        assert!(status.is_touched());
        assert_eq!(error.exit(true), Exit::Failed);
        let disk = std::fs::read(target).unwrap();
        assert!(disk[..HEAD].iter().all(|byte| *byte == 0), "no partition table");
        assert!(disk[HEAD..2 * HEAD] == bytes[HEAD..2 * HEAD], "what came is there");
        assert!(disk[2 * HEAD..3 * HEAD].iter().all(|byte| *byte == 0xa5), "what did not is not");
    }
    let _server = watching(ground, &bytes, target, None);
    let (result, status) = ground.load(2, target, "-N --in-place");
    result.unwrap();
    assert!(!status.is_touched());
    let disk = std::fs::read(target).unwrap();
    assert!(disk[..bytes.len()] == bytes);
    assert!(disk.len() == disk_len && disk[bytes.len()..].iter().all(|byte| *byte == 0xa5));
}

#[test]
fn a_file_on_a_disk_that_is_a_file_gets_its_head_last() {
    let (_folder, target) = target();
    std::fs::write(&target, []).unwrap();
    the_head_comes_last(Ground(8), &target);
}

#[test]
fn a_file_on_a_device_gets_its_head_last() {
    if !tests::tools::ready("file on a device", &["losetup"], true) {
        return;
    }
    let (_folder, backing) = target();
    std::fs::write(&backing, vec![0; 4 << 20]).unwrap();
    let device = tests::mount::Loop::new(&backing).unwrap();
    the_head_comes_last(Ground(9), device.device());
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_write() {
    let ground = Ground(6);
    let _server = TestServer::start(ground.setup(&golden("g1.v5")));
    let (_folder, target) = target();
    let small = vec![0xa5; 40 << 20];
    std::fs::write(&target, &small).unwrap();
    for more in ["--in-place", "--in-place --check-only"] {
        let (result, status) = ground.load(2, &target, more);
        let error = result.unwrap_err();
        assert!(error.to_string().contains("does not fit"), "{error}");
        assert!(!status.is_touched());
        assert_eq!(error.exit(status.is_touched()), Exit::Refused);
        assert!(std::fs::read(&target).unwrap() == small, "nothing was written");
    }
    let large = vec![0xa5; 80 << 20];
    std::fs::write(&target, &large).unwrap();
    let (result, _) = ground.load(2, &target, "--in-place --check-only");
    assert!(matches!(result.unwrap().written, Written::Nothing { .. }));
    assert!(std::fs::read(&target).unwrap() == large, "nothing was written");
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let ground = Ground(7);
    let server = TestServer::start(ground.setup(&Arc::new(vec![7; 1_300_007])));
    let (_folder, target) = target();
    let error = ground.load(2, &target, "").0.unwrap_err();
    assert!(error.to_string().contains("-N"), "{error}");
    server.stop();
    let server = TestServer::start(ground.setup(&Arc::new(vec![7; 2 << 20])));
    let error = ground.load(2, &target, "").0.unwrap_err();
    assert!(error.to_string().contains("magic number"), "{error}");
    assert!(!target.exists());
    server.stop();
}
