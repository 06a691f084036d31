//! Made trees of sysfs.

use super::*;
use tempfile::TempDir;

/// A folder with these files; a name that ends in `/` is a folder.
pub(crate) fn tree(files: &[(&str, &str)]) -> (TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("sys/block")).unwrap();
    let roots = Roots { sys: at("sys"), dev: "/dev".into(), proc: at("proc") };
    (folder, roots)
}

#[test]
fn each_kind_of_disk_says_who_it_is_in_its_own_place() {
    let page_80 = "\0\u{0}\0\u{0}";
    assert!(super::page_80(page_80.as_bytes()).is_none());
    let (folder, roots) = tree(&[
        ("sys/block/vda/size", "4194304\n"),
        ("sys/block/vda/serial", "disk-1\n"),
        ("sys/block/vda/queue/logical_block_size", "4096\n"),
        ("sys/block/vda/removable", "0\n"),
        ("sys/block/nvme0n1/size", "2000409264\n"),
        ("sys/block/nvme0n1/wwid", "eui.0025388b910b4a5c\n"),
        ("sys/block/nvme0n1/device/model", "Samsung SSD 970 EVO 1TB                 \n"),
        ("sys/block/nvme0n1/device/serial", "S467NX0K      \n"),
        ("sys/block/nvme0c0n1/hidden", "1\n"),
        ("sys/block/sda/size", "1000\n"),
        ("sys/block/sda/device/model", "ST1000\n"),
        ("sys/block/sda/device/wwid", "naa.5000c500a1b2c3d4\n"),
        ("sys/block/sda/sda1/partition", "1\n"),
        ("sys/block/sdb/size", "1000\n"),
        ("sys/block/sdb/sdb10/partition", "10\n"),
        ("sys/block/sdb/sdb2/partition", "2\n"),
        ("sys/block/sdc/size", "1000\n"),
        ("sys/block/sdc/removable", "1\n"),
        ("sys/block/sdd/size", "0\n"),
        ("sys/block/sde/size", "8\n"),
        ("sys/block/sde/ro", "1\n"),
        ("sys/block/cciss!c0d0/size", "8\n"),
        ("sys/block/mmcblk0/size", "8\n"),
        ("sys/block/mmcblk0boot0/size", "8\n"),
        ("sys/block/loop0/size", "8\n"),
        ("sys/block/sr0/size", "8\n"),
        ("sys/block/dm-0/size", "8\n"),
        ("sys/block/zram0/size", "8\n"),
        ("sys/block/md_d0/size", "8\n"),
        ("proc/mounts", "rootfs / rootfs rw 0 0\n/dev/sdb2 /media vfat ro 0 0\n"),
    ]);
    let page = b"\0\x80\0\x0a  WD-1234 \0\0";
    fs::write(folder.path().join("sys/block/sda/device/vpd_pg80"), page).unwrap();
    let disks = inventory(&roots).unwrap();
    let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(
        names,
        ["sda", "sdb", "sdc", "sdd", "sde", "vda", "mmcblk0", "nvme0n1", "cciss/c0d0"]
    );
    let find = |name: &str| disks.iter().find(|disk| disk.name == name).unwrap();
    let vda = find("vda");
    assert_eq!(
        (vda.bytes, vda.sector_bytes, vda.serial.as_deref()),
        (2 << 30, 4096, Some("disk-1"))
    );
    assert_eq!((vda.transport, vda.unfit), (Some("virtio"), None));
    let sda = find("sda");
    assert_eq!(sda.serial.as_deref(), Some("WD-1234"));
    assert_eq!(sda.wwn.as_deref(), Some("naa.5000c500a1b2c3d4"));
    let nvme = find("nvme0n1").to_string();
    assert!(
        nvme.starts_with(
            "/dev/nvme0n1: 1.0 TB (1024209543168 bytes), nvme, model Samsung SSD 970 EVO 1TB, \
        serial S467NX0K, WWN eui.0025388b910b4a5c"
        ),
        "{nvme}"
    );
    let unfit = |name: &str| find(name).unfit;
    assert_eq!(unfit("sdb"), Some(Unfit::Mounted));
    assert_eq!(unfit("sdc"), Some(Unfit::Removable));
    assert_eq!((unfit("sdd"), unfit("sde")), (Some(Unfit::Empty), Some(Unfit::ReadOnly)));
    assert_eq!(find("cciss/c0d0").path, Path::new("/dev/cciss/c0d0"));
    assert_eq!(partitions(&roots.sys.join("block/sdb")), ["sdb2", "sdb10"]);
}

#[test]
fn scsi_pages_are_read_within_their_bounds() {
    assert_eq!(page_80(b"\0\x80\0\x04ABCDEFG"), Some("ABCD".into()));
    assert_eq!(page_80(b"\0\x80\xff\xffAB"), Some("AB".into()));
    assert_eq!(page_80(b"\0\x81\0\x04ABCD"), None);
    assert_eq!(page_80(b"\0\x80"), None);
    // A text designator, one of the port, and the unit's NAA.
    let mut page = b"\0\x83\0\x20\x02\x01\0\x04ABCD\x01\x13\0\x08\x50\0\0\0\0\0\0\x01".to_vec();
    page.extend(b"\x01\x03\0\x08\x50\0\xc5\0\xa1\xb2\xc3\xd4");
    assert_eq!(page_83(&page), Some("naa.5000c500a1b2c3d4".into()));
    assert_eq!(page_83(&page[..30]), None);
    assert_eq!(
        page_83(b"\0\x83\0\x0c\x01\x02\0\x08\x00\x25\x38\x8b\0\0\0\x01"),
        Some("eui.0025388b00000001".into())
    );
    assert_eq!(page_83(b"\0\x83\xff\xff\x01\x03\0\xff"), None);
}

#[test]
fn a_system_without_sysfs_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots { sys: folder.path().join("none"), ..Roots::default() };
    assert!(inventory(&roots).unwrap_err().to_string().contains("none/block"));
}
