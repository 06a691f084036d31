//! What a partition says it is for.
//!
//! What it owns: type bytes of MBR partitions and type GUIDs of GPT partitions, their names, and
//! which stands for which. What it never does: decide what a partition holds; its content does.
//!
//! Names are those people know from `sfdisk`; the numbers are public assignments.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use uuid::Uuid;

/// The type a table gives a partition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PartitionKind {
    /// The type byte of an MBR entry.
    Mbr(u8),
    /// The type GUID of a GPT entry.
    Guid(Uuid),
}

/// A text that names no partition type.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "\"{0}\" is not a partition type: give a byte in hexadecimal (0x83, ef) or a GUID \
     (0fc63daf-8483-4772-8e79-3d69d8477de4)"
)]
pub struct ParseKindError(String);

struct KnownGuid {
    guid: Uuid,
    name: &'static str,
    /// MBR type bytes that mean the same; the first is the usual one.
    bytes: &'static [u8],
}

const fn guid(value: u128, name: &'static str, bytes: &'static [u8]) -> KnownGuid {
    KnownGuid { guid: Uuid::from_u128(value), name, bytes }
}

#[rustfmt::skip]
const KNOWN_GUIDS: &[KnownGuid] = &[
    guid(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b, "EFI System", &[0xef]),
    guid(0x21686148_6449_6e6f_744e_656564454649, "BIOS boot", &[]),
    guid(0x024dee41_33e7_11d3_9d69_0008c781f39f, "MBR partition scheme", &[]),
    guid(0xe3c9e316_0b5c_4db8_817d_f92df00215ae, "Microsoft reserved", &[]),
    guid(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7, "Microsoft basic data", &[0x07, 0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e]),
    guid(0x5808c8aa_7e8f_42e0_85d2_e1e90434cfb3, "Microsoft LDM metadata", &[]),
    guid(0xaf9b60a0_1431_4f62_bc68_3311714a69ad, "Microsoft LDM data", &[0x42]),
    guid(0xde94bba4_06d1_4d40_a16a_bfd50179d6ac, "Windows recovery environment", &[0x27]),
    guid(0xe75caf8f_f680_4cee_afa3_b001e56efc2d, "Microsoft Storage Spaces", &[]),
    guid(0x0fc63daf_8483_4772_8e79_3d69d8477de4, "Linux filesystem", &[0x83]),
    guid(0x0657fd6d_a4ab_43c4_84e5_0933c84b4f4f, "Linux swap", &[0x82]),
    guid(0x3b8f8425_20e0_4f3b_907f_1a25a76f98e8, "Linux server data", &[]),
    guid(0x8da63339_0007_60c0_c436_083ac8230908, "Linux reserved", &[]),
    guid(0x933ac7e1_2eb4_4f13_b844_0e14e2aef915, "Linux home", &[]),
    guid(0xa19d880f_05fc_4d3b_a006_743f0f84911e, "Linux RAID", &[0xfd]),
    guid(0xe6d6d379_f507_44c2_a23c_238f2a3df928, "Linux LVM", &[0x8e]),
    guid(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d, "Linux variable data", &[]),
    guid(0x7ec6f557_3bc5_4aca_b293_16ef5df639d1, "Linux temporary data", &[]),
    guid(0xbc13c2ff_59e6_4262_a352_b275fd6f7172, "Linux extended boot", &[0xea]),
    guid(0x44479540_f297_41b2_9af7_d131d5f0458a, "Linux root (x86)", &[]),
    guid(0x4f68bce3_e8cd_4db1_96e7_fbcaf984b709, "Linux root (x86-64)", &[]),
    guid(0x69dad710_2ce4_4e3c_b16c_21a1d49abed3, "Linux root (ARM)", &[]),
    guid(0xb921b045_1df0_41c3_af44_4c6f280d3fae, "Linux root (ARM-64)", &[]),
    guid(0x72ec70a6_cf74_40e6_bd49_4bda08e8f224, "Linux root (RISC-V-64)", &[]),
    guid(0x8484680c_9521_48c6_9c11_b0720656f69e, "Linux /usr (x86-64)", &[]),
    guid(0xb0e01050_ee5f_4390_949a_9101b17104e9, "Linux /usr (ARM-64)", &[]),
    guid(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5, "Linux root verity (x86-64)", &[]),
    guid(0x516e7cb4_6ecf_11d6_8ff8_00022d09712b, "FreeBSD data", &[0xa5]),
    guid(0x83bd6b9d_7f41_11dc_be0b_001560b84f0f, "FreeBSD boot", &[]),
    guid(0x516e7cb5_6ecf_11d6_8ff8_00022d09712b, "FreeBSD swap", &[]),
    guid(0x516e7cb6_6ecf_11d6_8ff8_00022d09712b, "FreeBSD UFS", &[]),
    guid(0x516e7cba_6ecf_11d6_8ff8_00022d09712b, "FreeBSD ZFS", &[]),
    guid(0x516e7cb8_6ecf_11d6_8ff8_00022d09712b, "FreeBSD Vinum", &[]),
    guid(0x49f48d32_b10e_11dc_b99b_0019d1879648, "NetBSD swap", &[]),
    guid(0x49f48d5a_b10e_11dc_b99b_0019d1879648, "NetBSD FFS", &[0xa9]),
    guid(0x49f48d82_b10e_11dc_b99b_0019d1879648, "NetBSD LFS", &[]),
    guid(0x49f48daa_b10e_11dc_b99b_0019d1879648, "NetBSD RAID", &[]),
    guid(0x824cc7a0_36a8_11e3_890a_952519ad3f61, "OpenBSD data", &[0xa6]),
    guid(0x48465300_0000_11aa_aa11_00306543ecac, "Apple HFS/HFS+", &[0xaf]),
    guid(0x7c3457ef_0000_11aa_aa11_00306543ecac, "Apple APFS", &[]),
    guid(0x55465300_0000_11aa_aa11_00306543ecac, "Apple UFS", &[0xa8]),
    guid(0x52414944_0000_11aa_aa11_00306543ecac, "Apple RAID", &[]),
    guid(0x426f6f74_0000_11aa_aa11_00306543ecac, "Apple boot", &[]),
    guid(0x4c616265_6c00_11aa_aa11_00306543ecac, "Apple label", &[]),
    guid(0x53746f72_6167_11aa_aa11_00306543ecac, "Apple Core storage", &[]),
    guid(0x6a82cb45_1dd2_11b2_99a6_080020736631, "Solaris boot", &[]),
    guid(0x6a85cf4d_1dd2_11b2_99a6_080020736631, "Solaris root", &[]),
    guid(0x6a898cc3_1dd2_11b2_99a6_080020736631, "Solaris /usr & Apple ZFS", &[0xbf]),
    guid(0x6a87c46f_1dd2_11b2_99a6_080020736631, "Solaris swap", &[]),
    guid(0x9e1a2d38_c612_4316_aa26_8b49521e5a8b, "PowerPC PReP boot", &[0x41]),
    guid(0x7412f7d5_a156_4b13_81dc_867174929325, "ONIE boot", &[]),
    guid(0xd4e6e2cd_4469_46f3_b5cb_1bff57afc149, "ONIE config", &[]),
    guid(0xfe3a2a5d_4f32_41a7_b725_accc3285a309, "ChromeOS kernel", &[]),
    guid(0x3cb8e202_3b7e_47dd_8a3c_7ff2a13cfcec, "ChromeOS root fs", &[]),
    guid(0x2e0a753d_9e48_43b0_8337_b15192cb1b5e, "ChromeOS reserved", &[]),
    guid(0x4fbd7e29_9d25_41b8_afd0_062c0ceff05d, "Ceph OSD", &[]),
    guid(0x42465331_3ba3_10f1_802a_4861696b7521, "Haiku BFS", &[]),
    guid(0xaa31e02a_400f_11db_9590_000c2911d1b8, "VMware VMFS", &[0xfb]),
    guid(0x9d275380_40ad_11db_bf97_000c2911d1b8, "VMware Diagnostic", &[0xfc]),
    guid(0x381cfccc_7288_11e0_92ee_000c2911d0b2, "VMware Virtual SAN", &[]),
];

