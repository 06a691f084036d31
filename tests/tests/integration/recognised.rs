//! What is known by name: marks that other programs made or vouch for, and disks that must be saved
//! completely because of them.

use anyhow::{Context, Result, ensure};
use imagezip::disk::memory::MemoryDisk;
use imagezip::fs::{Allocation, Filesystem};
use imagezip::partition::Scheme;
use imagezip::plan::{PlanOptions, Verdict, plan};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::content::populate;
use tests::image_file;
use tests::poison::recognise;
use tests::tools::{output, ready, run, text};

fn workspace() -> Result<TempDir> {
    tempfile::Builder::new().prefix("imagezip-known-").tempdir().context("temporary directory")
}

fn image(dir: &Path, mib: u64) -> Result<PathBuf> {
    let image = dir.join("image");
    image_file::create(&image, mib << 20)?;
    Ok(image)
}

fn reason(found: &Filesystem) -> Result<&str> {
    match &found.allocation {
        Allocation::Unsupported { reason } => Ok(reason),
        other => anyhow::bail!("{}: {other:?}", found.name),
    }
}

/// What blkid calls it.
fn blkid(image: &Path) -> Result<String> {
    Ok(run("blkid", &["-p", "-o", "value", "-s", "TYPE", text(image)])?.trim().into())
}

/// Makers of what we only know by name.
#[test]
fn made_by_their_own_tools() -> Result<()> {
    for (tool, command, name) in [
        ("mksquashfs", "rm $IMAGE; mksquashfs $TREE $IMAGE -quiet -no-progress", "squashfs"),
        ("mkfs.erofs", "mkfs.erofs --quiet $IMAGE $TREE", "EROFS"),
        ("xorriso", "rm $IMAGE; xorriso -as mkisofs -quiet -R -o $IMAGE $TREE", "ISO 9660"),
        ("mkfs.minix", "mkfs.minix $IMAGE", "Minix"),
        ("mkfs.minix", "mkfs.minix -1 -n 14 $IMAGE 3000", "Minix"),
        ("mkfs.minix", "mkfs.minix -2 $IMAGE", "Minix"),
        ("mkfs.minix", "mkfs.minix -3 $IMAGE", "Minix"),
        (
            "cryptsetup",
            "echo -n secret | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 $IMAGE -",
            "LUKS1",
        ),
        (
            "cryptsetup",
            "echo -n secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 \
             --pbkdf-force-iterations 1000 $IMAGE -",
            "LUKS2",
        ),
    ] {
        if !ready("made_by_their_own_tools", &[tool], false) {
            continue;
        }
        let dir = workspace()?;
        let tree = dir.path().join("tree");
        populate(&tree, 3, 12)?;
        let image = image(dir.path(), 24)?;
        let script = format!("set -e; IMAGE={} TREE={}; {command}", text(&image), text(&tree));
        run("sh", &["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {script}")])?;
        let found = recognise(&image)?;
        ensure!(found.name == name, "{command}: {found:?}");
        ensure!(!reason(&found)?.is_empty());
    }
    Ok(())
}

/// A superblock as the manual describes it: words summed, the carry added.
fn md_sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap()));
    let sum: u64 = words.map(u64::from).sum();
    u32::try_from((sum & 0xFFFF_FFFF) + (sum >> 32)).unwrap()
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// Version 1.x for a RAID 1 of two, at `sector`.
fn md_new(sector: u64, sectors: u64) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    put(&mut bytes, 0, &0xA92B_4EFCu32.to_le_bytes());
    put(&mut bytes, 4, &1u32.to_le_bytes());
    put(&mut bytes, 16, &[7; 16]);
    put(&mut bytes, 32, b"host:data");
    put(&mut bytes, 72, &1i32.to_le_bytes());
    put(&mut bytes, 80, &(sectors - 4096).to_le_bytes());
    put(&mut bytes, 92, &2u32.to_le_bytes());
    put(&mut bytes, 128, &if sector > 8 { 0u64 } else { 2048 }.to_le_bytes());
    put(&mut bytes, 136, &(sectors - 4096).to_le_bytes());
    put(&mut bytes, 144, &sector.to_le_bytes());
    put(&mut bytes, 168, &[9; 16]);
    put(&mut bytes, 220, &3u32.to_le_bytes()); // an odd number of roles
    put(&mut bytes, 256, &[0, 0, 1, 0, 0xFE, 0xFF, 0, 0]);
    let sum = md_sum(&bytes[..264]);
    put(&mut bytes, 216, &sum.to_le_bytes());
    bytes
}

