//! docs/ndz-format.md: its dumps are rebuilt and compared, so that the page cannot rot.

use imagezip::disk::memory::MemoryDisk;
use imagezip::ndz::{Codec, Version};
use std::path::Path;
use tests::independent::{CHUNK, Image};
use tests::samples::{fields, options, range, save_to_vec};

/// The bytes of a dump on the page: offset, up to 16 bytes, and what a person reads in them.
fn dump(name: &str) -> Vec<u8> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ndz-format.md");
    let page = std::fs::read_to_string(page).unwrap();
    let fence = format!("```hexdump {name}\n");
    let dump = page.split(&fence).nth(1).unwrap().split("```").next().unwrap();
    let (mut bytes, mut repeat) = (Vec::new(), false);
    for line in dump.lines() {
        if line == "*" {
            repeat = true;
            continue;
        }
        let (offset, rest) = line.split_once("  ").unwrap_or((line, ""));
        let offset = usize::from_str_radix(offset, 16).unwrap();
        if std::mem::take(&mut repeat) {
            let last: [u8; 16] = bytes[bytes.len() - 16..].try_into().unwrap();
            while bytes.len() < offset {
                bytes.extend(last);
            }
        }
        assert_eq!(bytes.len(), offset, "{name}: offset in line {line:?}");
        let hex = rest.split('|').next().unwrap().split_whitespace();
        bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

/// Bytes as the page shows them.
fn shown(bytes: &[u8]) -> String {
    let (mut text, mut last, mut starred) = (String::new(), None, false);
    for (i, line) in bytes.chunks(16).enumerate() {
        if last == Some(line) {
            text.push_str(if starred { "" } else { "*\n" });
            starred = true;
            continue;
        }
        (last, starred) = (Some(line), false);
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let visible = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' };
        let chars: String = line.iter().map(visible).collect();
        let (left, right) = hex.split_at(hex.len().min(8));
        text.push_str(&format!(
            "{:06x}  {:23}  {:23}  |{chars}|\n",
            i * 16,
            left.join(" "),
            right.join(" ")
        ));
    }
    text + &format!("{:06x}\n", bytes.len())
}

#[test]
fn the_native_example_is_what_the_writer_makes() {
    let mut disk = vec![0; 300 * 512];
    disk[..11].copy_from_slice(b"sector zero");
    let mut fields = fields(Version::Native, Codec::Stored, 300 * 512);
    fields.image_id = Some(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
    let ranges = [range(0, 1), range(128, 256)];
    let (image, _) =
        save_to_vec(&MemoryDisk::new(disk.clone()), &ranges, fields, &options(1)).unwrap();
    assert_eq!(image.len(), CHUNK);
    assert!(image[1024..].iter().all(|byte| *byte == 0));
    let expected = dump("native");
    assert!(expected == image[..1024], "the page should show\n{}", shown(&image[..1024]));
    let read = Image::read(&image).unwrap();
    read.check_writer(&image).unwrap();
    let mut restored = vec![0xEE; disk.len()];
    read.restore(&mut restored);
    assert_eq!(restored[..512], disk[..512]);
    assert!(restored[512..128 * 512].iter().all(|byte| *byte == 0xEE));
    assert!(restored[128 * 512..256 * 512].iter().all(|byte| *byte == 0));
}

#[test]
fn the_v5_example_is_a_golden_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/file.v5.ndz");
    let image = std::fs::read(file).unwrap();
    assert!(dump("v5") == image[..112], "the page should show\n{}", shown(&image[..112]));
}