impl PartitionKind {
    /// The name people know it by; `None` for a type not in our list.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Mbr(byte) => byte_name(byte),
            Self::Guid(guid) => known(guid).map(|known| known.name),
        }
    }

    /// The GUID that means the same on a GPT disk; `None` for a byte with no usual counterpart.
    pub fn to_guid(self) -> Option<Uuid> {
        match self {
            Self::Mbr(byte) => {
                KNOWN_GUIDS.iter().find(|known| known.bytes.contains(&byte)).map(|known| known.guid)
            }
            Self::Guid(guid) => Some(guid),
        }
    }

    /// The byte that means the same on an MBR disk; `None` for a GUID with no usual counterpart.
    pub fn to_byte(self) -> Option<u8> {
        match self {
            Self::Mbr(byte) => Some(byte),
            Self::Guid(guid) => known(guid).and_then(|known| known.bytes.first().copied()),
        }
    }

    /// True for the three bytes that mark an extended partition.
    pub fn is_extended(self) -> bool {
        matches!(self, Self::Mbr(0x05 | 0x0f | 0x85))
    }
}

fn known(guid: Uuid) -> Option<&'static KnownGuid> {
    KNOWN_GUIDS.iter().find(|known| known.guid == guid)
}

/// Shows as name and number: `Linux (0x83)`, `Linux filesystem`, or the bare GUID.
impl fmt::Display for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.name()) {
            (Self::Mbr(byte), Some(name)) => write!(f, "{name} (0x{byte:02x})"),
            (Self::Mbr(byte), None) => write!(f, "unknown (0x{byte:02x})"),
            (Self::Guid(_), Some(name)) => f.write_str(name),
            (Self::Guid(guid), None) => write!(f, "{guid}"),
        }
    }
}