/// Version 0.90, in either byte order.
fn md_old(sectors: u64, big: bool) -> Vec<u8> {
    let mut words = vec![0u32; 1024];
    for (at, word) in [
        (0, 0xA92B_4EFC),
        (2, 90),
        (5, 0x0102_0304),
        (7, 1),
        (8, u32::try_from(sectors / 2).unwrap() - 64),
        (9, 2),
        (10, 2),
        (11, 3),
        (34, 2),
    ] {
        words[at] = word;
    }
    words[33] = 1; // clean
    let sum: u64 = words.iter().map(|word| u64::from(*word)).sum();
    words[38] = u32::try_from((sum & 0xFFFF_FFFF) + (sum >> 32)).unwrap();
    let bytes = |word: &u32| if big { word.to_be_bytes() } else { word.to_le_bytes() };
    words.iter().flat_map(bytes).collect()
}

/// RAID 1 members carry a whole ext4, and are kept whole by name; so says blkid.
#[test]
fn members_of_arrays() -> Result<()> {
    if !ready("members_of_arrays", &["mkfs.ext4", "blkid", "mdadm"], false) {
        return Ok(());
    }
    let sectors = 32 << 11;
    for (version, at, superblock) in [
        ("1.0", sectors - 16, md_new(sectors - 16, sectors)),
        ("1.1", 0, md_new(0, sectors)),
        ("1.2", 8, md_new(8, sectors)),
        ("0.90", sectors - 128, md_old(sectors, false)),
        ("0.90", sectors - 128, md_old(sectors, true)),
    ] {
        let dir = workspace()?;
        let image = image(dir.path(), 32)?;
        run("mkfs.ext4", &["-q", "-F", text(&image), "30M"])?;
        let file = OpenOptions::new().write(true).open(&image)?;
        file.write_all_at(&superblock, at * 512)?;
        let found = recognise(&image)?;
        ensure!(found.name == "MD RAID member", "{version}: {found:?}");
        for word in ["RAID 1", "2 devices", version] {
            ensure!(reason(&found)?.contains(word), "{version}: {found:?}");
        }
        if superblock.first() == Some(&0xFC) {
            ensure!(blkid(&image)? == "linux_raid_member", "{version}: blkid differs");
            let told = output("mdadm", &["--examine", text(&image)])?;
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            ensure!(told.contains("raid1") && told.contains("correct"), "{version}: {told}");
        }
        // A wrong sum is no reason to trust what else is there.
        tests::poison::flip(&image, at * 512 + 75, 1)?;
        let found = recognise(&image)?;
        let is_corrupt =
            matches!(&found.allocation, Allocation::Corrupt(c) if c.what.contains("MD"));
        ensure!(is_corrupt, "{version}: {found:?}");
    }
    Ok(())
}

/// Where an array was made of whole disks, the partitions are the array's; where it was made of the
/// last partition, they are the disk's.
#[test]
fn arrays_of_disks_and_of_partitions() -> Result<()> {
    if !ready("arrays_of_disks_and_of_partitions", &["sgdisk", "mkfs.ext4"], false) {
        return Ok(());
    }
    let dir = workspace()?;
    let disk = image(dir.path(), 64)?;
    run("sgdisk", &["-n1:2048:+20M", "-n2:0:+20M", text(&disk)])?;
    let bytes = std::fs::read(&disk)?;
    let sectors = 64 << 11;
    let planned = |at: u64, superblock: &[u8]| {
        let mut bytes = bytes.clone();
        let at = usize::try_from(at * 512).unwrap();
        bytes[at..at + 4096].copy_from_slice(superblock);
        plan(&MemoryDisk::new(bytes), &PlanOptions::default())
    };
    let whole = planned(sectors - 128, &md_old(sectors, false))?;
    ensure!(whole.ranges.count().get() == sectors, "{:?}", whole.items);
    ensure!(matches!(whole.table.scheme, Scheme::Gpt { .. }) && whole.items.len() == 1);
    let is_told =
        matches!(&whole.items[0].verdict, Verdict::WholeDoubtful(r) if r.contains("array md3"));
    ensure!(is_told, "{:?}", whole.items);
    // At the end of the second partition.
    let end = 2048 + (40 << 11);
    let part = planned(end - 128, &md_old(20 << 11, false))?;
    ensure!(part.items.len() == 2 && part.items[1].filesystem.is_some(), "{:?}", part.items);
    ensure!(matches!(part.items[1].verdict, Verdict::WholeDoubtful(_)));
    Ok(())
}

