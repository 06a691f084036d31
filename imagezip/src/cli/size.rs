//! Numbers on the command line.

/// Parses an amount of memory: `256M`, `2G`, `300000K`, or mebibytes without a unit, as the
/// deployed tools take it.
///
/// # Errors
/// When it is no number with such a unit.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "M" | "MB" | "MIB" => 20,
        "K" | "KB" | "KIB" => 10,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("'{text}': expected a size such as 256M or 2G")),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("'{text}': expected a size such as 256M"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large"))
}

/// Parses a bandwidth in bits per second: `950M`, `10G`, `1.5G`, `100000k`, or plain bits. Units are
/// decimal, as networks count; `bit`, `bps` or `bit/s` may follow.
///
/// # Errors
/// When it is no number with such a unit, zero, or above 100 Tb/s.
pub fn parse_bandwidth(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}': expected bits per second, such as 950M or 10G");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let unit = unit.to_ascii_lowercase();
    let unit = ["bit/s", "bps", "bit", "b/s"]
        .iter()
        .find_map(|suffix| unit.strip_suffix(suffix))
        .unwrap_or(&unit);
    let digits_moved = match unit {
        "" => 0,
        "k" => 3,
        "m" => 6,
        "g" => 9,
        "t" => 12,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > digits_moved {
        return Err(wrong());
    }
    let digits = format!("{whole}{fraction:0<digits_moved$}");
    match digits.parse() {
        Ok(bits @ 1..=100_000_000_000_000) => Ok(bits),
        Ok(_) => Err(format!("'{text}': expected more than 0 and at most 100T bits per second")),
        Err(_) => Err(wrong()),
    }
}

/// Parses a number of threads.
///
/// # Errors
/// When it is not 1 to 1024.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number from 1 to 1024".into()),
    }
}

/// One thread a core, unless the system cannot tell.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::{parse_bandwidth, parse_memory};

    #[test]
    fn memory_has_units() {
        assert_eq!(parse_memory("64"), Ok(64 << 20));
        assert_eq!(parse_memory("64M"), Ok(64 << 20));
        assert_eq!(parse_memory("2GiB"), Ok(2 << 30));
        assert_eq!(parse_memory("100k"), Ok(100 << 10));
        assert!(parse_memory("M").is_err());
        assert!(parse_memory("12x").is_err());
        assert!(parse_memory("99999999999999G").is_err());
    }

    #[test]
    fn bandwidth_has_decimal_units() {
        assert_eq!(parse_bandwidth("50000000"), Ok(50_000_000));
        assert_eq!(parse_bandwidth("950M"), Ok(950_000_000));
        assert_eq!(parse_bandwidth("1.5G"), Ok(1_500_000_000));
        assert_eq!(parse_bandwidth("100kbit"), Ok(100_000));
        assert_eq!(parse_bandwidth("10Gbps"), Ok(10_000_000_000));
        assert_eq!(parse_bandwidth("10Gbit/s"), Ok(10_000_000_000));
        for wrong in ["", "G", "0", "0M", "1.5", "-1", "1..5G", "10X", "101T", "99999999999999G"] {
            assert!(parse_bandwidth(wrong).is_err(), "{wrong}");
        }
    }
}
