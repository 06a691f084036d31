//! Target for what HTTP requests say: names, ranges, entity tags, digests.

use web::parse::{self, Ranged};

/// Each line is tried as everything that is parsed by us.
pub(crate) fn request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        if let Ok(name) = parse::image_name(line) {
            assert!(name.len() <= parse::NAME_BYTES_MAX && !name.contains('\0'));
            assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
        }
        for bytes in [0, 1, 1000, u64::MAX] {
            if let Ranged::Part(part) = parse::range(line, bytes) {
                assert!(part.start < part.end && part.end <= bytes, "outside the content");
            }
        }
        let is_strong = parse::names_tag_strongly(line, "tag");
        assert!(!is_strong || parse::names_tag(line, "tag"), "strong is stricter");
        // Nothing holds for digests but that they can be read or not.
        let _ = parse::content_digest(line);
        let _ = parse::blake3_digest(line);
    }
}

/// One of each.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    let lines = [
        "proj/debian-12.ndz",
        "bytes=0-99",
        "bytes=-18446744073709551615",
        "W/\"a\", \"tag\"",
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:, sha-512=::;x",
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    ];
    let all = lines.join("\n").into_bytes();
    lines.iter().map(|line| line.as_bytes().to_vec()).chain([all]).collect()
}