/// An image for discs and sticks is saved to the last sector, however its partitions lie in it.
#[test]
fn hybrid_iso_images() -> Result<()> {
    let tools = ["xorriso", "mkfs.fat", "mcopy"];
    if !ready("hybrid_iso_images", &tools, false) {
        return Ok(());
    }
    for options in [
        // As distributions do: the EFI partition is a file of the image, and a partition.
        "-e efi.img -no-emul-boot -isohybrid-gpt-basdat -partition_offset 16",
        "-append_partition 2 0xef $TREE/efi.img -e --interval:appended_partition_2:all:: \
         -no-emul-boot -partition_offset 16",
        "-append_partition 2 0xef $TREE/efi.img -appended_part_as_gpt \
         -e --interval:appended_partition_2:all:: -no-emul-boot -isohybrid-gpt-basdat",
    ] {
        let dir = workspace()?;
        let tree = dir.path().join("tree");
        populate(&tree, 5, 20)?;
        let efi = tree.join("efi.img");
        image_file::create(&efi, 4 << 20)?;
        run("mkfs.fat", &[text(&efi)])?;
        let iso = dir.path().join("image.iso");
        let mut words = vec!["-as", "mkisofs", "-quiet", "-R", "-o", text(&iso)];
        let options = options.replace("$TREE", text(&tree));
        words.extend(options.split_whitespace());
        words.push(text(&tree));
        run("xorriso", &words)?;
        let length = std::fs::metadata(&iso)?.len();
        // On a larger stick, with leftovers behind the image.
        let mut bytes = std::fs::read(&iso)?;
        bytes.resize(bytes.len() + (8 << 20), 0xEE);
        let plan = plan(&MemoryDisk::new(bytes), &PlanOptions::default())?;
        let table = run("sfdisk", &["--dump", text(&iso)]).unwrap_or_default();
        let kept: u64 = plan.ranges.within(range(0, length / 512)).map(|r| r.count().get()).sum();
        ensure!(kept == length / 512, "{options}: {kept} of {length}\n{table}{:?}", plan.items);
    }
    Ok(())
}

fn range(start: u64, end: u64) -> imagezip::units::SectorRange {
    tests::samples::range(start, end)
}

/// The head of such an image that an installation has left in place does not count.
#[test]
fn what_is_left_of_an_iso_image() -> Result<()> {
    if !ready("what_is_left_of_an_iso_image", &["sgdisk", "mkfs.ext4"], false) {
        return Ok(());
    }
    let dir = workspace()?;
    let disk = image(dir.path(), 64)?;
    run("sgdisk", &["-n1:2048:+40M", text(&disk)])?;
    let part = dir.path().join("part");
    image_file::create(&part, 40 << 20)?;
    run("mkfs.ext4", &["-q", "-F", text(&part)])?;
    let mut bytes = std::fs::read(&disk)?;
    put(&mut bytes, 1 << 20, &std::fs::read(&part)?);
    put(&mut bytes, 32768, b"\x01CD001\x01");
    put(&mut bytes, 32768 + 80, &20_000u32.to_le_bytes());
    put(&mut bytes, 32768 + 128, &2048u16.to_le_bytes());
    let plan = plan(&MemoryDisk::new(bytes), &PlanOptions::default())?;
    ensure!(plan.items[0].verdict == Verdict::Allocated, "{:?}", plan.items);
    ensure!(plan.ranges.count().get() < 20 << 11, "{}", plan.ranges.count());
    Ok(())
}

/// A whole disk that is only known by name.
#[test]
fn marks_of_blkid() -> Result<()> {
    if !ready("marks_of_blkid", &["blkid"], false) {
        return Ok(());
    }
    let size = 8 << 20;
    for (offset, mark, ours, theirs) in [
        (0, &b"dmvdo001"[..], "VDO", "vdo"),
        (0, b"bluestore block device\n", "Ceph BlueStore", "ceph_bluestore"),
        (3, b"-FVE-FS-", "BitLocker", "BitLocker"),
        (
            size - 1024,
            b"Intel Raid ISM Cfg Sig. 1.0.00\0",
            "Intel firmware RAID member",
            "isw_raid_member",
        ),
    ] {
        let dir = workspace()?;
        let image = image(dir.path(), 8)?;
        let file = OpenOptions::new().write(true).open(&image)?;
        file.write_all_at(mark, offset)?;
        if ours == "BitLocker" {
            file.write_all_at(b"\xEB\x58\x90", 0)?;
            file.write_all_at(
                b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01",
                160,
            )?;
        }
        ensure!(recognise(&image)?.name == ours, "{ours}");
        let told = blkid(&image).unwrap_or_default();
        ensure!(told == theirs || ours == "BitLocker", "{ours}: blkid says {told}");
    }
    Ok(())
}