/// Reads what `-D` takes: one or two hexadecimal digits, with or without `0x`, or a GUID.
impl FromStr for PartitionKind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseKindError(text.to_owned());
        let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text);
        if digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return u8::from_str_radix(digits, 16).map(Self::Mbr).map_err(|_| error());
        }
        Uuid::try_parse(text).map(Self::Guid).map_err(|_| error())
    }
}

#[rustfmt::skip]
fn byte_name(byte: u8) -> Option<&'static str> {
    Some(match byte {
        0x00 => "Empty",
        0x01 => "FAT12",
        0x02 => "XENIX root",
        0x03 => "XENIX usr",
        0x04 => "FAT16 <32M",
        0x05 => "Extended",
        0x06 => "FAT16",
        0x07 => "HPFS/NTFS/exFAT",
        0x08 => "AIX",
        0x09 => "AIX bootable",
        0x0a => "OS/2 Boot Manager",
        0x0b => "W95 FAT32",
        0x0c => "W95 FAT32 (LBA)",
        0x0e => "W95 FAT16 (LBA)",
        0x0f => "W95 Ext'd (LBA)",
        0x10 => "OPUS",
        0x11 => "Hidden FAT12",
        0x12 => "Compaq diagnostics",
        0x14 => "Hidden FAT16 <32M",
        0x16 => "Hidden FAT16",
        0x17 => "Hidden HPFS/NTFS",
        0x18 => "AST SmartSleep",
        0x1b => "Hidden W95 FAT32",
        0x1c => "Hidden W95 FAT32 (LBA)",
        0x1e => "Hidden W95 FAT16 (LBA)",
        0x24 => "NEC DOS",
        0x27 => "Hidden NTFS WinRE",
        0x39 => "Plan 9",
        0x3c => "PartitionMagic recovery",
        0x40 => "Venix 80286",
        0x41 => "PPC PReP Boot",
        0x42 => "SFS",
        0x4d => "QNX4.x",
        0x4e => "QNX4.x 2nd part",
        0x4f => "QNX4.x 3rd part",
        0x50 => "OnTrack DM",
        0x51 => "OnTrack DM6 Aux1",
        0x52 => "CP/M",
        0x53 => "OnTrack DM6 Aux3",
        0x54 => "OnTrackDM6",
        0x55 => "EZ-Drive",
        0x56 => "Golden Bow",
        0x5c => "Priam Edisk",
        0x61 => "SpeedStor",
        0x63 => "GNU HURD or SysV",
        0x64 => "Novell Netware 286",
        0x65 => "Novell Netware 386",
        0x70 => "DiskSecure Multi-Boot",
        0x75 => "PC/IX",
        0x80 => "Old Minix",
        0x81 => "Minix / old Linux",
        0x82 => "Linux swap / Solaris",
        0x83 => "Linux",
        0x84 => "OS/2 hidden or Intel hibernation",
        0x85 => "Linux extended",
        0x86 => "NTFS volume set",
        0x87 => "NTFS volume set",
        0x88 => "Linux plaintext",
        0x8e => "Linux LVM",
        0x93 => "Amoeba",
        0x94 => "Amoeba BBT",
        0x9f => "BSD/OS",
        0xa0 => "IBM Thinkpad hibernation",
        0xa5 => "FreeBSD",
        0xa6 => "OpenBSD",
        0xa7 => "NeXTSTEP",
        0xa8 => "Darwin UFS",
        0xa9 => "NetBSD",
        0xab => "Darwin boot",
        0xaf => "HFS / HFS+",
        0xb7 => "BSDI fs",
        0xb8 => "BSDI swap",
        0xbb => "Boot Wizard hidden",
        0xbc => "Acronis FAT32 LBA",
        0xbe => "Solaris boot",
        0xbf => "Solaris",
        0xc1 => "DRDOS/sec (FAT-12)",
        0xc4 => "DRDOS/sec (FAT-16 < 32M)",
        0xc6 => "DRDOS/sec (FAT-16)",
        0xc7 => "Syrinx",
        0xda => "Non-FS data",
        0xdb => "CP/M / CTOS / ...",
        0xde => "Dell Utility",
        0xdf => "BootIt",
        0xe1 => "DOS access",
        0xe3 => "DOS R/O",
        0xe4 => "SpeedStor",
        0xea => "Linux extended boot",
        0xeb => "BeOS fs",
        0xee => "GPT",
        0xef => "EFI (FAT-12/16/32)",
        0xf0 => "Linux/PA-RISC boot",
        0xf1 => "SpeedStor",
        0xf4 => "SpeedStor",
        0xf2 => "DOS secondary",
        0xf8 => "EBBR protective",
        0xfb => "VMware VMFS",
        0xfc => "VMware VMKCORE",
        0xfd => "Linux raid autodetect",
        0xfe => "LANstep",
        0xff => "BBT",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_guids_name_each_other() {
        let linux = PartitionKind::Mbr(0x83);
        assert_eq!(linux.to_string(), "Linux (0x83)");
        let guid = PartitionKind::Guid(linux.to_guid().unwrap());
        assert_eq!(guid.to_string(), "Linux filesystem");
        assert_eq!(guid.to_byte(), Some(0x83));
        let basic = PartitionKind::Mbr(0x0c).to_guid().unwrap();
        assert_eq!(PartitionKind::Guid(basic).to_byte(), Some(0x07));
        assert_eq!(PartitionKind::Mbr(0x99).to_string(), "unknown (0x99)");
        assert_eq!(PartitionKind::Mbr(0x99).to_guid(), None);
    }

    #[test]
    fn texts_that_d_takes() {
        assert_eq!("0x83".parse(), Ok(PartitionKind::Mbr(0x83)));
        assert_eq!("7".parse(), Ok(PartitionKind::Mbr(7)));
        let efi = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse();
        assert_eq!(efi, Ok(PartitionKind::Guid(PartitionKind::Mbr(0xef).to_guid().unwrap())));
        for bad in ["", "0x", "0x123", "linux", "+7", "c12a7328"] {
            assert!(bad.parse::<PartitionKind>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_type_is_listed_twice() {
        for (i, a) in KNOWN_GUIDS.iter().enumerate() {
            for b in KNOWN_GUIDS.iter().skip(i + 1) {
                assert_ne!(a.guid, b.guid);
                assert!(!a.bytes.iter().any(|byte| b.bytes.contains(byte)), "{}", a.name);
            }
        }
    }
}
