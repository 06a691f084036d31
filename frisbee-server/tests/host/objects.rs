//! An image host whose images are in an object store.

use crate::support::{Host, load_alone, sample};
use rendezvous::upload::UploadOptions;
use std::fs;
use tests::moto::Moto;

#[test]
fn images_of_an_object_store_are_served_while_they_come_and_new_ones_go_there() {
    let Some(moto) = Moto::get() else { return };
    moto.bucket("lab");
    let (disk, image) = sample(1, 12);
    let settings = "dir = 's3://lab/images'\n[[access]]\nallow = ['get', 'put']";
    let host = Host::start_with(120, settings, &moto.environment());
    let mut sender = host.upload("os/a.ndz", UploadOptions::default());
    sender.append(&image).unwrap();
    sender.finish().unwrap();
    assert!(host.http_json("/api/v1/images").to_string().contains("os/a.ndz"));
    // Another host of the same bucket, which has nothing of it.
    let other = Host::start_with(121, settings, &moto.environment());
    let targets = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (other, target, disk) = (&other, targets.path().join(number.to_string()), &disk);
            scope.spawn(move || {
                load_alone(other.rendezvous(), "os/a.ndz", "", &target).unwrap();
                assert!(fs::read(&target).unwrap() == *disk);
            });
        }
    });
    let (status, body) = other.http_request("GET", "/api/v1/data/os/a.ndz", "", b"");
    assert!(status == 200 && body == image);
}
